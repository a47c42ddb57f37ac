"""Scores of random predictions, against scikit-learn."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import accuracy_score, f1_score, log_loss, precision_score, recall_score, top_k_accuracy_score

from msgformer.tasks.classification.outcome import collect_outcome


def as_percent(values):
    return [100 * float(value) if np.isfinite(value) else None for value in values]


@settings(max_examples=60, deadline=None, derandomize=True)
@given(
    seed=st.integers(0, 2**32 - 1),
    num_classes=st.integers(3, 12),
    num_images=st.integers(1, 80),
    batch_size=st.integers(1, 30),
    skew=st.floats(0, 3),
)
def test_scores_equal_those_of_scikit_learn(seed, num_classes, num_images, batch_size, skew):
    rng = np.random.default_rng(seed)
    labels = np.minimum(rng.exponential(1 + skew, num_images).astype(int), num_classes - 1)
    logits = torch.from_numpy(rng.normal(size=(num_images, num_classes))).log_softmax(1)
    batches = zip(torch.from_numpy(labels).split(batch_size), logits.split(batch_size), strict=True)
    outcome = collect_outcome(tuple(map(str, range(num_classes))), batches)
    known, predicted, probabilities = range(num_classes), logits.argmax(1).numpy(), logits.exp().numpy()
    assert outcome.accuracy(1) == pytest.approx(100 * accuracy_score(labels, predicted))
    assert outcome.loss == pytest.approx(log_loss(labels, probabilities, labels=[*known]), rel=1e-5)
    top = top_k_accuracy_score(labels, probabilities, k=2, labels=[*known])
    assert outcome.accuracy(2) == pytest.approx(100 * top)
    scores = outcome.class_scores()
    for name, score in (("precision", precision_score), ("recall", recall_score), ("f1", f1_score)):
        expected = score(labels, predicted, labels=[*known], average=None, zero_division=np.nan)
        found = [getattr(one, name) for one in scores]
        assert [value is None for value in found] == [not np.isfinite(value) for value in expected]
        assert [v for v in found if v is not None] == pytest.approx([v for v in as_percent(expected) if v is not None])
