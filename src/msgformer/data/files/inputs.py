"""Inputs of a trained model: files, folders, patterns, shards, URLs, videos, and lists of these.

Inputs are found lazily: memory holds the names of one folder or one shard at a time, even for millions of images.
"""

from __future__ import annotations

import glob
import io
import os
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, NamedTuple, Protocol
from urllib.parse import urlsplit

from msgformer.data.files.folder import is_image, require_path, walk_images
from msgformer.data.files.urls import UrlInput, check_url, is_url
from msgformer.data.files.videos import is_video, require_pyav, video_frames
from msgformer.errors import UserError, shown

if TYPE_CHECKING:
    from PIL import Image

    from msgformer.data.files.tars import Member
    from msgformer.data.files.value_range import ValueRange

STDIN = "-"
"""Input that means a list on standard input."""

SHARD_SUFFIX = ".tar"


class ImageInput(Protocol):
    """An image to predict, wherever it is; pickled to the worker process that loads it."""

    @property
    def name(self) -> str:
        """Name in results and messages: a path, a URL, or "image 1" by its position."""

    @property
    def carries_pixels(self) -> bool:
        """Whether the input holds decoded pixels, which makes many inputs take much memory."""

    def reference(self) -> ImageInput:
        """Return an input for loading the image again later, without pixels if they can be read from elsewhere."""

    def load(self, min_side: int = 0, value_range: ValueRange | None = None) -> Image.Image:
        """Return the image in RGB.

        Args:
            min_side: Minimum side in pixels at which a JPEG may be decoded; 0 for its full size only.
            value_range: Values of black and white in images of more than 8 bits, as of `read_image`.

        Raises:
            UserError: The image can't be read; the message names it.
        """


class FileInput(NamedTuple):
    """An image file, or a member of a shard.

    Attributes:
        name: Path of the file; for a member the path of the shard, a colon, and the path inside.
        member: Location in a shard; None for a file.
    """

    name: str
    member: Member | None = None

    @property
    def carries_pixels(self) -> bool:
        """Return False, since the worker reads the file."""
        return False

    def reference(self) -> FileInput:
        """Return the input itself, which carries no pixels."""
        return self

    def load(self, min_side: int = 0, value_range: ValueRange | None = None) -> Image.Image:
        """Read the image in RGB.

        Args:
            min_side: Minimum side in pixels at which a JPEG may be decoded; 0 for its full size only.
            value_range: Values of black and white in images of more than 8 bits, as of `read_image`.

        Raises:
            UserError: The image can't be read; the message names it.
        """
        from msgformer.data.files.images import read_image

        file = self.name if self.member is None else io.BytesIO(self.member.read())
        return read_image(file, self.name, min_side, value_range=value_range)


class ScaledInput(NamedTuple):
    """An input that is loaded with the value range of a model, also by its result.

    Attributes:
        source: The input.
        value_range: Values of black and white in images of more than 8 bits.
    """

    source: ImageInput
    value_range: ValueRange

    @property
    def name(self) -> str:
        """Name of the input."""
        return self.source.name

    @property
    def carries_pixels(self) -> bool:
        """Whether the input holds decoded pixels."""
        return self.source.carries_pixels

    def reference(self) -> ScaledInput:
        """Return an input for loading the image again later."""
        return self._replace(source=self.source.reference())

    def load(self, min_side: int = 0, value_range: ValueRange | None = None) -> Image.Image:
        """Return the image in RGB.

        Args:
            min_side: Minimum side in pixels at which a JPEG may be decoded; 0 for its full size only.
            value_range: Another range; by default the input's own.

        Raises:
            UserError: The image can't be read; the message names it.
        """
        return self.source.load(min_side, value_range or self.value_range)


def check_inputs(given: Iterable[str]) -> None:
    """Check that inputs exist, without searching folders or connecting to servers.

    Args:
        given: Files, folders, shards, videos, patterns, http(s) URLs, or "-".

    Raises:
        UserError: An input doesn't exist, none is given, or PyAV is not installed and a video is given.
    """
    places = list(given)
    if not places:
        raise UserError("images: the list is empty; give files or folders")
    for place in places:
        if is_url(place):
            check_url(place)
            if is_video(urlsplit(place).path) or urlsplit(place).path.lower().endswith(SHARD_SUFFIX):
                raise UserError(
                    f"images: {shown(place)}: only images can be read from URLs; download it and give its path"
                )
        elif place != STDIN:
            _check_path(place)


