"""The backbones in detectors and segmenters of other libraries."""

import pytest
import torch
from torchvision.models.detection import MaskRCNN

import msgformer.models  # noqa: F401
from heads.conftest import TINY, scene
from msgformer.heads import create_pyramid


def test_torchvision_mask_rcnn():
    images, targets = scene()
    model = MaskRCNN(
        create_pyramid("msg_transformer_tiny", 32, **TINY),
        num_classes=4,
        min_size=128,
        max_size=128,
        rpn_post_nms_top_n_train=50,
        rpn_post_nms_top_n_test=20,
        box_batch_size_per_image=16,
    )
    losses = model(images, targets)
    assert {"loss_classifier", "loss_mask"} <= set(losses)
    assert all(torch.isfinite(loss) for loss in losses.values())
    with torch.no_grad():
        detections = model.eval()(images)
    assert set(detections[0]) == {"boxes", "labels", "scores", "masks"}


def test_segmentation_models_pytorch():
    smp = pytest.importorskip("segmentation_models_pytorch")
    model = smp.FPN("tu-msg_transformer_tiny", encoder_weights=None, classes=3).eval()
    with torch.no_grad():
        assert model(torch.rand(1, 3, 64, 96)).shape == (1, 3, 64, 96)


def test_hugging_face_timm_backbone():
    transformers = pytest.importorskip("transformers")
    # Before version 5, transformers asked for published weights by default; since then it ignores the option.
    config = transformers.TimmBackboneConfig(
        backbone="msg_transformer_tiny", out_indices=[0, 1, 2, 3], use_pretrained_backbone=False
    )
    maps = transformers.TimmBackbone(config).eval()(torch.rand(1, 3, 64, 96)).feature_maps
    assert [tuple(x.shape[1:]) for x in maps] == [(64, 16, 24), (128, 8, 12), (256, 4, 6), (512, 2, 3)]
