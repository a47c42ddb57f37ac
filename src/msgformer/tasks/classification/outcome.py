"""Predictions of a classifier on labeled images, from which scores, tables, plots and galleries are computed."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from msgformer.tasks.classification.score_records import ClassScore, Confusion

MAX_RANKS = 5
"""Largest number of top classes stored per image, which limits the memory for many images and classes."""

BINS = 15
"""Number of confidence bins for the calibration error, as in Guo et al. (ICML 2017)."""


@dataclass(frozen=True)
class Outcome:
    """Predictions of a classifier on N labeled images.

    Attributes:
        classes: Class names, in the order of the outputs.
        labels: True classes [N].
        ranked: The K = min(MAX_RANKS, number of classes) most probable classes, in descending order [N, K].
        probabilities: Their probabilities, 0..1 [N, K].
        losses: Cross-entropy per image [N].
    """

    classes: tuple[str, ...]
    labels: np.ndarray
    ranked: np.ndarray
    probabilities: np.ndarray
    losses: np.ndarray

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def predicted(self) -> np.ndarray:
        """The top-1 class per image [N]."""
        return self.ranked[:, 0]

    @property
    def confidences(self) -> np.ndarray:
        """The probability of the top-1 class [N]."""
        return self.probabilities[:, 0]

    @cached_property
    def correct(self) -> np.ndarray:
        """Whether the top-1 class is the true class [N]."""
        correct: np.ndarray = self.predicted == self.labels
        return correct

    @property
    def loss(self) -> float:
        """Mean cross-entropy."""
        return float(self.losses.mean(dtype=np.float64))

    def accuracy(self, k: int) -> float:
        """Return the top-k accuracy in percent, for ``k`` <= `MAX_RANKS`."""
        return 100 * float((self.ranked[:, :k] == self.labels[:, None]).any(1).mean())

    @cached_property
    def calibration_error(self) -> float:
        """Expected calibration error of the top-1 class in percent: the mean gap between confidence and accuracy."""
        from torchmetrics.functional.classification import binary_calibration_error

        confidences, correct = torch.from_numpy(self.confidences.copy()), torch.from_numpy(self.correct)
        return 100 * binary_calibration_error(confidences, correct.long(), n_bins=BINS).item()

    def class_scores(self) -> list[ClassScore]:
        """Return the scores of each class, in the order of the outputs."""
        from sklearn.metrics import precision_recall_fscore_support

        known = np.arange(len(self.classes))
        columns = precision_recall_fscore_support(self.labels, self.predicted, labels=known, zero_division=np.nan)
        precision, recall, f1 = ([None if np.isnan(v) else 100 * float(v) for v in column] for column in columns[:3])
        predicted = np.bincount(self.predicted, minlength=len(known)).tolist()
        rows = zip(self.classes, columns[3].tolist(), predicted, precision, recall, f1, strict=True)
        return [ClassScore(*row) for row in rows]

    def confusions(self, max_pairs: int) -> list[Confusion]:
        """Return the most frequent confusions, at most ``max_pairs`` pairs of classes."""
        wrong = ~self.correct
        pairs, counts = np.unique(
            np.stack([self.labels[wrong], self.predicted[wrong]], axis=1), axis=0, return_counts=True
        )
        totals = np.bincount(self.labels, minlength=len(self.classes))
        first = np.argsort(-counts, kind="stable")[:max_pairs]
        return [
            Confusion(self.classes[true], self.classes[predicted], int(count), 100 * float(count / totals[true]))
            for (true, predicted), count in zip(pairs[first], counts[first], strict=True)
        ]

    def confusion_matrix(self, max_groups: int) -> np.ndarray:
        """Return the number of images by true class (rows) and predicted class (columns) [G, G].

        Args:
            max_groups: Largest number of rows; of more classes, neighboring ones are merged into this many groups.
        """
        from sklearn.metrics import confusion_matrix

        count = len(self.classes)
        groups = min(count, max_groups)
        labels, predicted = (np.asarray(index, np.int64) * groups // count for index in (self.labels, self.predicted))
        counts: np.ndarray = confusion_matrix(labels, predicted, labels=np.arange(groups))
        return counts

    def reliability(self) -> np.ndarray:
        """Return mean confidence, accuracy (both 0..1) and number of images per bin of confidence [BINS, 3].

        The first two are NaN for an empty bin.
        """
        bins = np.minimum((self.confidences * BINS).astype(int), BINS - 1)
        counts = np.bincount(bins, minlength=BINS)
        sums = [np.bincount(bins, weights=values, minlength=BINS) for values in (self.confidences, self.correct)]
        with np.errstate(invalid="ignore"):
            return np.stack([*(total / counts for total in sums), counts], axis=1)

    def worst_mistakes(self, max_images: int) -> list[int]:
        """Return the indices of at most ``max_images`` misclassified images, in descending order of confidence."""
        mistakes = np.flatnonzero(~self.correct)
        indices: list[int] = mistakes[np.argsort(-self.confidences[mistakes], kind="stable")[:max_images]].tolist()
        return indices

    def least_certain(self, max_images: int) -> list[int]:
        """Return the indices of at most ``max_images`` images, in ascending order of confidence."""
        indices: list[int] = np.argsort(self.confidences, kind="stable")[:max_images].tolist()
        return indices


def collect_outcome(classes: tuple[str, ...], batches: Iterable[tuple[Tensor, Tensor]]) -> Outcome:
    """Collect the predictions of batches; only the fields of `Outcome` stay in memory.

    Args:
        classes: Class names, in the order of the outputs.
        batches: Labels [B] and log-probabilities [B, K] of each batch.
    """
    parts: list[tuple[np.ndarray, ...]] = []
    for labels, log_probabilities in batches:
        top = log_probabilities.float().topk(min(MAX_RANKS, len(classes)))
        losses = -log_probabilities.float().gather(1, labels[:, None])[:, 0]
        fields = labels, top.indices, top.values.exp(), losses
        parts.append(tuple(tensor.cpu().numpy() for tensor in fields))
    return Outcome(classes, *(np.concatenate(column) for column in zip(*parts, strict=True)))
