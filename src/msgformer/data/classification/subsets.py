"""Training and validation images of a run, and how evaluation finds the latter again."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from msgformer.config.data_options import OnBadImage
from msgformer.data.bundled.digits import DigitsSource
from msgformer.data.classification.folder_checks import loose_images, other_files
from msgformer.data.classification.label_table import list_table
from msgformer.data.classification.skipped import Skipped, check_subsets, drop_skipped, read_skipped
from msgformer.data.files.folder import Listing, class_name, list_classes, require_folder
from msgformer.data.files.layout import find_evaluation, find_layout, list_subsets
from msgformer.data.files.locations import FOLDER, TABLE, Location, find_labels
from msgformer.data.files.sources import FolderSource, Source, SubsetSource, with_classes
from msgformer.data.loading.split import read_split, stratified_split, write_split
from msgformer.errors import UserError, shown

MAX_NAMES = 3
"""Maximum number of names in a note."""


def open_location(location: Location, classes: Sequence[str] | None = None) -> tuple[Source, Source | None]:
    """Open the training and validation images of a location; the latter are None if there is only one set.

    Args:
        location: The location.
        classes: Names of the classes in the order of the labels; by default in that of the data.

    Raises:
        UserError: The data can't be read, or has an unknown layout.
    """
    if location.scheme == FOLDER:
        listing, other = list_subsets(location.path, classes)
        return FolderSource(listing), None if other is None else FolderSource(other)
    train, val = _open_scheme(location)
    if classes is None:
        return train, val
    return with_classes(train, classes), None if val is None else with_classes(val, classes)


def _open_scheme(location: Location) -> tuple[Source, Source | None]:
    if location.scheme == TABLE:
        listing, other = list_table(Path(location.path).expanduser())
        return FolderSource(listing), None if other is None else FolderSource(other)
    if location.scheme == "hfds":
        from msgformer.data.classification.hub import open_hub_set

        return open_hub_set(location)
    if location.scheme == "sample":
        from msgformer.data.bundled.sample_sets import open_sample_set

        return open_sample_set(location)
    if location.scheme == "torch":
        from msgformer.data.classification.torch_sets import open_torch_set

        return open_torch_set(location)
    from msgformer.data.classification.tar_sets import open_tar_set

    return open_tar_set(location)


def open_subsets(
    data: str | Path | None,
    val_fraction: float,
    seed: int,
    on_bad_image: OnBadImage = "stop",
    recorded: Sequence[Skipped] | None = None,
    classes: Sequence[str] | None = None,
) -> tuple[Source, Source, list[Skipped]]:
    """Open and check the training and validation images, and split the data if it has no validation images.

    Args:
        data: A folder with ``train/`` and ``val/``, or with class folders only, or a location of another kind; None
            for the bundled digits.
        val_fraction: Fraction of each class for validation, if the data is split.
        seed: Seed of the split.
        on_bad_image: As of :func:`check_subsets`.
        recorded: As of :func:`check_subsets`.
        classes: As of `open_location`; a resumed run's own.

    Returns:
        Training images, validation images, and skipped images.

    Raises:
        UserError: The data has an unknown layout, can't be split, or an image can't be read.
    """
    train, val = (DigitsSource(), None) if data is None else open_location(find_labels(data), classes)
    subsets = {"all": train} if val is None else {"train": train, "val": val}
    usable, skipped = check_subsets(subsets, on_bad_image, recorded)
    if val is not None:
        return usable[0], usable[1], skipped
    chosen = stratified_split(usable[0].labels, train.classes, val_fraction, seed)
    return SubsetSource(usable[0], chosen[0]), SubsetSource(usable[0], chosen[1]), skipped


def layout_notes(data: str | Path | None) -> tuple[str, ...]:
    """Return what was left out or decided in reading the layout of a data folder, one line each.

    Args:
        data: As of `open_subsets`.
    """
    location = None if data is None else find_labels(data)
    if location is None or location.scheme != FOLDER:
        return ()
    layout = find_layout(location.path)
    root, used = require_folder(location.path), [folder for folder in (layout.train, layout.val) if folder is not None]
    other = [path for folder in used for path in other_files(folder)]
    loose = [path for folder in used for path in loose_images(folder)]
    kinds = {"file(s) that are not images by their names": other, "image(s) in no class folder": loose}
    return (*layout.notes, *[_left_out(kind, paths, root) for kind, paths in kinds.items() if paths])


def _left_out(kind: str, paths: Sequence[str], root: Path) -> str:
    names = ", ".join(shown(Path(path).relative_to(root)) for path in paths[:MAX_NAMES])
    more = f" and {len(paths) - MAX_NAMES} more" if len(paths) > MAX_NAMES else ""
    return f"left out {len(paths)} {kind}: {names}{more}"


def record_subsets(run: Path, train: Source, val: Source) -> None:
    """Record the names of the training and validation images in the run folder.

    Args:
        run: Run folder.
        train: Training images.
        val: Validation images.
    """
    subsets = {}
    for subset, source in (("train", train), ("val", val)):
        names = [source.name(index) for index in range(len(source.labels))]
        subsets[subset] = names, [source.classes[label] for label in source.labels]
    write_split(run, subsets)


def open_evaluation(data: str | Path, classes: list[str]) -> Source:
    """Open the images for evaluating a trained model.

    Args:
        data: A folder with ``val/`` or with class folders, or a location of another kind. Validation images are
            preferred if there are any.
        classes: Classes of the model; those of the data must be among them.

    Raises:
        UserError: The data can't be read, has an unknown layout, or has a class that the model lacks.
    """
    location = find_labels(data)
    if location.scheme == FOLDER:
        return FolderSource(list_classes(find_evaluation(location.path, classes), classes))
    train, val = open_location(location)
    return with_classes(val or train, classes)


def reopen_validation(run: Path, data: str | Path | None, classes: list[str], val_fraction: float, seed: int) -> Source:
    """Open the validation images of a run again.

    Args:
        run: Run folder, with the record of its split.
        data: Data of the run; None for the bundled digits.
        classes: Classes of the model.
        val_fraction: Fraction of the split.
        seed: Seed of the split.

    Raises:
        UserError: The data, the record, or a recorded image is missing.
    """
    if data is None:
        return open_subsets(None, val_fraction, seed)[1]
    location = find_labels(data)
    if location.scheme != FOLDER:
        train, val = open_location(location)
        return _held_out(run, train, classes) if val is None else _readable(run, with_classes(val, classes))
    root = require_folder(location.path, "the run's data")
    layout = find_layout(root, classes)
    if layout.val is None:
        assert layout.train is not None
        return _held_out_files(run, layout.train, classes)
    return _readable(run, FolderSource(list_classes(layout.val, classes)))


def _readable(run: Path, source: Source) -> Source:
    """Remove the images that the run skipped from its validation images."""
    return drop_skipped(source, [one for one in read_skipped(run) if one.subset == "val"], "val")


def _held_out_files(run: Path, root: Path, classes: list[str]) -> Source:
    names = _recorded(run)
    missing = [name for name in names if not (root / name).is_file()]
    if missing:
        gone = shown(root / missing[0])
        raise UserError(f"{gone} was held out by the run, but is missing; restore it or give --data FOLDER")
    index = {class_name(name): label for label, name in enumerate(classes)}
    labels = tuple(index[class_name(Path(name).parts[0])] for name in names)
    return FolderSource(Listing(str(root), tuple(names), labels, tuple(classes)))


def _held_out(run: Path, source: Source, classes: list[str]) -> Source:
    places = {source.name(index): index for index in range(len(source.labels))}
    names = _recorded(run)
    if missing := next((name for name in names if name not in places), None):
        raise UserError(f"{shown(missing)} was held out by the run, but is missing; restore it or give --data")
    return SubsetSource(source, [places[name] for name in names], classes)


def _recorded(run: Path) -> list[str]:
    names = read_split(run, "val")
    if names is None:
        raise UserError(f"no record of held-out images beside the checkpoint in {run}; give --data FOLDER")
    return names
