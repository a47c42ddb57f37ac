"""What a report says about a classifier's answers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from msgformer.tasks.classification.outcome import BINS, Outcome
from msgformer.tasks.classification.score_records import ClassScore
from msgformer.visual.page import Block, Figure, Gallery, GalleryImage, Section, Table, Text, Tile, thumbnail
from msgformer.visual.plots import confusion_plot, histogram_plot, reliability_plot

if TYPE_CHECKING:
    from PIL.Image import Image

GALLERY = 24
"""Pictures of each kind that are shown."""

CONFUSED = 15
"""Pairs of classes that are listed."""

OPEN_ROWS = 30
"""Classes that are listed in the open; of more, the rest is folded."""

MOST_GROUPS = 250
"""Rows and columns of the confusion matrix of very many classes."""

Named = Callable[[int], str]
Shown = Callable[[int], "Image"]


def headline(outcome: Outcome) -> list[Tile]:
    """The numbers that count most."""
    scores = outcome.class_scores()
    f1 = [score.f1 for score in scores if score.f1 is not None]
    tiles = [
        Tile("Top-1 accuracy", percent(outcome.accuracy(1)), f"{int(outcome.correct.sum()):,} of {len(outcome):,}")
    ]
    if len(outcome.classes) > 5:
        tiles.append(Tile("Top-5 accuracy", percent(outcome.accuracy(5))))
    return [
        *tiles,
        Tile("Loss", f"{outcome.loss:.4f}", "cross-entropy"),
        Tile("Mean F1", percent(sum(f1) / len(f1) if f1 else None), f"of {len(scores):,} classes"),
        Tile("Calibration error", percent(outcome.calibration_error), f"expected, {BINS} bins"),
    ]


def outcome_sections(outcome: Outcome, name: Named, picture: Shown) -> list[Section]:
    """Confusion, scores by class, calibration, and the pictures to look at.

    Args:
        outcome: The answers.
        name: What to call picture ``index``.
        picture: Picture ``index`` in RGB.
    """
    return [
        Section("Confusion", _confusion(outcome)),
        Section("Classes", _classes(outcome.class_scores())),
        Section("Calibration", _calibration(outcome)),
        Section("Worst mistakes", _mistakes(outcome, name, picture)),
        Section("Least certain", _doubts(outcome, name, picture)),
    ]


def _confusion(outcome: Outcome) -> list[Block]:
    matrix = outcome.confusion_matrix(MOST_GROUPS)
    alt = f"Confusion matrix of {len(outcome.classes)} classes; the pairs confused most often are listed beside it."
    caption = "Numbers of images; the colour is the part of the row's images, which show the true class."
    figure = Figure(confusion_plot(matrix, outcome.classes), alt, caption)
    pairs = outcome.confusions(CONFUSED)
    if not pairs:
        return [figure, Text("No image was taken for another class.")]
    rows = [(pair.true, pair.predicted, f"{pair.images:,}", percent(pair.share)) for pair in pairs]
    return [figure, Table("Confused most often", ("True", "Predicted", "Images", "Of true"), rows, texts=2)]


def _classes(scores: Sequence[ClassScore]) -> list[Block]:
    """Scores by class, the weakest first; those without images, of which nothing is known, last."""
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
    first = Table("Scores by class, the lowest F1 first", header, rows[:OPEN_ROWS], wide=True)
    if not (rest := rows[OPEN_ROWS:]):
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
    """How scores spread over many classes."""
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
        f"The model's mean confidence is {percent(confidence)}, its accuracy {percent(accuracy)}. The expected"
        f" calibration error, the distance of bars and diagonal averaged over the images, is"
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
            percent(100 * sure),
            percent(100 * right),
        )
        for index, (sure, right, images) in enumerate(bins)
        if images
    ]
    table = Table("Bins that aren't empty", ("Confidence", "Images", "Mean confidence", "Accuracy"), rows)
    return [Text(text), Figure(reliability_plot(bins), alt), table]


def _mistakes(outcome: Outcome, name: Named, picture: Shown) -> list[Block]:
    indices = outcome.worst(GALLERY)
    if not indices:
        return [Text("Every image was recognised.")]
    wrong = len(outcome) - int(outcome.correct.sum())
    which = (
        f"All {wrong:,} mistakes, first those" if wrong == len(indices) else f"The {len(indices)} of {wrong:,} mistakes"
    )
    text = f"{which} that the model was surest of; some may be labelled wrongly."
    return [Text(text), Gallery([_picture(outcome, index, name, picture) for index in indices])]


def _doubts(outcome: Outcome, name: Named, picture: Shown) -> list[Block]:
    indices = outcome.least_certain(GALLERY)
    text = "The images, recognised or not, whose likeliest class was least likely."
    return [Text(text), Gallery([_picture(outcome, index, name, picture) for index in indices])]


def _picture(outcome: Outcome, index: int, name: Named, picture: Shown) -> GalleryImage:
    true = outcome.classes[outcome.labels[index]]
    good = bool(outcome.correct[index])
    ranks = zip(outcome.ranked[index, :2], outcome.probabilities[index, :2], strict=True)
    said = [f"{outcome.classes[rank]} {percent(100 * float(chance), 1)}" for rank, chance in ranks]
    lines = [f"{true}, recognised" if good else f"{true} taken for {outcome.classes[outcome.predicted[index]]}", *said]
    return GalleryImage(thumbnail(picture(index)), name(index), lines, good)


def percent(value: float | None, digits: int = 2) -> str:
    """A number in per cent, or a dash for None."""
    return "-" if value is None else f"{value:.{digits}f} %"
