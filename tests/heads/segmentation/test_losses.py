"""Losses of segmenters against their formulas in NumPy."""

import numpy as np
import pytest
import torch

from msgformer.heads.segmentation.losses import LOSSES

IGNORED = 255


def reference(name, logits, targets, weight):
    """Compute a loss pixel by pixel, in float64."""
    rows = np.moveaxis(logits, 1, -1).reshape(-1, logits.shape[1])
    labels = targets.reshape(-1)
    probabilities = np.exp(rows) / np.exp(rows).sum(1, keepdims=True)
    known = labels != IGNORED
    p = probabilities[known, labels[known]]
    w = weight[labels[known]]
    if name == "ce":
        return (w * -np.log(p)).sum() / len(labels)
    if name == "focal":
        return (w * (1 - p) ** 2 * -np.log(p)).sum() / len(labels)
    if name == "ohem":
        count = max(1, int(known.sum() / 16))
        hard = p <= max(np.sort(p)[count - 1], 0.7)
        return (w * -np.log(p))[hard].mean()
    if name == "ce+dice":
        return sum(reference(part, logits, targets, weight) for part in ("ce", "dice"))
    present = np.unique(labels[known])
    losses = [
        1
        - (2 * probabilities[known, k][labels[known] == k].sum() + 1)
        / (probabilities[known, k].sum() + (labels[known] == k).sum() + 1)
        for k in present
    ]
    return np.average(losses, weights=weight[present])


@pytest.mark.parametrize("scale", [0.5, 8.0])
@pytest.mark.parametrize("weight", [(1, 1, 1, 1, 1), (0.5, 2, 1, 3, 1)])
@pytest.mark.parametrize("name", LOSSES)
def test_losses_equal_their_formulas(name, weight, scale):
    random = np.random.default_rng(0)
    logits = random.normal(size=(2, 5, 9, 7)) * scale
    targets = random.integers(0, 4, (2, 9, 7))  # class 4 does not occur
    targets[:, 0] = IGNORED
    weight = np.array(weight, float)
    given = None if (weight == 1).all() else torch.tensor(weight)
    loss = LOSSES[name](torch.tensor(logits), torch.tensor(targets), IGNORED, given)
    assert loss.item() == pytest.approx(reference(name, logits, targets, weight), rel=1e-5)


def test_ohem_keeps_a_sixteenth_of_easy_pixels():
    logits = torch.full((1, 2, 8, 8), 5.0)
    logits[:, 1] = torch.linspace(-5, -4, 64).reshape(8, 8)
    targets = torch.zeros(1, 8, 8, dtype=torch.int64)
    hardest = torch.nn.functional.cross_entropy(logits.flatten(2)[..., -4:], targets.flatten(1)[:, -4:])
    torch.testing.assert_close(LOSSES["ohem"](logits, targets, IGNORED), hardest)


@pytest.mark.parametrize("name", LOSSES)
def test_a_batch_without_labeled_pixels_has_no_loss(name):
    logits = torch.randn(1, 3, 4, 4, requires_grad=True)
    loss = LOSSES[name](logits, torch.full((1, 4, 4), IGNORED), IGNORED, None)
    loss.backward()
    assert loss == 0
    assert not logits.grad.any()
