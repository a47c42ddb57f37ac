"""Image sources: labeled images with random access by index, in any process."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING, BinaryIO, Protocol

from msgformer.data.files.folder import Listing
from msgformer.data.files.images import probe, read_image, read_pixel_values
from msgformer.data.files.value_range import PixelValues, ValueRange
from msgformer.errors import UserError
from msgformer.model_names import nearest

if TYPE_CHECKING:
    from PIL import Image


class Source(Protocol):
    """Labeled images with random access by index. A source must be picklable, for spawned workers."""

    classes: tuple[str, ...]
    labels: tuple[int, ...]

    def name(self, index: int) -> str:
        """Return the name of an image in records, unique within the data."""

    def load(self, index: int, min_side: int = 0, value_range: ValueRange | None = None) -> Image.Image:
        """Load an image in RGB.

        Args:
            index: Index of the image.
            min_side: Minimum side in pixels at which a JPEG may be decoded; 0 for its full size only.
            value_range: Values of black and white in images of more than 8 bits, as of `read_image`.

        Raises:
            UserError: The image can't be read; the message names it.
        """

    def probe(self, index: int, *, whole: bool) -> UserError | None:
        """Return the error of reading an image, or None.

        Args:
            index: Index of the image.
            whole: Whether to decode the pixels, rather than only the header.
        """


class EncodedSource(ABC):
    """Base class of sources whose images are encoded files, on disk or in memory."""

    classes: tuple[str, ...]
    labels: tuple[int, ...]

    @abstractmethod
    def name(self, index: int) -> str:
        """Return the name of an image in records."""

    @abstractmethod
    def open(self, index: int) -> str | BinaryIO:
        """Return the encoded image: its path, or the opened file."""

    def where(self, index: int) -> str:
        """Return the location of an image, for messages."""
        return self.name(index)

    def load(self, index: int, min_side: int = 0, value_range: ValueRange | None = None) -> Image.Image:
        """Load an image in RGB.

        Args:
            index: Index of the image.
            min_side: Minimum side in pixels, as of :func:`read_image`.
            value_range: Values of black and white, as of :func:`read_image`.

        Raises:
            UserError: The image can't be read; the message names it.
        """
        return read_image(self.open(index), self.where(index), min_side, value_range=value_range)

    def probe(self, index: int, *, whole: bool) -> UserError | None:
        """Return the error of reading an image, or None.

        Args:
            index: Index of the image.
            whole: Whether to decode the pixels, rather than only the header.
        """
        try:
            return probe(self.open(index), self.where(index), whole=whole)
        except UserError as error:  # there is no such file
            return error


class FolderSource(EncodedSource):
    """Source of the image files of a listing.

    Args:
        listing: The files and their classes.
    """

    def __init__(self, listing: Listing) -> None:
        self.listing = listing
        self.classes, self.labels = listing.classes, listing.labels

    def name(self, index: int) -> str:
        """Return the path relative to the data folder."""
        return self.listing.names[index]

    def open(self, index: int) -> str:
        """Return the path."""
        return self.listing.path(index)

    def where(self, index: int) -> str:
        """Return the path."""
        return self.listing.path(index)


class SubsetSource:
    """Subset of another source's images, optionally relabeled for another list of classes.

    Args:
        source: The other source.
        indices: Indices of its images.
        classes: Class names that the new labels index; by default the other source's.

    Raises:
        UserError: The class of an image is not among ``classes``; the message suggests the most similar one.
    """

    def __init__(self, source: Source, indices: Sequence[int], classes: Sequence[str] | None = None) -> None:
        self.source = source
        self.indices = tuple(indices)
        self.classes = source.classes if classes is None else tuple(classes)
        own = tuple(source.labels[index] for index in self.indices)
        self.labels = own if classes is None else _relabeled(own, source.classes, self.classes)

    def name(self, index: int) -> str:
        """Return the other source's name of the image."""
        return self.source.name(self.indices[index])

    def load(self, index: int, min_side: int = 0, value_range: ValueRange | None = None) -> Image.Image:
        """Load an image in RGB from the other source.

        Args:
            index: Index of the image in the subset.
            min_side: Minimum side in pixels, as of :func:`read_image`.
            value_range: Values of black and white, as of :func:`read_image`.
        """
        return self.source.load(self.indices[index], min_side, value_range)

    def probe(self, index: int, *, whole: bool) -> UserError | None:
        """Return the error of reading an image, or None.

        Args:
            index: Index of the image in the subset.
            whole: Whether to decode the pixels, rather than only the header.
        """
        return self.source.probe(self.indices[index], whole=whole)


def with_classes(source: Source, classes: Sequence[str]) -> Source:
    """Relabel a source for another list of classes, such as those of a trained model.

    Classes are matched by name. If the source has no class names, only "0", "1", ..., its labels are taken as indices
    into ``classes``.

    Args:
        source: The source.
        classes: Class names that the new labels index.

    Raises:
        UserError: The class of an image is not among ``classes``.
    """
    if source.classes == tuple(classes):
        return source
    return SubsetSource(source, range(len(source.labels)), classes)


def source_pixel_values(source: Source, index: int) -> PixelValues:
    """Read the pixel values of an image; those of sources without files have 8 bits.

    Args:
        source: The source.
        index: Index of the image.

    Raises:
        UserError: The image can't be read.
    """
    if isinstance(source, SubsetSource):
        return source_pixel_values(source.source, source.indices[index])
    if isinstance(source, EncodedSource):
        return read_pixel_values(source.open(index), source.where(index))
    return PixelValues("8 bits")


def numbered_classes(count: int) -> tuple[str, ...]:
    """Return "0", "1", ... as names of classes without names."""
    return tuple(map(str, range(count)))


def _relabeled(labels: tuple[int, ...], own: tuple[str, ...], classes: tuple[str, ...]) -> tuple[int, ...]:
    if own == numbered_classes(len(own)) and not set(own) <= set(classes) and len(own) <= len(classes):
        return labels
    known = {name: index for index, name in enumerate(classes)}
    for name in (own[label] for label in sorted(set(labels))):
        if name not in known:
            raise UserError(f"class {name!r} of the data is not among the known classes{nearest(name, classes)}")
    return tuple(known[own[label]] for label in labels)
