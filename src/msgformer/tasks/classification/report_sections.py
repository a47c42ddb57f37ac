"""Sections of a report about a classifier's predictions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from msgformer.tasks.classification.outcome import BINS, Outcome
from msgformer.tasks.classification.score_records import ClassScore
from msgformer.tasks.evaluation import MAX_UNFOLDED_ROWS, percent
from msgformer.visual.page import Block, Figure, Gallery, GalleryImage, Section, Table, Text, Tile, thumbnail
from msgformer.visual.plots import confusion_plot, histogram_plot, reliability_plot

if TYPE_CHECKING:
    from PIL.Image import Image

MAX_GALLERY = 24
"""Largest number of images per gallery."""

MAX_CONFUSIONS = 15
"""Largest number of listed confusions."""

MAX_GROUPS = 250
"""Largest number of rows and columns of the confusion matrix."""

GetName = Callable[[int], str]
LoadImage = Callable[[int], "Image"]


def headline(outcome: Outcome) -> list[Tile]:
    """Return the most important scores."""
    f1 = [score.f1 for score in outcome.class_scores() if score.f1 is not None]
    tiles = [
        Tile("Top-1 accuracy", percent(outcome.accuracy(1)), f"{int(outcome.correct.sum()):,} of {len(outcome):,}")
    ]
    if len(outcome.classes) > 5:
        tiles.append(Tile("Top-5 accuracy", percent(outcome.accuracy(5))))
    return [
        *tiles,
        Tile("Loss", f"{outcome.loss:.4f}", "cross-entropy"),
        Tile("Mean F1", percent(sum(f1) / len(f1) if f1 else None), f"of {len(f1):,} classes"),
        Tile("Calibration error", percent(outcome.calibration_error), f"expected, {BINS} bins"),
    ]


def outcome_sections(outcome: Outcome, get_name: GetName, load_image: LoadImage) -> list[Section]:
    """Build the sections of confusions, scores per class, calibration and image galleries.

    Args:
        outcome: The predictions.
        get_name: Returns the name of an image by its index.
        load_image: Loads an image in RGB by its index.
    """
    return [
        Section("Confusion", _confusion(outcome)),
        Section("Classes", _classes(outcome.class_scores())),
        Section("Calibration", _calibration(outcome)),
        Section("Worst mistakes", _worst_mistakes(outcome, get_name, load_image)),
        Section("Least certain", _least_certain(outcome, get_name, load_image)),
    ]


def _confusion(outcome: Outcome) -> list[Block]:
    matrix = outcome.confusion_matrix(MAX_GROUPS)
    alt = f"Confusion matrix of {len(outcome.classes)} classes; the most frequent confusions are listed beside it."
    caption = "Number of images by true class (rows) and predicted class (columns); the color is the share of the row."
    figure = Figure(confusion_plot(matrix, outcome.classes), alt, caption)
    pairs = outcome.confusions(MAX_CONFUSIONS)
    if not pairs:
        return [figure, Text("No image is misclassified.")]
    rows = [(pair.true, pair.predicted, f"{pair.images:,}", percent(pair.share)) for pair in pairs]
    return [figure, Table("Most frequent confusions", ("True", "Predicted", "Images", "Of true"), rows, texts=2)]


def _classes(scores: Sequence[ClassScore]) -> list[Block]:
    """Return tables of scores per class in ascending order of F1; classes without images are last."""
    ranked = sorted(scores, key=lambda score: (score.images == 0, score.f1 or 0.0))
    header = ("Class", "Images", "Predicted", "Precision", "Recall", "F1")
    rows = [
        (
            score.name,
            f"{score.images:,}",
            f"{score.predicted:,}",
            *map(percent, (score.precision, score.recall, score.f1)),
        )
        for score in ranked
    ]
    first = Table("Scores by class, the lowest F1 first", header, rows[:MAX_UNFOLDED_ROWS], wide=True)
    if not (rest := rows[MAX_UNFOLDED_ROWS:]):
        return [first]
    recalls = [score.recall for score in scores if score.recall is not None]
    plot = histogram_plot("recall", "Recall of the classes", recalls, "recall in %")
    return [
        Figure(plot, f"Histogram of the recall of {len(recalls):,} classes; the table beside it has the quartiles."),
        _quartiles(scores),
        first,
        Table("The other classes", header, rest, folded=f"The other {len(rest):,} classes"),
    ]


def _quartiles(scores: Sequence[ClassScore]) -> Table:
    """Return a table of the quartiles of the scores over the classes."""
    rows = []
    for title in ("precision", "recall", "f1"):
        known = [value for score in scores if (value := getattr(score, title)) is not None]
        rows.append(
            (title.capitalize(), *(percent(float(value)) for value in np.percentile(known, [0, 25, 50, 75, 100])))
        )
    return Table("Scores over the classes", ("Score", "Lowest", "25 %", "Median", "75 %", "Highest"), rows)


def _calibration(outcome: Outcome) -> list[Block]:
    confidence = 100 * float(outcome.confidences.mean())
    accuracy = outcome.accuracy(1)
    text = (
        f"The mean confidence is {percent(confidence)}, the accuracy {percent(accuracy)}. The expected calibration"
        f" error, the mean distance between bars and diagonal weighted by the number of images, is"
        f" {percent(outcome.calibration_error)}."
    )
    bins = outcome.reliability()
    alt = (
        f"Reliability diagram with {BINS} bins over a histogram of the confidence; the table beside it has the numbers."
    )
    rows = [
        (
            f"{index / BINS:.2f} to {(index + 1) / BINS:.2f}",
            f"{int(images):,}",
            percent(100 * bin_confidence),
            percent(100 * bin_accuracy),
        )
        for index, (bin_confidence, bin_accuracy, images) in enumerate(bins)
        if images
    ]
    table = Table("Non-empty bins", ("Confidence", "Images", "Mean confidence", "Accuracy"), rows)
    return [Text(text), Figure(reliability_plot(bins), alt), table]


def _worst_mistakes(outcome: Outcome, get_name: GetName, load_image: LoadImage) -> list[Block]:
    indices = outcome.worst_mistakes(MAX_GALLERY)
    if not indices:
        return [Text("Every image is classified correctly.")]
    total = len(outcome) - int(outcome.correct.sum())
    count = f"All {total:,} mistakes" if total == len(indices) else f"{len(indices)} of {total:,} mistakes"
    text = f"{count}, in descending order of confidence; some labels may be wrong."
    return [Text(text), Gallery([_gallery_image(outcome, index, get_name, load_image) for index in indices])]


def _least_certain(outcome: Outcome, get_name: GetName, load_image: LoadImage) -> list[Block]:
    indices = outcome.least_certain(MAX_GALLERY)
    text = "The images with the lowest probability of the top-1 class, correct or not."
    return [Text(text), Gallery([_gallery_image(outcome, index, get_name, load_image) for index in indices])]


def _gallery_image(outcome: Outcome, index: int, get_name: GetName, load_image: LoadImage) -> GalleryImage:
    true = outcome.classes[outcome.labels[index]]
    is_correct = bool(outcome.correct[index])
    ranks = zip(outcome.ranked[index, :2], outcome.probabilities[index, :2], strict=True)
    top = [f"{outcome.classes[rank]} {percent(100 * float(probability), 1)}" for rank, probability in ranks]
    predicted = outcome.classes[outcome.predicted[index]]
    lines = [f"{true}, correct" if is_correct else f"{true} predicted as {predicted}", *top]
    return GalleryImage(thumbnail(load_image(index)), get_name(index), lines, is_correct)
