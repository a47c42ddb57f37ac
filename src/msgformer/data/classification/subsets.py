"""Training and validation images of a run, and how evaluation finds the latter again."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, NoReturn

from msgformer.config.data_options import OnBadImage
from msgformer.data.bundled.digits import DigitsSource
from msgformer.data.classification.label_table import list_table, list_table_subsets, table_groups
from msgformer.data.classification.skipped import Skipped, check_subsets, drop_skipped, read_skipped
from msgformer.data.files.folder import Listing, class_name, list_classes
from msgformer.data.files.layout import find_layout, is_test_folder, list_subsets
from msgformer.data.files.locations import FOLDER, TABLE, Location, find_labels, require_run_data
from msgformer.data.files.sources import FolderSource, Source, SubsetSource, with_classes
from msgformer.data.loading.split import (
    SplitRule,
    Subset,
    assign_subsets,
    check_groups,
    match_groups,
    read_split,
    refuse_rule,
    split_images,
    write_split,
)
from msgformer.errors import UserError, shown

_USES: dict[str, str] = {"train": "trained on", "val": "held out", "test": "kept for a test"}


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


@dataclass(frozen=True)
class Subsets:
    """Images of a training.

    Attributes:
        train: Training images.
        val: Validation images; none if the training uses all images.
        test: Images that a split file keeps for a test; None without such a file.
        skipped: Images that can't be read.
    """

    train: Source
    val: Source
    test: Source | None
    skipped: list[Skipped]


def open_training(
    data: str | Path | None,
    rule: SplitRule,
    on_bad_image: OnBadImage = "stop",
    recorded: Sequence[Skipped] | None = None,
    classes: Sequence[str] | None = None,
) -> Subsets:
    """Open and check the images of a training, and split the data if it has no validation images.

    Args:
        data: A folder with ``train/`` and ``val/``, or with class folders only, or a location of another kind; None
            for the bundled digits.
        rule: How the data is split.
        on_bad_image: As of :func:`check_subsets`.
        recorded: As of :func:`check_subsets`.
        classes: As of `open_location`; a resumed run's own.

    Raises:
        UserError: The data has an unknown layout, can't be split, or an image can't be read.
    """
    location = None if data is None else find_labels(data)
    train, val = (DigitsSource(), None) if location is None else open_location(location, classes)
    if val is not None:
        refuse_rule(rule, data)
    subsets = {"all": train} if val is None else {"train": train, "val": val}
    usable, skipped = check_subsets(subsets, on_bad_image, recorded)
    if val is not None:
        return Subsets(usable[0], usable[1], None, skipped)
    source = usable[0]
    if rule.file is not None:
        parts = assign_subsets(_names(source), rule.file, [one.name for one in skipped])
        _check_all_trained(source, parts["train"], rule.file)
        test = SubsetSource(source, parts["test"]) if parts["test"] else None
        return Subsets(SubsetSource(source, parts["train"]), SubsetSource(source, parts["val"]), test, skipped)
    groups = None if rule.by is None else _find_groups(source, location, rule.by)
    chosen = split_images(source.labels, source.classes, rule, groups)
    return Subsets(SubsetSource(source, chosen[0]), SubsetSource(source, chosen[1]), None, skipped)


def open_subsets(
    data: str | Path | None, val_fraction: float, seed: int, on_bad_image: OnBadImage = "stop", **further: Any
) -> tuple[Source, Source, list[Skipped]]:
    """Open the images of a training as `open_training` does, split by a fraction.

    Args:
        data: As of `open_training`.
        val_fraction: Fraction of each class for validation, if the data is split.
        seed: Seed of the split.
        on_bad_image: As of `open_training`.
        **further: Further arguments of `open_training`.

    Returns:
        Training images, validation images, and skipped images.
    """
    opened = open_training(data, SplitRule(val_fraction, seed), on_bad_image, **further)
    return opened.train, opened.val, opened.skipped


def _check_all_trained(source: Source, train: Sequence[int], file: Path) -> None:
    """Check that the training images of a split file have all classes."""
    if lost := set(source.labels) - {source.labels[index] for index in train}:
        name = source.classes[min(lost)]
        raise UserError(f"split_file: {shown(file)} has no training image of class {name!r}; give it some")


def _find_groups(source: Source, location: Location | None, by: str) -> list[str]:
    """Return the group of each image, from a column of its table or by a pattern."""
    names = _names(source)
    groups = None
    if location is not None and location.scheme == TABLE:
        groups = table_groups(Path(location.path).expanduser(), names, by)
        if groups is None:
            try:
                return match_groups(names, by)
            except UserError as error:
                raise UserError(f"{error}; the table has no column of this name") from error
    if groups is None:
        return match_groups(names, by)
    check_groups(groups, by)
    return groups


def _names(source: Source) -> list[str]:
    return [source.name(index) for index in range(len(source.labels))]


def layout_notes(data: str | Path | None) -> tuple[str, ...]:
    """Return what was left out or decided in reading the layout of a data folder, one line each.

    Args:
        data: As of `open_subsets`.
    """
    location = None if data is None else find_labels(data)
    return find_layout(location.path).notes if location and location.scheme == FOLDER else ()


def record_subsets(run: Path, train: Source, val: Source, test: Source | None = None) -> None:
    """Record the names of the training, validation and test images in the run folder.

    Args:
        run: Run folder.
        train: Training images.
        val: Validation images.
        test: Images that are kept for a test, if any.
    """
    sources = {"train": train, "val": val} | ({} if test is None else {"test": test})
    write_split(
        run,
        {
            subset: (_names(source), [source.classes[label] for label in source.labels])
            for subset, source in sources.items()
        },
    )


def find_sources(location: Location, classes: Sequence[str]) -> dict[str, Callable[[], Source]]:
    """Find the subsets of data to evaluate on, and return functions that open them.

    Args:
        location: The location.
        classes: Classes of the model, which the labels index.

    Returns:
        Functions by subset: "all" if there is one set only, and otherwise "train", "val" and "test" as far as they are
        there. Test images that serve for validation have both names.

    Raises:
        UserError: The data can't be read, or has an unknown layout.
    """
    if location.scheme == FOLDER:
        layout = find_layout(location.path, classes)
        if layout.val is None:
            assert layout.train is not None
            return {"all": partial(_open_folder, layout.train, classes)}
        folders = {"train": layout.train, "val": layout.val, "test": layout.test}
        if layout.test is None and is_test_folder(layout.val, Path(location.path).expanduser()):
            folders["test"] = layout.val
        return {name: partial(_open_folder, folder, classes) for name, folder in folders.items() if folder is not None}
    if location.scheme == TABLE:
        listings = list_table_subsets(Path(location.path).expanduser())
        if listings.keys() == {"train"}:
            listings = {"all": listings["train"]}
        elif "val" not in listings:
            listings["val"] = listings["test"]
        return {name: partial(with_classes, FolderSource(listing), classes) for name, listing in listings.items()}
    if location.scheme == "hfds":
        from msgformer.data.classification.hub import open_hub_splits

        splits = open_hub_splits(location, ("train", "val", "test"))
        named = splits if len(splits) > 1 else {"all": splits["train"]}
        return {name: partial(with_classes, source, classes) for name, source in named.items()}
    train, val = _open_scheme(location)
    opened = {"all": train} if val is None else {"train": train, "val": val}
    return {name: partial(with_classes, source, classes) for name, source in opened.items()}


def _open_folder(folder: Path, classes: Sequence[str]) -> Source:
    return FolderSource(list_classes(folder, classes))


def open_evaluation(data: str | Path, classes: list[str]) -> Source:
    """Open the images for evaluating a trained model.

    Args:
        data: A folder with ``val/`` or with class folders, or a location of another kind. Validation images are
            preferred if there are any.
        classes: Classes of the model; those of the data must be among them.

    Raises:
        UserError: The data can't be read, has an unknown layout, or has a class that the model lacks.
    """
    sources = find_sources(find_labels(data), classes)
    return (sources.get("val") or sources["all"])()


def reopen_validation(
    run: Path,
    data: str | Path | None,
    classes: list[str],
    val_fraction: float | None,
    seed: int,
    subset: Subset = "val",
) -> Source:
    """Open the validation images of a run, or those of another subset, again.

    Args:
        run: Run folder, with the record of its split.
        data: Data of the run; None for the bundled digits.
        classes: Classes of the model.
        val_fraction: Fraction of the split; None if it wasn't split by a fraction.
        seed: Seed of the split.
        subset: "train", "val", or "test" for images that were kept for a test.

    Raises:
        UserError: The data, the record, or a recorded image is missing.
    """
    if data is None:
        if read_split(run, "train") is None and val_fraction:  # an older run, or a checkpoint alone
            train, val, _ = open_subsets(None, val_fraction, seed)
            return {"train": train, "val": val}.get(subset) or _no_images(run, subset)
        return _held_out(run, DigitsSource(), classes, subset)
    location = find_labels(data)
    require_run_data(location)
    if location.scheme == FOLDER:
        layout = find_layout(location.path, classes)
        if layout.val is None:
            assert layout.train is not None
            return _held_out_files(run, layout.train, classes, subset)
    sources = find_sources(location, classes)
    if "all" in sources:
        return _held_out(run, sources["all"](), classes, subset)
    return _readable(run, sources[subset](), subset) if subset in sources else _no_images(run, subset)


def _no_images(run: Path, subset: Subset) -> NoReturn:
    if subset == "val":
        raise UserError(
            f"{shown(run)} has no held-out images: it was trained on all images (val_fraction 0); give --data FOLDER"
        )
    raise UserError(f"split: the data of {shown(run)} has no {subset} images; give --data, or another --split")


def _readable(run: Path, source: Source, subset: Subset) -> Source:
    """Remove the images that the run skipped."""
    return drop_skipped(source, [one for one in read_skipped(run) if one.subset == subset], subset)


def _held_out_files(run: Path, root: Path, classes: list[str], subset: Subset) -> Source:
    names = _recorded(run, subset)
    missing = [name for name in names if not (root / name).is_file()]
    if missing:
        gone = shown(root / missing[0])
        raise UserError(f"{gone} was {_USES[subset]} by the run, but is missing; restore it or give --data FOLDER")
    index = {class_name(name): label for label, name in enumerate(classes)}
    labels = tuple(index[class_name(Path(name).parts[0])] for name in names)
    return FolderSource(Listing(str(root), tuple(names), labels, tuple(classes)))


def _held_out(run: Path, source: Source, classes: list[str], subset: Subset) -> Source:
    places = {source.name(index): index for index in range(len(source.labels))}
    names = _recorded(run, subset)
    if missing := next((name for name in names if name not in places), None):
        raise UserError(f"{shown(missing)} was {_USES[subset]} by the run, but is missing; restore it or give --data")
    return SubsetSource(source, [places[name] for name in names], classes)


def _recorded(run: Path, subset: Subset) -> list[str]:
    names = read_split(run, subset)
    if names is None:
        raise UserError(f"no record of held-out images beside the checkpoint in {run}; give --data FOLDER")
    return names or _no_images(run, subset)
