import torch
from torch import nn
from torch.utils.data import DataLoader

from heads.conftest import TINY
from msgformer.checkpoints.card import ModelCard
from msgformer.config.training_options import OptimOptions, TrainerOptions
from msgformer.heads import create_segmenter
from msgformer.tasks.segmentation.confusion import mean_probabilities
from msgformer.tasks.segmentation.training_module import SegmentationTraining
from msgformer.training.module import Plan
from msgformer.training.trainer import build_trainer, quiet


def batch(sizes=((64, 64), (64, 64))):
    """Return images with one channel per class, their label maps, and their indices."""
    torch.manual_seed(0)
    images, labels = [], []
    for number, (height, width) in enumerate(sizes):
        classes = torch.zeros(height, width, dtype=torch.int64)
        classes[: height // 2, : width // 2] = 1
        classes[height // 2 :, width // 3 :] = 2
        classes[:2] = 255
        image = 0.1 * torch.randn(3, height, width)
        for label in range(3):
            image[label] += classes == label
        images.append(image)
        labels.append(classes.roll(number, 1))
    return images, labels, torch.arange(len(sizes))


def make_module():
    torch.manual_seed(0)
    model = create_segmenter("msg_transformer_tiny", "semantic_fpn", 3, channels=16, **TINY)
    card = ModelCard("msg_transformer_tiny", {}, ["a", "b", "c"], {}, task="segment")
    plan = Plan(OptimOptions(lr=3e-3, lr_batch=None, warmup_epochs=1, schedule="constant"), 2, 5, 5)
    return SegmentationTraining(model, card, plan)


def loader(batches):
    return DataLoader(batches, batch_size=None, collate_fn=lambda batch: batch)


def test_training_improves_the_scores():
    module = make_module()
    with quiet():
        trainer = build_trainer(
            TrainerOptions(accelerator="cpu", devices=1, progress="none"), max_epochs=5, num_sanity_val_steps=0
        )
        trainer.fit(module, loader([batch()] * 5), loader([batch(), batch(((50, 70), (64, 40)))]))
    scores = {name: value.item() for name, value in trainer.callback_metrics.items()}
    assert set(scores) == {"val/loss", "val/miou", "val/pixel_accuracy", "val/mean_accuracy"}
    assert scores["val/miou"] > 60
    summary = module.scores["raw"].summary
    assert abs(sum(summary.per_class) / 3 - scores["val/miou"]) < 1e-3


def test_images_are_scored_at_the_size_of_their_label_maps():
    module = make_module().eval()
    images, labels, positions = batch(((50, 70), (64, 40)))
    small = [nn.functional.interpolate(image[None], scale_factor=0.5)[0] for image in images]
    with torch.no_grad():
        module.score(module.model, (small, labels, positions), module.scores["raw"])
    num_labeled = sum(int((label != 255).sum()) for label in labels)
    assert int(module.scores["raw"].confusion.compute().sum()) == num_labeled


class PositionDependent(nn.Module):
    """Returns the first two channels as logits, with an offset in the first column."""

    def forward(self, images):
        logits = images[:, :2].clone()
        logits[..., 0] += 3.0
        return logits


def test_views_and_mirror_images_are_averaged():
    model, image = PositionDependent(), torch.randn(3, 8, 8)
    one = mean_probabilities(model, [image], (8, 8), flip=False)
    torch.testing.assert_close(one, model(image[None])[0].softmax(0))
    both = mean_probabilities(model, [image], (8, 8), flip=True)
    mirrored = model(image.flip(-1)[None])[0].flip(-1).softmax(0)
    torch.testing.assert_close(both, (one + mirrored) / 2)
    several = mean_probabilities(model, [image, torch.randn(3, 4, 4)], (16, 12), flip=True)
    assert several.shape == (2, 16, 12)
    torch.testing.assert_close(several.sum(0), torch.ones(16, 12))
