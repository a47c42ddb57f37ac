import pytest
import torch
import torch.nn.functional as F

from msgformer.checkpoints.card import ModelCard
from msgformer.config.data_options import AugmentOptions
from msgformer.config.training_options import OptimOptions
from msgformer.data.classification.mixing import build_mixer
from msgformer.tasks.classification.training_module import ClassificationTraining, Scores
from msgformer.training.module import Plan


def test_scores_are_computed_over_all_images_in_percent():
    torch.manual_seed(0)
    logits, labels = torch.randn(11, 7), torch.randint(0, 7, (11,))
    scores = Scores(7)
    for part in (slice(0, 8), slice(8, 11)):  # batches of different sizes
        scores.update(logits[part], labels[part])
    ranks = (logits > logits.gather(1, labels[:, None])).sum(1)
    assert scores.compute() == {
        "loss": pytest.approx(F.cross_entropy(logits, labels).item(), rel=1e-6),
        "top1": pytest.approx(100 * (ranks < 1).float().mean().item()),
        "top5": pytest.approx(100 * (ranks < 5).float().mean().item()),
    }


def test_scores_are_reset_after_compute():
    scores = Scores(2)
    scores.update(torch.tensor([[0.0, 9.0]]), torch.tensor([0]))
    scores.compute()
    scores.update(torch.tensor([[0.0, 9.0]]), torch.tensor([1]))
    assert scores.compute()["top1"] == 100.0


def test_top5_includes_all_of_fewer_than_five_classes():
    scores = Scores(3)
    scores.update(torch.eye(3), torch.tensor([1, 2, 0]))
    assert scores.compute()["top5"] == 100.0


@pytest.mark.parametrize(("off_epoch", "mixed"), [(0, [True, True, True]), (1, [True, False, False])])
def test_batches_are_mixed_before_the_off_epoch(off_epoch, mixed, monkeypatch):
    mixer = build_mixer(AugmentOptions(cutmix=0.0), num_classes=3)  # cutmix may cut nothing out of few pixels
    model, plan = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(12, 3)), Plan(OptimOptions(), 2, 3, 1)
    card = ModelCard("test_vit", {}, ["a", "b", "c"], {})
    classifier = ClassificationTraining(model, card, plan, mixer=mixer, mix_off_epoch=off_epoch)
    found = []
    for epoch in range(3):
        monkeypatch.setattr(ClassificationTraining, "current_epoch", epoch)
        images = torch.randn(4, 3, 2, 2)
        before = images.clone()
        classifier.losses((images, torch.tensor([0, 1, 2, 0]), torch.arange(4)))
        found.append(not torch.equal(images, before))  # timm mixes in place
    assert found == mixed


@pytest.mark.parametrize("weights", [None, [0.5, 3.0, 1.0]])
def test_class_weights_apply_to_the_loss(weights):
    card = ModelCard("test_vit", {}, ["a", "b", "c"], {})
    torch.manual_seed(0)
    images, labels = torch.randn(6, 4), torch.tensor([0, 1, 2, 1, 0, 0])
    classifier = ClassificationTraining(torch.nn.Linear(4, 3), card, Plan(OptimOptions(), 6, 1, 1), weights=weights)
    each = F.cross_entropy(classifier.model(images), labels, reduction="none")
    scale = torch.tensor(weights or [1.0, 1.0, 1.0])[labels]
    loss = classifier.losses((images, labels, labels))["cross_entropy"]
    assert loss.item() == pytest.approx(((each * scale).sum() / scale.sum()).item())
    assert "weights" not in classifier.state_dict()
