"""Images whose classes are in a table: a CSV or Parquet file with the columns image, label and, optionally, split."""

from __future__ import annotations

import csv
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from msgformer.data.files.folder import Listing, class_name, natural_order
from msgformer.data.files.layout import subset_of
from msgformer.errors import UserError, shown
from msgformer.utils.packages import require_package

REQUIRED = ("image", "label")
SPLIT = "split"
DELIMITERS = (",", ";", "\t")


@dataclass(frozen=True)
class LabeledRow:
    """One row of a table.

    Attributes:
        number: Number of the row in the file, counted from 1 after the header.
        image: Path of the image relative to the table's folder.
        label: Name of the class.
        subset: "train", "val" or "test"; None if the table has no column ``split``.
    """

    number: int
    image: str
    label: str
    subset: str | None


def list_table(path: Path) -> tuple[Listing, Listing | None]:
    """List the training and the validation images of a table; the latter are None if it has no split.

    Args:
        path: The table. Paths of images are relative to its folder.

    Raises:
        UserError: The table can't be read, lacks a column, or names an image that is missing or has no class.
    """
    subsets = list_table_subsets(path)
    return subsets["train"], subsets.get("val", subsets.get("test"))


def list_table_subsets(path: Path) -> dict[str, Listing]:
    """List the images of a table by subset: "train", and "val" and "test" if it has such rows.

    Args:
        path: As of `list_table`.

    Raises:
        UserError: As of `list_table`.
    """
    by_subset: dict[str, list[LabeledRow]] = {}
    for row in _read_rows(path):
        by_subset.setdefault(row.subset or "train", []).append(row)
    if "train" not in by_subset:
        raise UserError(f"{shown(path)}: no row has the split train; name the training images so")
    classes = natural_order({row.label for row in by_subset["train"]})
    if len(classes) < 2:
        raise UserError(f"{shown(path)}: only one class ({classes[0]!r}): a classifier needs at least two")
    return {subset: _listing(path, rows, classes) for subset, rows in by_subset.items()}


def table_groups(path: Path, names: Sequence[str], column: str) -> list[str] | None:
    """Return the cell of each image in a column; None if the table has no such column.

    Args:
        path: As of `list_table`.
        names: Names of the images, as listed.
        column: Name of the column; upper case doesn't matter in a CSV file.

    Raises:
        UserError: A cell is empty.
    """
    columns, records = (
        _read_parquet(path, column, column.lower()) if path.suffix.lower() == ".parquet" else _read_csv(path)
    )
    key = next((name for name in columns if name in (column, column.lower())), None)
    if key is None:
        return None
    cells: dict[str, str] = {}
    for number, record in enumerate(records, start=1):
        cells[_parse(path, number, record).image] = value = _text(record.get(key))
        if not value:
            raise UserError(f"split_by: {_where(path, number)} has no {key}; complete or remove it")
    return [cells[name] for name in names]


def _listing(path: Path, rows: Iterable[LabeledRow], classes: list[str]) -> Listing:
    index = {name: label for label, name in enumerate(classes)}
    ordered = sorted(rows, key=lambda row: (index.get(row.label, -1), row.number))
    if ordered and ordered[0].label not in index:
        row = ordered[0]
        raise UserError(f"{_where(path, row.number)}: class {row.label!r} is in no training row; correct it")
    labels = tuple(index[row.label] for row in ordered)
    return Listing(str(path.parent), tuple(row.image for row in ordered), labels, tuple(classes))


def _read_rows(path: Path) -> list[LabeledRow]:
    if path.suffix.lower() == ".parquet":
        columns, records = _read_parquet(path)
    else:
        columns, records = _read_csv(path)
    if missing := [name for name in REQUIRED if name not in columns]:
        found = ", ".join(map(shown, columns)) or "no columns"
        raise UserError(
            f"{shown(path)} has {found}, but no column {' and no column '.join(missing)}; a table of labels needs image"
            " and label, and may have split"
        )
    rows = [_parse(path, number, record) for number, record in enumerate(records, start=1)]
    if not rows:
        raise UserError(f"{shown(path)} has no rows; give one per image")
    _check_images(path, rows)
    return rows


def _read_csv(path: Path) -> tuple[list[str], list[Mapping[str, Any]]]:
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            header = file.readline()
            file.seek(0)
            delimiter = max(DELIMITERS, key=header.count)
            reader = csv.DictReader(file, delimiter=delimiter, skipinitialspace=True)
            reader.fieldnames = names = [name.strip().lower() for name in reader.fieldnames or ()]
            return names, list(reader)
    except UnicodeDecodeError as error:
        raise UserError(f"{shown(path)} is not UTF-8 ({error.reason}); save it as UTF-8") from error
    except csv.Error as error:
        raise UserError(f"{shown(path)} is not a CSV file ({error}); write it again") from error


def _read_parquet(path: Path, *more: str) -> tuple[list[str], list[Mapping[str, Any]]]:
    require_package("pyarrow", "parquet", f"data: {shown(path)}")
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        table = pq.read_table(path)
    except (OSError, pa.ArrowException) as error:
        reason = " ".join(str(error).split())
        raise UserError(f"{shown(path)} is not a Parquet file ({shown(reason)}); write it again") from error
    names = list(table.column_names)
    wanted = dict.fromkeys((*REQUIRED, SPLIT, *more))
    return names, table.select([name for name in wanted if name in names]).to_pylist()


def _parse(path: Path, number: int, record: Mapping[str, Any]) -> LabeledRow:
    image, label, split = (_text(record.get(name)) for name in (*REQUIRED, SPLIT))
    where = _where(path, number)
    if not image or not label:
        raise UserError(f"{where} has no {'label' if image else 'image'}; complete or remove it")
    subset = None if SPLIT not in record else subset_of(split)
    if SPLIT in record and subset is None:
        raise UserError(f"{where} has the split {split!r}; give train, val or test")
    relative = os.path.relpath(path.parent / image.replace("\\", "/"), path.parent)
    return LabeledRow(number, relative, class_name(label), subset)


def _text(value: object) -> str:
    """Return a cell as text; whole numbers without a fraction, which tables with gaps store as floats."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return "" if value is None else str(value).strip()


def _check_images(path: Path, rows: Iterable[LabeledRow]) -> None:
    first: dict[str, LabeledRow] = {}
    missing: list[LabeledRow] = []
    for row in rows:
        if (earlier := first.setdefault(row.image, row)) is not row:
            numbers = f"rows {earlier.number} and {row.number}"
            raise UserError(f"{shown(path)}: {numbers} are both of {shown(row.image)}; keep one")
        if not (path.parent / row.image).is_file():
            missing.append(row)
    if missing:
        more = f" ({len(missing) - 1} more)" if len(missing) > 1 else ""
        raise UserError(
            f"{_where(path, missing[0].number)}: there is no image {shown(missing[0].image)} beside the table{more};"
            " paths are relative to its folder"
        )


def _where(path: Path, number: int) -> str:
    return f"{shown(path)}, row {number}"
