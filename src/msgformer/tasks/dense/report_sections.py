"""Sections of a report about a detector or a segmenter."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from msgformer.tasks.evaluation import MAX_UNFOLDED_ROWS, percent
from msgformer.visual.page import Block, Gallery, GalleryImage, Section, Table, Text, Tile, thumbnail

if TYPE_CHECKING:
    from PIL.Image import Image

MAX_SIDE = 320
"""Longer side of an example image in pixels."""

Scores = Mapping[str, float | None]
"""Scores in percent by name; None for an undefined score."""


@dataclass(frozen=True)
class Example:
    """An image of the validation set.

    Attributes:
        name: Name of the image.
        ground_truth: The image with its annotations drawn on it.
        prediction: The image with the prediction drawn on it.
        summary: The prediction as text.
    """

    name: str
    ground_truth: Image
    prediction: Image
    summary: str


def dense_headline(scores: Scores) -> list[Tile]:
    """Return the most important scores."""
    titles = {
        "box_ap": ("Box AP", "IoU 0.50:0.95"),
        "box_ap50": ("Box AP50", "IoU 0.50"),
        "mask_ap": ("Mask AP", "IoU 0.50:0.95"),
        "miou": ("Mean IoU", "of the classes that occur"),
        "pixel_accuracy": ("Pixel accuracy", ""),
        "mean_accuracy": ("Mean accuracy", "of the classes"),
    }
    return [Tile(title, percent(scores[key]), note) for key, (title, note) in titles.items() if key in scores]


def dense_sections(scores: Scores, per_class: Mapping[str, Scores], examples: Sequence[Example]) -> list[Section]:
    """Build the sections of average precisions, scores per class and examples.

    Args:
        scores: COCO's twelve metrics for boxes (``box_ap``, ...) and for masks, or the scores of a segmenter.
        per_class: Scores per class.
        examples: Example images.
    """
    sections = [Section("Classes", _classes(per_class))]
    kinds = [kind for kind in ("box", "mask") if f"{kind}_ap" in scores]
    if kinds:
        sections.insert(0, Section("Average precision and recall", [_coco_table(scores, kinds)]))
    if examples:
        sections.append(Section("Examples", _examples(examples)))
    return sections


def _coco_table(scores: Scores, kinds: Sequence[str]) -> Table:
    measures = [name.removeprefix(f"{kinds[0]}_") for name in scores if name.startswith(f"{kinds[0]}_")]
    rows = [
        (measure.replace("_", " ").upper(), *(percent(scores[f"{kind}_{measure}"]) for kind in kinds))
        for measure in measures
    ]
    return Table("COCO metrics", ("Measure", *(kind.capitalize() for kind in kinds)), rows)


def _classes(per_class: Mapping[str, Scores]) -> list[Block]:
    columns = list(next(iter(per_class.values())))
    header = ("Class", *(_title(column) for column in columns))
    ranked = sorted(per_class.items(), key=lambda item: (item[1][columns[0]] is None, item[1][columns[0]]))
    rows = [(name, *(percent(one[column]) for column in columns)) for name, one in ranked]
    blocks: list[Block] = [Table("Classes, the weakest first", header, rows[:MAX_UNFOLDED_ROWS])]
    if len(rows) > MAX_UNFOLDED_ROWS:
        folded = f"{len(rows) - MAX_UNFOLDED_ROWS} more classes"
        blocks.append(Table("Further classes", header, rows[MAX_UNFOLDED_ROWS:], folded=folded))
    return blocks


def _title(column: str) -> str:
    return {"box_ap": "Box AP", "mask_ap": "Mask AP", "iou": "IoU"}[column]


def _examples(examples: Sequence[Example]) -> list[Block]:
    images = []
    for one in examples:
        images.append(GalleryImage(thumbnail(one.ground_truth, MAX_SIDE), one.name, ["ground truth"], good=True))
        images.append(
            GalleryImage(thumbnail(one.prediction, MAX_SIDE), one.name, [f"prediction: {one.summary}"], good=True)
        )
    return [Text("Images of the validation set, with their annotations and with the predictions."), Gallery(images)]
