import pytest
import torch
from torch import nn
from torchvision.ops import box_iou

from heads.conftest import TINY, TINY_DETECTOR, scene
from msgformer.errors import UserError
from msgformer.heads import create_detector
from msgformer.heads.detection.detector import HEADS

NAME = "msg_transformer_tiny"


@pytest.mark.parametrize("head", HEADS)
def test_losses_and_detections(head):
    images, targets = scene()
    detector = create_detector(NAME, head, 3, score_threshold=0.0, detections_per_image=7, **TINY_DETECTOR)
    losses = detector(images, targets)
    assert all(loss.ndim == 0 and torch.isfinite(loss) for loss in losses.values())
    if head == "cascade_mask_rcnn":
        stages = {f"{n}_{i}" for n in ("loss_classifier", "loss_box_reg", "loss_mask") for i in (1, 2, 3)}
        assert set(losses) == stages | {"loss_objectness", "loss_rpn_box_reg"}
    sum(losses.values()).backward()
    assert [name for name, p in detector.named_parameters() if p.grad is None] == []

    detector.eval()
    with torch.no_grad():
        detections = detector(images)
    for image, found in zip(images, detections, strict=True):
        height, width = image.shape[1:]
        assert found["boxes"].shape == (7, 4)
        assert (found["boxes"] >= 0).all()
        assert (found["boxes"] <= torch.tensor([width, height] * 2)).all()
        assert set(found["labels"].tolist()) <= {1, 2, 3}
        assert found["scores"].tolist() == sorted(found["scores"].tolist(), reverse=True)
        assert ("masks" in found) == ("mask" in head)
        if "masks" in found:
            assert found["masks"].shape == (7, height, width)
            assert found["masks"].dtype == torch.bool


def overfit(head, steps, rate=2e-3):
    images, targets = scene()
    detector = create_detector(NAME, head, 3, **TINY_DETECTOR)
    optimizer = torch.optim.AdamW(detector.parameters(), lr=rate)
    history = []
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: min(1, 3 * (1 - step / steps)))
    for _ in range(steps):
        loss = sum(detector(images, targets).values())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        history.append(loss.item())
    return detector, images, targets, history


def test_one_batch_can_be_overfitted():
    detector, images, targets, history = overfit("mask_rcnn", 60)
    assert history[-1] < history[0] / 4
    with torch.no_grad():
        detections = detector.eval()(images)
    for found, target in zip(detections, targets, strict=True):
        count = len(target["labels"])
        overlap = box_iou(target["boxes"], found["boxes"][: count + 1]).max(dim=1)
        assert (overlap.values > 0.5).all()
        assert torch.equal(found["labels"][overlap.indices], target["labels"])
        common = (found["masks"][overlap.indices] & target["masks"].bool()).sum((1, 2))
        assert (common / target["masks"].sum((1, 2)) > 0.5).all()


@pytest.mark.parametrize(("head", "steps", "rate"), [("cascade_mask_rcnn", 10, 2e-3), ("retinanet", 40, 1e-3)])
def test_loss_falls(head, steps, rate):
    history = overfit(head, steps, rate)[-1]
    assert min(history[-3:]) < 0.8 * history[0]


def test_images_are_resized_in_evaluation_and_boxes_scaled_back():
    options = {**TINY_DETECTOR, "min_size": 64, "max_size": 80}
    detector = create_detector(NAME, "mask_rcnn", 3, score_threshold=0.0, **options).eval()
    seen = []
    detector.backbone.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].shape))
    images = [torch.rand(3, 100, 200), torch.rand(3, 128, 128)]
    with torch.no_grad():
        detections = detector(images)
    assert seen == [(2, 3, 64, 96)]  # 40 x 80 and 64 x 64, padded together to multiples of 32
    assert detections[0]["masks"].shape[1:] == (100, 200)
    assert detections[0]["boxes"][:, 2].max() > 100
    detector.train()
    detector(images, [{**scene()[1][1], "masks": torch.ones(1, *image.shape[1:])} for image in images])
    assert seen[1:] == [(2, 3, 128, 224)]


def test_detections_do_not_depend_on_the_rest_of_the_batch():
    images, _ = scene()
    detector = create_detector(NAME, "cascade_rcnn", 3, score_threshold=0.0, **TINY_DETECTOR).eval()
    with torch.no_grad():
        together = detector([images[1], images[1]])
        alone = detector([images[1]])
    torch.testing.assert_close(together[1]["boxes"], alone[0]["boxes"])
    torch.testing.assert_close(together[1]["scores"], alone[0]["scores"])


def test_batch_norms_can_be_synchronized():
    detector = create_detector(NAME, "cascade_mask_rcnn", 3, **TINY_DETECTOR)
    names = list(detector.state_dict())
    synced = nn.SyncBatchNorm.convert_sync_batchnorm(detector)
    assert sum(isinstance(module, nn.SyncBatchNorm) for module in synced.modules()) == 12
    assert list(synced.state_dict()) == names


def test_bfloat16_trains_and_detects():
    images, targets = scene()
    for head in ("cascade_mask_rcnn", "retinanet"):
        detector = create_detector(NAME, head, 3, score_threshold=0.0, **TINY_DETECTOR)
        with torch.autocast("cpu", torch.bfloat16):
            losses = detector(images, targets)
            detector.eval()
            with torch.no_grad():
                detections = detector(images)
        assert all(torch.isfinite(loss) for loss in losses.values())
        assert detections[0]["boxes"].dtype == torch.float32


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"boxes": torch.zeros(1, 5)}, r"'boxes' has shape \(1, 5\) instead of \(1, 4\)"),
        ({"boxes": torch.tensor([[20.0, 30, 20, 90]])}, r"box \[20.0, 30.0, 20.0, 90.0\] .* has no area"),
        ({"labels": torch.tensor([0])}, "label 0 is not one of 1 to 3"),
        ({"labels": torch.tensor([4])}, "label 4 is not one of 1 to 3"),
        ({"masks": torch.zeros(1, 9, 9)}, r"'masks' has shape \(1, 9, 9\) instead of \(1, 120, 100\)"),
        ({"masks": None}, "'masks' is missing"),
    ],
)
def test_invalid_targets_are_an_error(change, message):
    images, targets = scene()
    targets[1] = {key: value for key, value in (targets[1] | change).items() if value is not None}
    detector = create_detector(NAME, "mask_rcnn", 3, **TINY_DETECTOR)
    with pytest.raises(UserError, match=f"target 1 of the batch: {message}"):
        detector(images, targets)


def test_missing_targets_and_unknown_heads_are_an_error():
    with pytest.raises(UserError, match=r"unknown head 'mask-rcnn'; did you mean 'mask_rcnn'"):
        create_detector(NAME, "mask-rcnn", **TINY)
    images, targets = scene()
    detector = create_detector(NAME, "retinanet", 3, **TINY_DETECTOR)
    for wrong in (None, targets[:1]):
        with pytest.raises(UserError, match="a target for each of the 2 images"):
            detector(images, wrong)
