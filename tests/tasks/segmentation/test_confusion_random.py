"""Scores of random segmentations, against sums over pixels in NumPy."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from msgformer.tasks.segmentation.confusion import SegmentScores


@settings(max_examples=60, deadline=None, derandomize=True)
@given(
    seed=st.integers(0, 2**32 - 1),
    num_classes=st.integers(2, 12),
    num_batches=st.integers(1, 4),
    ignored=st.sampled_from([0.0, 0.3, 0.95]),
)
def test_scores_equal_sums_over_pixels(seed, num_classes, num_batches, ignored):
    rng = np.random.default_rng(seed)
    scores, true, predicted, losses = SegmentScores(num_classes, shared=False), [], [], []
    for _ in range(num_batches):
        shape = rng.integers(1, 4), *rng.integers(1, 20, 2)
        logits, labels = rng.normal(size=(shape[0], num_classes, *shape[1:])), rng.integers(num_classes, size=shape)
        labels[rng.random(shape) < ignored] = 255
        scores.update(torch.from_numpy(logits).float(), torch.from_numpy(labels))
        counted = labels != 255
        true.append(labels[counted])
        predicted.append(logits.argmax(1)[counted])
        shifted = logits - logits.max(1, keepdims=True)
        normalized = shifted - np.log(np.exp(shifted).sum(1, keepdims=True))
        losses.append(-np.take_along_axis(normalized, np.where(counted, labels, 0)[:, None], 1)[:, 0][counted])
    true, predicted, losses = (np.concatenate(parts) for parts in (true, predicted, losses))
    if not len(true):
        return
    found, summary = scores.compute(), scores.summary
    union = [((true == k) | (predicted == k)).sum() for k in range(num_classes)]
    both = [((true == k) & (predicted == k)).sum() for k in range(num_classes)]
    iou = [100 * b / u if u else np.nan for b, u in zip(both, union, strict=True)]
    recall = [100 * b / (true == k).sum() for k, b in enumerate(both) if (true == k).any()]
    assert summary.per_class == pytest.approx(iou, nan_ok=True)
    assert found["miou"] == pytest.approx(np.nanmean(iou))
    assert found["pixel_accuracy"] == pytest.approx(100 * (true == predicted).mean())
    assert found["mean_accuracy"] == pytest.approx(np.mean(recall))
    assert found["loss"] == pytest.approx(losses.mean(), rel=1e-5)
