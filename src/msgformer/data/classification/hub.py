"""Datasets of Hugging Face's ``datasets`` library: saved datasets, local files that it reads, and those of the Hub."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any, BinaryIO

from msgformer.data.files.layout import pick_subset
from msgformer.data.files.locations import Location
from msgformer.data.files.sources import EncodedSource
from msgformer.errors import UserError, shown
from msgformer.model_names import nearest
from msgformer.utils.packages import require_package

LABEL_COLUMNS = ("label", "labels", "cls", "class", "fine_label")
"""Names of label columns, in order of preference."""


class HubSource(EncodedSource):
    """One split of a dataset, read from its memory-mapped table.

    Args:
        table: A ``datasets.Dataset`` whose image column isn't decoded.
        split: Name of the split.
        image: Name of the image column.
        labels: Index into ``classes`` of each row.
        classes: Class names.
    """

    def __init__(self, table: Any, split: str, image: str, labels: tuple[int, ...], classes: tuple[str, ...]) -> None:
        self.table, self.split, self.image = table, split, image
        self.labels, self.classes = labels, classes

    def name(self, index: int) -> str:
        """Return the split and the row, such as ``train[17]``."""
        return f"{self.split}[{index}]"

    def open(self, index: int) -> str | BinaryIO:
        """Return the encoded image in memory, or its path if the table holds only that."""
        cell = self.table[index][self.image]
        if cell is None:
            raise UserError(f"row {self.name(index)} has no image in column {self.image!r}")
        return io.BytesIO(cell["bytes"]) if cell.get("bytes") else cell["path"]


def open_hub_set(location: Location) -> tuple[HubSource, HubSource | None]:
    """Open the training split and, if there is one, the validation split.

    Raises:
        UserError: The package is missing, or the dataset can't be opened, or has no images or no labels.
    """
    splits = open_hub_splits(location, ("train", "val"))
    return splits["train"], splits.get("val")


def open_hub_splits(location: Location, subsets: Sequence[str]) -> dict[str, HubSource]:
    """Open the splits of some subsets, as far as they are there; "train" always is.

    Args:
        location: The location.
        subsets: Of "train", "val", for which a test split serves as well, and "test".

    Raises:
        UserError: As of `open_hub_set`.
    """
    require_package("datasets", "hf", "hfds:")
    splits = _load(location)
    train = pick_subset(splits, "train") or next(iter(splits))
    others = [name for name in splits if name != train]
    names = {subset: train if subset == "train" else pick_subset(others, subset) for subset in subsets}
    image, label = _columns(splits[train], location)
    classes = _classes(splits[train], label)
    if len(classes) < 2:
        raise UserError(f"data: only one class in column {label!r} of {location}: a classifier needs at least two")
    return {
        subset: _source(splits[name], name, image, label, classes, location)
        for subset, name in names.items()
        if name is not None
    }


def _load(location: Location) -> dict[str, Any]:
    """Load the splits of a dataset by name."""
    import datasets

    folder = Path(location.path)
    is_saved = any((folder / name).is_file() for name in ("dataset_dict.json", "state.json"))
    try:
        loaded = datasets.load_from_disk(location.path) if is_saved else datasets.load_dataset(location.path)
    except Exception as error:  # its readers and the network raise many types of errors
        reason = shown(" ".join(str(error).split()))[:300] or type(error).__name__
        raise UserError(f"data: can't open {location} ({reason})") from error
    return loaded if isinstance(loaded, dict) else {str(loaded.split or "train"): loaded}


def _columns(table: Any, location: Location) -> tuple[str, str]:
    """Return the names of the image and of the label column."""
    import datasets

    images = [name for name, kind in table.features.items() if isinstance(kind, datasets.Image)]
    if not images:
        raise UserError(f"data: no column of images in {location} (it has {', '.join(table.features)})")
    named = [name for name, kind in table.features.items() if isinstance(kind, datasets.ClassLabel)]
    usual = [name for name in LABEL_COLUMNS if name in table.features]
    label = next(iter([name for name in usual if name in named] or named or usual), None)
    if label is None:
        raise UserError(
            f"data: no column of labels in {location} (it has {', '.join(table.features)});"
            f" call it {LABEL_COLUMNS[0]!r}{nearest(LABEL_COLUMNS[0], list(table.features))}"
        )
    return images[0], label


def _classes(table: Any, label: str) -> tuple[str, ...]:
    """Return the class names of the table, or its distinct labels if it has no names."""
    names = _class_names(table, label)
    return tuple(names or map(str, sorted({value for value in table[label] if value is not None})))


def _class_names(table: Any, label: str) -> list[str] | None:
    """Return the names of the classes that the labels are indices of; None if the labels are the names."""
    return getattr(table.features[label], "names", None)


def _source(table: Any, split: str, image: str, label: str, classes: tuple[str, ...], location: Location) -> HubSource:
    import datasets

    if missing := {image, label} - set(table.features):
        raise UserError(f"data: split {split!r} of {location} lacks the column {min(missing)!r} of the training split")
    names = _class_names(table, label)
    values = list(table[label])
    own = dict(enumerate(names)) if names else {value: str(value) for value in values if value is not None}
    index: dict[str | None, int] = {name: number for number, name in enumerate(classes)}
    labels = [index.get(own.get(value), -1) for value in values]  # by name, since splits may number them differently
    if -1 in labels:
        wrong = f"{split}[{labels.index(-1)}]"
        raise UserError(f"data: {location} has no known class for {wrong} in column {label!r}")
    table = table.cast_column(image, datasets.Image(decode=False))
    return HubSource(table, split, image, tuple(labels), classes)
