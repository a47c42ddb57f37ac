import math

import pytest
import torch
from torch.utils.data import DataLoader

from heads.conftest import TINY_DETECTOR, scene
from msgformer.checkpoints.card import ModelCard
from msgformer.config.training_options import OptimOptions, TrainerOptions
from msgformer.heads import create_detector
from msgformer.tasks.detection.coco_scores import CocoGroundTruth
from msgformer.tasks.detection.training_module import DetectionTraining
from msgformer.training.module import Plan
from msgformer.training.trainer import build_trainer, quiet

CLASSES = ["cat", "dog", "cow"]


def batch():
    images, targets = scene()
    return images, targets, torch.arange(2)


def make_ground_truth():
    images, targets, _ = batch()
    annotations = [
        {"image_id": index, "category_id": label, "bbox": [x1, y1, x2 - x1, y2 - y1], "area": 1, "iscrowd": 0}
        for index, target in enumerate(targets)
        for label, (x1, y1, x2, y2) in zip(target["labels"].tolist(), target["boxes"].tolist(), strict=True)
    ]
    content = {
        "images": [{"id": i, "height": image.shape[1], "width": image.shape[2]} for i, image in enumerate(images)],
        "annotations": [{"id": number, **one} for number, one in enumerate(annotations, 1)],
        "categories": [{"id": label, "name": name} for label, name in enumerate(CLASSES, 1)],
    }
    return CocoGroundTruth(content, (0, 1), (1, 2, 3))


def make_module(head="faster_rcnn", ground_truth=None, **optim):
    torch.manual_seed(0)
    model = create_detector("msg_transformer_tiny", head, 3, **TINY_DETECTOR)
    card = ModelCard("msg_transformer_tiny", {}, CLASSES, {}, task="detect")
    plan = Plan(OptimOptions(lr=2e-3, lr_batch=None, warmup_epochs=1, schedule="constant", **optim), 2, 6, 5)
    return DetectionTraining(model, card, plan, ground_truth or make_ground_truth())


def loader(batches):
    return DataLoader(batches, batch_size=None, collate_fn=lambda batch: batch)


def test_training_reduces_the_losses_and_scores_every_image():
    module = make_module(ema=0.9)
    options = TrainerOptions(accelerator="cpu", devices=1, progress="none")
    history, scores = [], []
    module.on_train_epoch_end = lambda: history.append(module.means.compute_and_reset(module.trainer.strategy))
    with quiet():
        trainer = build_trainer(options, max_epochs=6, num_sanity_val_steps=0)
        trainer.fit(module, loader([batch()] * 5), loader([batch()]))
    assert history[-1]["loss"] < 0.7 * history[0]["loss"]
    assert {"loss_classifier", "loss_box_reg", "loss_objectness", "loss_rpn_box_reg"} < set(history[0])
    scores = {name: value.item() for name, value in trainer.callback_metrics.items()}
    assert 0 < scores["val/box_ap50"] <= 100
    assert {"val/box_ap", "val/box_ar100", "val/ema_box_ap"} <= set(scores)
    assert not any("mask" in name for name in scores)
    assert {one["image_id"] for one in module.scores["raw"].last_results} <= {0, 1}


def test_masks_are_scored_if_the_head_predicts_them():
    ground_truth = make_ground_truth()
    for one in ground_truth.content["annotations"]:
        one["segmentation"] = [[0, 0, 0, 9, 9, 9]]
    module = make_module("mask_rcnn", ground_truth)
    losses = module.train().losses(batch())
    assert "loss_mask" in losses
    module.eval()
    with torch.no_grad():
        module.score(module.model, batch(), module.scores["raw"])
    numbers = module.scores["raw"].compute()
    assert {"box_ap", "mask_ap"} <= set(numbers)
    assert all(math.isnan(value) or 0 <= value <= 100 for value in numbers.values())
    assert module.positions(batch()).tolist() == [0, 1]


def test_only_boxes_are_scored_on_data_without_masks():
    assert make_module("mask_rcnn").kinds == ("box",)


@pytest.mark.parametrize("head", ["retinanet", "cascade_mask_rcnn"])
def test_every_head_has_losses(head):
    losses = make_module(head).losses(batch())
    assert torch.isfinite(torch.stack([*losses.values()])).all()


def test_images_without_objects_have_finite_losses():
    images, targets, positions = batch()
    targets[0] = {name: value[:0] for name, value in targets[0].items()}
    for head in ("mask_rcnn", "retinanet"):
        module = make_module(head)
        for found in (targets, [targets[0], {name: value[:0] for name, value in targets[1].items()}]):
            losses = module.losses((images, found, positions))
            total = torch.stack([*losses.values()]).sum()
            assert torch.isfinite(total)
            total.backward()
