"""Random and handwritten predictions of classifiers."""

import numpy as np
import torch

from msgformer.tasks.classification.outcome import Outcome, collect_outcome


def random_logits(images, classes, seed=0, sharpness=3.0):
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(classes, (images,), generator=generator)
    logits = sharpness * torch.randn(images, classes, generator=generator)
    logits[torch.arange(images), labels] += 2
    return labels, logits


def outcome_of(labels, logits, batch=7):
    names = tuple(f"c{index}" for index in range(logits.shape[1]))
    batches = zip(labels.split(batch), logits.log_softmax(-1).split(batch), strict=True)
    return collect_outcome(names, batches)


def make_outcome(labels, predicted, confidences=None, classes=3):
    """Return an outcome with two ranks: the predicted class, and class 0."""
    labels, predicted = np.array(labels), np.array(predicted)
    if confidences is None:
        confidences = np.full(len(labels), 0.75)
    confidences = np.array(confidences, np.float32)
    ranked = np.stack([predicted, np.zeros_like(predicted)], 1)
    names = tuple("abcdefghij"[:classes])
    return Outcome(names, labels, ranked, np.stack([confidences, 1 - confidences], 1), -np.log(confidences))
