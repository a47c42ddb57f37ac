"""What a classifier said about labelled pictures: the record that scores, tables, plots and galleries are made of."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from msgformer.tasks.classification.score_records import ClassScore, Confusion

RANKS = 5
"""Likeliest classes that are kept of a picture, so that a million pictures of many classes stay small."""

BINS = 15
"""Bins of the confidence, for calibration; the number that Guo et al. (ICML 2017) use."""


@dataclass(frozen=True)
class Outcome:
    """Answers of a classifier on N labelled pictures.

    Attributes:
        classes: Class names, in the order of the outputs.
        labels: What is right [N].
        ranked: The K = min(RANKS, classes) likeliest classes, the likeliest first [N, K].
        probabilities: Of those, 0..1 [N, K].
        losses: Cross-entropy of each picture [N].
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
        """The likeliest class of each picture [N]."""
        return self.ranked[:, 0]

    @property
    def confidences(self) -> np.ndarray:
        """The probability of the likeliest class [N]."""
        return self.probabilities[:, 0]

    @cached_property
    def correct(self) -> np.ndarray:
        """Whether the likeliest class is right [N]."""
        return self.predicted == self.labels

    @property
    def loss(self) -> float:
        """Mean cross-entropy."""
        return float(self.losses.mean(dtype=np.float64))

    def accuracy(self, k: int) -> float:
        """Part of the pictures, in per cent, whose class is among the ``k`` <= RANKS likeliest."""
        return 100 * float((self.ranked[:, :k] == self.labels[:, None]).any(1).mean())

    @cached_property
    def calibration_error(self) -> float:
        """Expected calibration error of the likeliest class, in per cent: how far confidence is from accuracy."""
        from torchmetrics.functional.classification import binary_calibration_error

        confidences, correct = torch.from_numpy(self.confidences.copy()), torch.from_numpy(self.correct)
        return 100 * binary_calibration_error(confidences, correct.long(), n_bins=BINS).item()

    def class_scores(self) -> list[ClassScore]:
        """One a class, in the order of the outputs."""
        from sklearn.metrics import precision_recall_fscore_support

        known = np.arange(len(self.classes))
        columns = precision_recall_fscore_support(self.labels, self.predicted, labels=known, zero_division=np.nan)
        precision, recall, f1 = ([None if np.isnan(v) else 100 * float(v) for v in column] for column in columns[:3])
        predicted = np.bincount(self.predicted, minlength=len(known)).tolist()
        rows = zip(self.classes, columns[3].tolist(), predicted, precision, recall, f1, strict=True)
        return [ClassScore(*row) for row in rows]

    def confusions(self, most: int) -> list[Confusion]:
        """The pairs of classes that are confused most often, at most ``most`` of them."""
        wrong = ~self.correct
        pairs, counts = np.unique(
            np.stack([self.labels[wrong], self.predicted[wrong]], axis=1), axis=0, return_counts=True
        )
        totals = np.bincount(self.labels, minlength=len(self.classes))
        first = np.argsort(-counts, kind="stable")[:most]
        return [
            Confusion(self.classes[true], self.classes[said], int(count), 100 * float(count / totals[true]))
            for (true, said), count in zip(pairs[first], counts[first], strict=True)
        ]

    def confusion_matrix(self, most: int) -> np.ndarray:
        """Pictures by true class (rows) and predicted class (columns), neighbours merged to ``most`` groups at most."""
        from sklearn.metrics import confusion_matrix

        count = len(self.classes)
        groups = min(count, most)
        labels, predicted = (np.asarray(index, np.int64) * groups // count for index in (self.labels, self.predicted))
        return confusion_matrix(labels, predicted, labels=np.arange(groups))

    def reliability(self) -> np.ndarray:
        """Mean confidence, accuracy (both 0..1) and number of pictures of every bin of the confidence [BINS, 3].

        Of an empty bin the first two are not a number.
        """
        bins = np.minimum((self.confidences * BINS).astype(int), BINS - 1)
        counts = np.bincount(bins, minlength=BINS)
        sums = [np.bincount(bins, weights=values, minlength=BINS) for values in (self.confidences, self.correct)]
        with np.errstate(invalid="ignore"):
            return np.stack([*(total / counts for total in sums), counts], axis=1)

    def worst(self, most: int) -> list[int]:
        """Indices of the mistakes, those first that the model was surest of."""
        mistakes = np.flatnonzero(~self.correct)
        return mistakes[np.argsort(-self.confidences[mistakes], kind="stable")[:most]].tolist()

    def least_certain(self, most: int) -> list[int]:
        """Indices of the pictures, right or wrong, whose likeliest class was least likely."""
        return np.argsort(self.confidences, kind="stable")[:most].tolist()


def collect(classes: tuple[str, ...], answers: Iterable[tuple[Tensor, Tensor]]) -> Outcome:
    """An outcome from batches of answers; of each only what :class:`Outcome` keeps stays in memory.

    Args:
        classes: Class names, in the order of the outputs.
        answers: Labels [B] and log-probabilities [B, classes] of one batch after the other.
    """
    parts: list[tuple[np.ndarray, ...]] = []
    for labels, log_probabilities in answers:
        top = log_probabilities.float().topk(min(RANKS, len(classes)))
        losses = -log_probabilities.float().gather(1, labels[:, None])[:, 0]
        kept = labels, top.indices, top.values.exp(), losses
        parts.append(tuple(tensor.cpu().numpy() for tensor in kept))
    return Outcome(classes, *(np.concatenate(column) for column in zip(*parts, strict=True)))
