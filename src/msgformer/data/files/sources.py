"""Where images come from: labeled images that can be asked for by index, in any order and any process."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING, BinaryIO, Protocol

from msgformer.data.files.folder import Listing
from msgformer.data.files.images import probe, read_image
from msgformer.errors import UserError
from msgformer.model_names import nearest

if TYPE_CHECKING:
    from PIL import Image

UNLABELED = -1


class Source(Protocol):
    """Labeled images that can be asked for by index; it must survive pickling, for workers that are spawned."""

    classes: tuple[str, ...]
    labels: tuple[int, ...]

    def name(self, index: int) -> str:
        """What to call image ``index`` in records; no other image of the data has the name."""

    def load(self, index: int, min_side: int = 0) -> Image.Image:
        """Image ``index`` in RGB; raises UserError naming it if that fails.

        Where ``min_side`` isn't 0, it may be smaller than stored, but no side below so many pixels.
        """

    def probe(self, index: int, *, whole: bool) -> UserError | None:
        """What is wrong with image ``index``, or None; ``whole``: decode it, don't just look at its header."""


class EncodedSource(ABC):
    """Base of sources whose images are encoded image files, wherever those lie."""

    classes: tuple[str, ...]
    labels: tuple[int, ...]

    @abstractmethod
    def name(self, index: int) -> str:
        """What to call image ``index`` in records."""

    @abstractmethod
    def open(self, index: int) -> str | BinaryIO:
        """The encoded image: its path, or the opened file."""

    def where(self, index: int) -> str:
        """What to call image ``index`` in messages, so that it can be found."""
        return self.name(index)

    def load(self, index: int, min_side: int = 0) -> Image.Image:
        """Image ``index`` in RGB; ``min_side`` is that of :func:`read_image`, whose errors are raised."""
        return read_image(self.open(index), self.where(index), min_side)

    def probe(self, index: int, *, whole: bool) -> UserError | None:
        """What is wrong with image ``index``, or None."""
        try:
            return probe(self.open(index), self.where(index), whole=whole)
        except UserError as error:  # there is no such file
            return error


class FolderSource(EncodedSource):
    """The image files of a listing.

    Args:
        listing: Which files, and their classes.
    """

    def __init__(self, listing: Listing) -> None:
        self.listing = listing
        self.classes, self.labels = listing.classes, listing.labels

    def name(self, index: int) -> str:
        """The path relative to the data folder."""
        return self.listing.names[index]

    def open(self, index: int) -> str:
        """The path."""
        return self.listing.path(index)

    def where(self, index: int) -> str:
        """The path."""
        return self.listing.path(index)


class FileSource(EncodedSource):
    """Image files that nobody has labeled.

    Args:
        files: Their paths.
    """

    classes: tuple[str, ...] = ()

    def __init__(self, files: list[str]) -> None:
        self.files = files
        self.labels = (UNLABELED,) * len(files)

    def name(self, index: int) -> str:
        """The path."""
        return self.files[index]

    def open(self, index: int) -> str:
        """The path."""
        return self.files[index]


class SubsetSource:
    """Some of another source's images, if need be under other classes.

    Args:
        source: The other source.
        indices: Which of its images.
        classes: Class names that the labels are to count in; by default the other source's.

    Raises:
        UserError: an image's class isn't among ``classes``; names the class and the nearest known one.
    """

    def __init__(self, source: Source, indices: Sequence[int], classes: Sequence[str] | None = None) -> None:
        self.source = source
        self.indices = tuple(indices)
        self.classes = source.classes if classes is None else tuple(classes)
        own = tuple(source.labels[index] for index in self.indices)
        self.labels = own if classes is None else _relabeled(own, source.classes, self.classes)

    def name(self, index: int) -> str:
        """As the other source calls it."""
        return self.source.name(self.indices[index])

    def load(self, index: int, min_side: int = 0) -> Image.Image:
        """Image ``index`` in RGB, as the other source loads it."""
        return self.source.load(self.indices[index], min_side)

    def probe(self, index: int, *, whole: bool) -> UserError | None:
        """What is wrong with image ``index``, or None."""
        return self.source.probe(self.indices[index], whole=whole)


def with_classes(source: Source, classes: Sequence[str]) -> Source:
    """All images of ``source`` under other classes, such as those of a trained model.

    Classes are matched by name. A source without class names, whose classes are called "0", "1", ..., is taken to
    number the others in their order.

    Raises:
        UserError: an image's class isn't among ``classes``.
    """
    if source.classes == tuple(classes):
        return source
    return SubsetSource(source, range(len(source.labels)), classes)


def numbered_classes(count: int) -> tuple[str, ...]:
    """Names for classes that have none: "0", "1", ..."""
    return tuple(map(str, range(count)))


def _relabeled(labels: tuple[int, ...], own: tuple[str, ...], classes: tuple[str, ...]) -> tuple[int, ...]:
    if own == numbered_classes(len(own)) and not set(own) <= set(classes) and len(own) <= len(classes):
        return labels
    known = {name: index for index, name in enumerate(classes)}
    for name in (own[label] for label in sorted(set(labels))):
        if name not in known:
            raise UserError(f"class {name!r} of the data is not among the known classes{nearest(name, classes)}")
    return tuple(known[own[label]] for label in labels)