def _check_path(place: str) -> None:
    first = next(_matches(place), None)
    if first is None:
        raise UserError(f"images: no file matches {shown(place)}")
    if is_video(first):
        require_pyav()


def is_single(place: str) -> bool:
    """Return whether a checked input is a single image, a file or URL, rather than a container of images."""
    if is_url(place):
        return True
    path = Path(place)
    return place != STDIN and path.exists() and not (path.is_dir() or is_shard(place) or is_video(place))


def find_inputs(given: Iterable[str], listed: BinaryIO | None = None) -> Iterator[ImageInput]:
    """Yield the images of all inputs in order; those of a folder are sorted by path, those of a shard as stored.

    Args:
        given: Files, folders (searched with their subfolders), shards (.tar), videos, patterns such as
            ``photos/**/*.jpg``, http(s) URLs, or "-" for a list of any of these except patterns on standard input.
        listed: The list, one path per line, or with a zero byte after each as ``find -print0`` writes it; by default
            standard input.

    Raises:
        UserError: An input doesn't exist, a folder holds no image, or a shard can't be read. A missing file of the
            list becomes an input that fails to load.
    """
    for place in given:
        if is_url(place):
            yield UrlInput(place)
        elif place == STDIN:
            for line in _lines(sys.stdin.buffer if listed is None else listed):
                yield from _inputs_at(line)
        else:
            for path in _matches(place):
                yield from _inputs_at(path)


def _matches(place: str) -> Iterator[str]:
    """Yield the paths that match a pattern; an existing path is never a pattern."""
    if not place:
        raise UserError("images: a path is empty; give a file or folder")
    try:
        exists = Path(place).exists()
    except OSError as error:  # the path is too long, for example file content instead of a name
        reason = error.strerror or "not a path"
        raise UserError(f"images: can't open {shown(place[:100])} ({reason}); give a file or folder") from error
    if glob.has_magic(place) and not exists:
        yield from sorted(glob.iglob(place, recursive=True))  # noqa: PTH207  (a Path can't glob from the root)
    else:
        require_path(Path(place), "images")
        yield place


def is_shard(place: str) -> bool:
    """Return whether a path is a tar file."""
    return place.lower().endswith(SHARD_SUFFIX) and Path(place).is_file()


def _inputs_at(place: str) -> Iterator[ImageInput]:
    """Yield the images of a folder, shard or video; any other path is treated as an image."""
    if is_url(place):
        yield UrlInput(place)
    elif is_shard(place):
        yield from _in_shard(place)
    elif is_video(place) and Path(place).is_file():
        yield from video_frames(place)
    elif Path(place).is_dir():
        yield from _in_folder(place)
    else:
        yield FileInput(str(Path(place)))


def _in_shard(place: str) -> Iterator[FileInput]:
    from msgformer.data.files.tars import index_tar

    members = [member for member in index_tar(place) if is_image(member.name.rpartition("/")[2])]
    if not members:
        raise UserError(f"images: no image in shard {shown(place)}")
    for member in members:
        yield FileInput(f"{place}:{member.name}", member)


def _in_folder(place: str) -> Iterator[FileInput]:
    empty = True
    for name in walk_images(place):
        empty = False
        yield FileInput(str(Path(place, name)))
    if empty:
        raise UserError(f"images: no image in folder {shown(place)}")


def _lines(stream: BinaryIO) -> Iterator[str]:
    """Yield the nonblank lines of a list in the file system's encoding, or its entries if zero bytes separate them."""
    rest, separator = b"", None
    while chunk := stream.read1(1 << 16) if isinstance(stream, io.BufferedReader) else stream.read(1 << 16):
        rest += chunk
        if separator is None and (b"\0" in rest or b"\n" in rest):
            separator = b"\0" if b"\0" in rest else b"\n"
        if separator is not None:
            *whole, rest = rest.split(separator)
            yield from (os.fsdecode(line.removesuffix(b"\r")) for line in whole if line.strip())
    if rest.strip():
        yield os.fsdecode(rest)
