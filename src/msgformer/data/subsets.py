"""The training and the validation pictures of a run, and how to find the latter again later."""

from __future__ import annotations

from pathlib import Path

from msgformer.data.digits import DigitsSource
from msgformer.data.folder import VAL_NAMES, Listing, existing_folder, list_classes, list_subsets, named_subset
from msgformer.data.samples import FolderSource, Source
from msgformer.data.split import read_split, stratified_split, write_split
from msgformer.errors import UserError


def open_subsets(data: Path | None, val_fraction: float, seed: int) -> tuple[Source, Source]:
    """Training and validation pictures.

    Args:
        data: A folder with ``train/`` and ``val/``, or with class folders only, which are then split; None for the
            embedded digits, split likewise.
        val_fraction: Part of each class to validate on, where a split is made.
        seed: What the split depends on.

    Raises:
        UserError: the folder isn't laid out in either way, or can't be split.
    """
    if data is None:
        digits = DigitsSource()
        train, val = stratified_split(digits.labels, digits.classes, val_fraction, seed)
        return DigitsSource(train), DigitsSource(val)
    training, validation = list_subsets(data)
    if validation is None:
        chosen = stratified_split(training.labels, training.classes, val_fraction, seed)
        training, validation = (training.subset(indices) for indices in chosen)
    return FolderSource(training), FolderSource(validation)


def record_subsets(run: Path, train: Source, val: Source) -> None:
    """Write down in the run folder which pictures were trained on and which were held out."""
    subsets = {}
    for subset, source in (("train", train), ("val", val)):
        names = [source.name(index) for index in range(len(source.labels))]
        subsets[subset] = names, [source.classes[label] for label in source.labels]
    write_split(run, subsets)


def open_evaluation(path: Path, classes: list[str]) -> Source:
    """All pictures to score a trained model on.

    Args:
        path: A folder with ``val/`` (which is taken) or class folders.
        classes: The model's classes; class folders must be among them.
    """
    root = existing_folder(path)
    val = named_subset(root, VAL_NAMES)
    return FolderSource(list_classes(val or root, classes))


def reopen_validation(run: Path, data: Path | None, classes: list[str], val_fraction: float, seed: int) -> Source:
    """The pictures that a run held out.

    Args:
        run: Run folder, with the record of its split.
        data: The run's data folder; None for the embedded digits.
        classes: The model's classes.
        val_fraction: What the split was made with.
        seed: What the split was made with.

    Raises:
        UserError: the data folder or the record is gone, or a picture in it.
    """
    if data is None:
        return open_subsets(None, val_fraction, seed)[1]
    root = existing_folder(data, "the run's data")
    val = named_subset(root, VAL_NAMES)
    if val is not None:
        return FolderSource(list_classes(val, classes))
    names = read_split(run, "val")
    if names is None:
        raise UserError(f"no record of held-out images beside the checkpoint in {run}; give --data FOLDER")
    missing = [name for name in names if not (root / name).is_file()]
    if missing:
        raise UserError(f"{root / missing[0]} was held out by the run, but is gone; restore it or give --data FOLDER")
    labels = tuple(classes.index(Path(name).parts[0]) for name in names)
    return FolderSource(Listing(str(root), tuple(names), labels, tuple(classes)))
