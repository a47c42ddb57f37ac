"""What a report says about a detector or a segmenter."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from msgformer.visual.page import Block, Gallery, GalleryImage, Section, Table, Text, Tile, data_uri

if TYPE_CHECKING:
    from PIL.Image import Image

SIDE = 320
"""Longest side of an example's picture."""

OPEN_ROWS = 30
"""Classes that are listed in the open; of more, the rest is folded."""

Scores = Mapping[str, float | None]
"""Per cent by name; None where there was nothing to score."""


@dataclass(frozen=True)
class Example:
    """An image of the validation set.

    Attributes:
        name: What it is called.
        truth: The image with what it really shows drawn on it.
        answer: The image with what the model says.
        words: The answer in words.
    """

    name: str
    truth: Image
    answer: Image
    words: str


def dense_headline(scores: Scores) -> list[Tile]:
    """The numbers that count most."""
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
    """Numbers by size and class, and examples.

    Args:
        scores: COCO's twelve numbers for boxes and perhaps masks, by ``box_ap`` and so on; or a segmenter's.
        per_class: Scores of each class.
        examples: Images to look at.
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
    return Table("COCO's numbers", ("Measure", *(kind.capitalize() for kind in kinds)), rows)


def _classes(per_class: Mapping[str, Scores]) -> list[Block]:
    columns = list(next(iter(per_class.values())))
    header = ("Class", *(_title(column) for column in columns))
    ranked = sorted(per_class.items(), key=lambda item: (item[1][columns[0]] is None, item[1][columns[0]]))
    rows = [(name, *(percent(one[column]) for column in columns)) for name, one in ranked]
    blocks: list[Block] = [Table("Classes, the weakest first", header, rows[:OPEN_ROWS])]
    if len(rows) > OPEN_ROWS:
        folded = f"{len(rows) - OPEN_ROWS} more classes"
        blocks.append(Table("Further classes", header, rows[OPEN_ROWS:], folded=folded))
    return blocks


def _title(column: str) -> str:
    return {"box_ap": "Box AP", "mask_ap": "Mask AP", "iou": "IoU"}[column]


def _examples(examples: Sequence[Example]) -> list[Block]:
    pictures = []
    for one in examples:
        pictures.append(GalleryImage(_picture(one.truth), one.name, ["truth"], good=True))
        pictures.append(GalleryImage(_picture(one.answer), one.name, [f"answer: {one.words}"], good=True))
    return [Text("Images of the validation set: what they show, and beside it what the model says."), Gallery(pictures)]


def _picture(image: Image) -> str:
    """A picture at SIDE's size as an address that holds it."""
    import io

    small = image.copy()
    small.thumbnail((SIDE, SIDE))
    content = io.BytesIO()
    small.save(content, "JPEG", quality=85)
    return data_uri(content.getvalue(), "image/jpeg")


def percent(value: float | None) -> str:
    """A number in per cent, or a dash."""
    return "-" if value is None else f"{value:.2f} %"
