"""Comparison of the objects that a file and its model find."""

import pytest
import torch

from exporters.tiny_detectors import EagerSession, small
from msgformer.errors import UserError
from msgformer.exporters.verify import verify_detector
from msgformer.exporters.verify_detector import DetectionDiff, compare_detections


def objects(scores, boxes):
    labels = torch.ones(len(scores), dtype=torch.long)
    return {"boxes": torch.tensor(boxes).view(-1, 4), "labels": labels, "scores": torch.tensor(scores)}


def test_objects_are_matched_by_class_score_and_box():
    theirs = objects([0.9, 0.5], [[0.0, 0, 10, 10], [5.0, 5, 9, 9]])
    ours = objects([0.5, 0.91], [[5.0, 5, 9, 9.5], [0.0, 0, 10, 10]])
    assert compare_detections(ours, theirs, 0.1, 1.0) == DetectionDiff(4, 0, pytest.approx(0.01, abs=1e-6), 0.5)
    assert compare_detections(ours, theirs, 0.1, 0.2) == DetectionDiff(4, 2, pytest.approx(0.01, abs=1e-6), 0.0)
    assert compare_detections(ours, {**theirs, "labels": torch.zeros(2)}, 0.1, 1.0).missed == 4
    nothing = objects([], [])
    assert compare_detections(nothing, nothing, 0.1, 1.0) == DetectionDiff(0, 0, 0.0, 0.0)
    assert compare_detections(nothing, objects([0.9], [[3.0, 3, 3, 8]]), 0.1, 1.0).objects == 0  # a box without area


def test_verification_detects_the_file_of_another_model():
    model, images = small("mask_rcnn"), torch.randn(2, 3, 128, 160)
    session = EagerSession(model)
    found = verify_detector(model, session, images)
    assert (found.agreement, found.images) == (100, 2)
    assert found.objects > 4
    assert max(found.max_difference, found.box_difference) < 1e-3
    with pytest.raises(UserError, match=r"doesn't find \d+ of \d+ objects as the model does"):
        verify_detector(small("mask_rcnn").apply(reset), session, images)
    assert type(model.transform).__name__ == "DetectionTransform"


def reset(module):
    if isinstance(module, torch.nn.Conv2d):
        module.reset_parameters()
