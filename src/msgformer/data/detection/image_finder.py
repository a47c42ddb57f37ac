"""Finds the image files that annotation files name, although tools write the names in many ways."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path, PurePosixPath
from urllib.parse import unquote

from msgformer.data.files.folder import walk_images
from msgformer.errors import UserError, shown

LOCAL_FILES = re.compile(r".*[?&]d=")
"""Start of a name that Label Studio writes for a file in its local storage."""

UPLOAD_PREFIX = re.compile(r"[0-9a-f]{8}[-_](?=.)")
"""Prefix that Label Studio gives to the names of uploaded files."""


class ImageFinder:
    """Finds image files by the names in annotation files.

    Args:
        root: Folder to search for a unique file of the same name if no place has the file.
        places: Folders that names may be relative to, in order of preference.
        others: Folders to leave out of the search, such as those of other subsets.
    """

    def __init__(self, root: Path, places: Sequence[Path], others: Sequence[Path] = ()) -> None:
        self.root, self.others = root, tuple(others)
        self.places = tuple(dict.fromkeys(places))

    def find(self, name: str, near: Path | None = None) -> Path | None:
        """Return the file of a name, or None if there is none.

        Args:
            name: Name or path in the annotations, with any separators, "../" and the prefixes of Label Studio.
            near: Folder of the annotation file of this image; a file of the same name there comes first.

        Raises:
            UserError: No place has the file, and several files below ``root`` have its name.
        """
        spellings = [*dict.fromkeys(_spellings(name))]
        bases = dict.fromkeys(PurePosixPath(spelling).name for spelling in spellings)
        candidates = [] if near is None else [near / spelling for spelling in (*spellings, *bases)]
        candidates += [place / spelling for spelling in spellings for place in self.places]
        if (found := next((path for path in candidates if path.is_file()), None)) is not None:
            return found
        for file in (file for base in bases for file in (base, UPLOAD_PREFIX.sub("", base, count=1))):
            hits = self._by_name.get(file, [])
            hits = [hit for hit in hits if any(f"/{hit}".endswith(f"/{one}") for one in spellings)] or hits
            if len(hits) > 1:
                raise UserError(
                    f"{shown(name)} is the name of {len(hits)} images in {shown(self.root)} ({shown(hits[0])},"
                    f" {shown(hits[1])}); write its folder in the annotations, too"
                )
            if hits:
                return self.root / hits[0]
        return None

    def missing(self, name: str) -> Path:
        """Return the path to name in a message about a missing file."""
        return self.places[0] / name

    @cached_property
    def _by_name(self) -> dict[str, list[str]]:
        """The paths of the images below the root, except in other folders, by file name."""
        found: dict[str, list[str]] = {}
        for path in walk_images(self.root):
            if not any((self.root / path).is_relative_to(other) for other in self.others):
                found.setdefault(PurePosixPath(path).name, []).append(path)
        return found


def _spellings(name: str) -> Iterator[str]:
    """Yield a name, and the relative path that it may stand for."""
    yield name
    path = LOCAL_FILES.sub("", name.replace("\\", "/"))
    for spelling in (path, unquote(path)):
        parts = [part for part in spelling.split("/") if part not in ("", ".", "..")]
        if parts:
            yield "/".join(parts)
