"""Choice of the images of given data to score a classifier on, by the split that its run has recorded."""

from __future__ import annotations

from pathlib import Path

from msgformer.config.data_options import EvaluationSplit
from msgformer.data.classification.skipped import read_skipped
from msgformer.data.classification.subsets import find_sources
from msgformer.data.files.layout import find_layout
from msgformer.data.files.locations import FOLDER, TABLE, Location, find_labels
from msgformer.data.files.sources import FolderSource, Source, SubsetSource
from msgformer.data.loading.split import read_split
from msgformer.data.loading.trained_images import TrainedImages, note_held_out
from msgformer.errors import UserError, shown
from msgformer.tasks.evaluation import PARTS
from msgformer.tasks.opened_model import OpenedModel

BUNDLED = "sample:digits"
"""Location of the bundled data, which a run without a data folder was trained on."""


def open_evaluation_set(model: OpenedModel, data: str, split: EvaluationSplit | None) -> tuple[Source, str]:
    """Open given images to score on.

    Args:
        model: The classifier.
        data: Folder or location of the images.
        split: Subset to score on; by default that for validation. "all" is for data without subsets.

    Returns:
        The images, and their name.

    Raises:
        UserError: The data can't be used, or has no such subset.
    """
    location = find_labels(data)
    sources = find_sources(location, model.card.classes)
    trained = None if model.run is None or not model.data else _Trained(model, model.run)
    if "all" in sources:
        return _unsplit(data, location, sources["all"](), trained, split)
    chosen = split or ("val" if "val" in sources else "train")
    if chosen not in sources:
        raise UserError(f"split: {shown(data)} has {', '.join(sources)}, but no {chosen} images; give one of those")
    source = sources[chosen]()
    if chosen != "train" and trained is not None and trained.images.root is not None:
        trained.warn(location, source, "give --data of other images")
    return source, data if split is None else f"the {split} images of {data}"


class _Trained:
    """Recorded images of a classifier's run."""

    def __init__(self, model: OpenedModel, run: Path) -> None:
        self.run = run
        self.location = find_labels(model.data["path"] or BUNDLED)
        self.images = TrainedImages.of(run, _training_root(self.location, model.card.classes))

    def among(self, location: Location, source: Source) -> list[int]:
        """Return the indices of the run's training images in a source."""
        return self.images.among(root, _names(source)) if (root := self._root(location, source)) is not None else []

    def warn(self, location: Location, source: Source, remedy: str) -> None:
        """Warn if training images are scored."""
        if (root := self._root(location, source)) is not None:
            self.images.warn(self.run, root, _names(source), remedy)

    def _root(self, location: Location, source: Source) -> Path | None:
        """Return the folder that a source's names are relative to; None if they can't be compared with the run's."""
        while isinstance(source, SubsetSource):
            source = source.source
        if self.location.scheme in (FOLDER, TABLE):
            return Path(source.listing.root) if isinstance(source, FolderSource) else None
        return Path() if location == self.location else None  # the names are unique within the data

    def is_of(self, location: Location, source: Source) -> bool:
        """Return whether a source holds exactly the images that the run had before its split."""
        recorded = [name for subset in PARTS for name in read_split(self.run, subset) or ()]
        recorded += [one.name for one in read_skipped(self.run)]
        is_one_set = len(recorded) == len({*recorded})  # and not several folders, each with its own names
        is_equal = is_one_set and {*recorded} == {*_names(source)}
        return is_equal and len(self.among(location, source)) == len(self.images.names) > 0


def _unsplit(
    data: str, location: Location, source: Source, trained: _Trained | None, split: EvaluationSplit | None
) -> tuple[Source, str]:
    """Choose the images of data without subsets: those of the run's split if these are its data, or else all."""
    if split != "all" and trained is not None and trained.is_of(location, source):
        subset = split or "val"
        names = {*(read_split(trained.run, subset) or ())}
        if not names and subset == "val" and split is None:
            trained.warn(location, source, "the run held out none, so give --data of other images")
            return source, data
        if not names:
            raise UserError(f"split: {shown(trained.run)} has recorded no {subset} images; give another --split")
        chosen = [index for index, name in enumerate(_names(source)) if name in names]
        if split is None:
            note_held_out(trained.run, data, len(chosen), len(source.labels))
        return SubsetSource(source, chosen), f"the {PARTS[subset]} part of {data}"
    if split not in (None, "all"):
        raise UserError(
            f"split: {shown(data)} has no {split} images: it has no subsets, and its images are not exactly those whose"
            " split a run beside the model has recorded; leave --split out"
        )
    if trained is not None:
        trained.warn(location, source, "give --data of other images, or none for those that the run held out")
    return source, data


def _names(source: Source) -> list[str]:
    return [source.name(index) for index in range(len(source.labels))]


def _training_root(location: Location, classes: list[str]) -> Path | None:
    """Return the folder that the names of a run's training images are relative to; None if it is gone."""
    path = Path(location.path).expanduser()
    if location.scheme == TABLE:
        return path.parent
    if location.scheme != FOLDER or not path.is_dir():
        return None
    try:
        return find_layout(path, classes).train
    except UserError:
        return None
