import math

import pytest
import torch

from msgformer.tasks.segmentation.confusion import SegmentScores, SegmentSummary


def test_scores_equal_values_computed_by_hand():
    confusion = torch.tensor([[6, 2, 0], [1, 3, 0], [0, 0, 0]])
    summary = SegmentSummary.of(confusion)
    assert summary.per_class[:2] == pytest.approx([100 * 6 / 9, 100 * 3 / 6])
    assert math.isnan(summary.per_class[2])  # neither labeled nor predicted
    assert summary.miou == pytest.approx((100 * 6 / 9 + 50) / 2)
    assert summary.pixel_accuracy == pytest.approx(75)
    assert summary.mean_accuracy == pytest.approx(75)
    wrong = SegmentSummary.of(torch.tensor([[6, 0, 2], [0, 4, 0], [0, 0, 0]]))
    assert wrong.per_class[2] == 0  # predicted, but not labeled


def test_batches_accumulate_and_unlabeled_pixels_are_ignored():
    torch.manual_seed(0)
    logits, labels = torch.randn(4, 3, 5, 6), torch.randint(3, (4, 5, 6))
    labels[1, :3] = 255
    scores = SegmentScores(3)
    for part in (slice(0, 1), slice(1, 4)):
        scores.update(logits[part], labels[part])
    scores.update(logits[:1], torch.full_like(labels[:1], 255))
    computed = scores.compute()
    is_labeled = labels != 255
    accuracy = (logits.argmax(1) == labels)[is_labeled].float().mean().item()
    assert computed["pixel_accuracy"] == pytest.approx(100 * accuracy)
    loss = torch.nn.functional.cross_entropy(logits, labels, ignore_index=255).item()
    assert computed["loss"] == pytest.approx(loss, rel=1e-5)
    scores.update(torch.eye(3)[labels.clamp(max=2)].permute(0, 3, 1, 2), labels)
    assert scores.compute()["miou"] == pytest.approx(100)
