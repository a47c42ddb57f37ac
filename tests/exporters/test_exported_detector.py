"""Detectors in exported files accept images of any size."""

import pytest
import torch

from exporters.tiny_detectors import EagerSession, small
from msgformer.exporters.exported_detector import ExportedDetector, pad_to_size, resize_to_fit
from msgformer.exporters.verify_detector import compare_detections


def test_images_are_resized_to_fit_with_their_aspect_ratio():
    assert resize_to_fit(torch.zeros(3, 100, 50), (64, 96)).shape == (3, 64, 32)
    filled = pad_to_size(torch.ones(3, 64, 32), (64, 96))
    assert filled.shape == (3, 64, 96)
    assert filled.sum() == 3 * 64 * 32


@pytest.mark.parametrize("dynamic", [False, True])
@torch.no_grad()
def test_a_file_accepts_images_of_any_size(dynamic):
    model = small("mask_rcnn")
    exported = ExportedDetector(EagerSession(model, dynamic=dynamic))
    assert exported.with_masks
    image = torch.rand(3, 256, 320)  # of the fixed size's shape, so that nothing is filled up
    (ours,), (theirs,) = exported([image]), model([image])
    assert ours["masks"].shape[1:] == (256, 320)
    assert (ours["masks"].float().mean() - theirs["masks"].float().mean()).abs() < 1e-3
    left = [{name: found[name] for name in ("boxes", "labels", "scores")} for found in (ours, theirs)]
    assert compare_detections(*left, 1e-3, 0.1).missed == 0
    tall = exported([torch.rand(3, 320, 100)])[0]
    assert tall["boxes"][:, 2].max() <= 100
    assert tall["masks"].shape[1:] == (320, 100)
