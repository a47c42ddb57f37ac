"""What a trained model is asked about: files, folders, patterns, shards and lists of all these, one by one, in order.

Nothing is listed as a whole, so that millions of images take no more memory than one folder's names, or one shard's.
"""

from __future__ import annotations

import glob
import io
import os
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, NamedTuple

from msgformer.data.folder import existing, is_image, walk_images
from msgformer.errors import UserError, shown

if TYPE_CHECKING:
    from PIL import Image

    from msgformer.data.tars import Member

STDIN = "-"
"""Stands for a list on standard input."""

SHARD = ".tar"


class Input(NamedTuple):
    """An image that nobody has labelled.

    Attributes:
        name: Its path; in a shard the shard's, a colon, and the path inside.
        member: Where it lies in a shard; None for a file.
    """

    name: str
    member: Member | None = None

    def load(self, least_side: int = 0) -> Image.Image:
        """The image in RGB.

        Raises:
            UserError: it can't be read; names it.
        """
        from msgformer.data.images import read_image

        return read_image(self.name if self.member is None else io.BytesIO(self.member.read()), self.name, least_side)


def check_inputs(given: Iterable[str]) -> None:
    """Make sure, as far as that takes no time, that there is something at every place.

    Args:
        given: Files, folders, shards, patterns, or "-".

    Raises:
        UserError: nothing is there, or nothing is given.
    """
    places = list(given)
    if not places:
        raise UserError("images: none are given; give files or folders")
    for place in places:
        if place != STDIN and next(_matches(place), None) is None:
            raise UserError(f"images: no file matches {shown(place)}")


def find_inputs(given: Iterable[str], listed: BinaryIO | None = None) -> Iterator[Input]:
    """The images at all places, in the order of the places; those of a folder sorted by path, of a shard as stored.

    Args:
        given: Files, folders, which are searched with their sub-folders, shards (.tar), patterns such as
            ``photos/**/*.jpg``, or "-" for a list of files, folders and shards on standard input.
        listed: That list, one a line, or with a zero byte after each as ``find -print0`` writes it; by default
            standard input.

    Raises:
        UserError: nothing is at a place, a folder holds no image, or a shard can't be read. A file that is listed,
            but not there, is an input that can't be loaded.
    """
    for place in given:
        if place == STDIN:
            for line in _lines(sys.stdin.buffer if listed is None else listed):
                yield from _inputs_at(line)
        else:
            for path in _matches(place):
                yield from _inputs_at(path)


def _matches(place: str) -> Iterator[str]:
    """The paths that a place stands for: itself if it exists, even if it looks like a pattern."""
    if glob.has_magic(place) and not Path(place).exists():
        yield from sorted(glob.iglob(place, recursive=True))  # noqa: PTH207  (a Path can't glob from the root)
    else:
        existing(Path(place), "images")
        yield place


def _inputs_at(place: str) -> Iterator[Input]:
    """The images of a folder or shard; anything else is an image, or nothing, as loading it will tell."""
    if place.lower().endswith(SHARD) and Path(place).is_file():
        yield from _in_shard(place)
    elif Path(place).is_dir():
        yield from _in_folder(place)
    else:
        yield Input(str(Path(place)))


def _in_shard(place: str) -> Iterator[Input]:
    from msgformer.data.tars import index_tar

    members = [member for member in index_tar(place) if is_image(member.name.rpartition("/")[2])]
    if not members:
        raise UserError(f"images: no image in shard {shown(place)}")
    for member in members:
        yield Input(f"{place}:{member.name}", member)


def _in_folder(place: str) -> Iterator[Input]:
    empty = True
    for name in walk_images(place):
        empty = False
        yield Input(str(Path(place, name)))
    if empty:
        raise UserError(f"images: no image in folder {shown(place)}")


def _lines(stream: BinaryIO) -> Iterator[str]:
    """The lines of a list without blank ones, in the file system's encoding; zero bytes part them if there are any."""
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
