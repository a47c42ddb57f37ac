"""What ``--data`` takes: a folder, or ``SCHEME:LOCATION`` for what isn't one. Names only are looked at here."""

from __future__ import annotations

import glob
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from msgformer.data.files.folder import TRAIN_NAMES, VAL_NAMES, find_subsets, require_folder
from msgformer.errors import UserError
from msgformer.model_names import nearest
from msgformer.utils.packages import require_package

FOLDER = "folder"

SCHEMES: dict[str, str] = {
    "tar": "a tar file, or a folder or pattern of several, with the images of each class in a folder or in a tar",
    "wds": "WebDataset shards: a folder, a pattern such as train-{000..099}.tar, or URLs",
    "hfds": "a Hugging Face data set: its name, or a folder that save_to_disk wrote",
    "torch": "a set of torchvision as NAME:FOLDER, such as cifar10:downloads",
    "sample": "a set that comes with a package: digits, pairs (of digits far apart), or elpv (solar cells)",
}
"""Every scheme, and what may follow its colon."""

TORCH_SETS = ("cifar10", "cifar100", "fashion_mnist", "imagenet", "kmnist", "mnist", "places365", "qmnist")
"""Sets of torchvision that tell their labels without decoding an image, by timm's names for them."""

SAMPLE_SETS = {"digits": ("sklearn", ""), "pairs": ("sklearn", ""), "elpv": ("elpv_dataset", "elpv")}
"""Sets that come with a package: its name, and the extra that brings it where this package's own needs don't."""


@dataclass(frozen=True)
class Location:
    """Where data lies.

    Attributes:
        scheme: "folder" or one of ``SCHEMES``.
        path: A folder, or what follows the scheme's colon.
    """

    scheme: str
    path: str

    def __str__(self) -> str:
        return self.path if self.scheme == FOLDER else f"{self.scheme}:{self.path}"

    @property
    def title(self) -> str:
        """A short name, for a run."""
        path = self.path.partition(":")[0] if self.scheme == "torch" else self.path
        name = re.split(r"[/\\]", path.rstrip("/\\"))[-1]
        return re.sub(r"[{*?\[].*", "", name.removesuffix(".tar")).strip("-_. ") or self.scheme


def parse_location(data: str | Path) -> Location:
    """What ``data`` names; whatever exists under the whole name is a path.

    Raises:
        UserError: it begins with a scheme that isn't known.
    """
    text = str(data)
    scheme, colon, rest = text.partition(":")
    if scheme in SCHEMES and colon:
        if not rest:
            raise UserError(f"data: {text!r} names no place; {scheme}: takes {SCHEMES[scheme]}")
        return Location(scheme, rest)
    if colon and re.fullmatch(r"[a-z]{2,}", scheme) and not Path(text).exists():
        known = ", ".join(f"{name}:" for name in SCHEMES)
        raise UserError(f"data: unknown scheme {scheme!r} in {text!r}{nearest(scheme, list(SCHEMES))} ({known})")
    return Location(FOLDER, text)


def resolve_data(data: str | Path, *, layout: bool = True) -> str:
    """``data`` with absolute paths, checked as far as that takes no time and no library.

    Args:
        data: A folder or ``SCHEME:LOCATION``.
        layout: A folder must be fit to train on: it holds two classes at least, and the same in all subsets.

    Raises:
        UserError: there is nothing, or it isn't laid out as it must be, or a package is missing.
    """
    location = parse_location(data)
    if location.scheme == FOLDER:
        folder = Path(location.path).expanduser().absolute()
        if layout:
            find_subsets(folder)
        else:
            require_folder(folder)
        return str(folder)
    if location.scheme == "torch":
        name, folder = split_torch(location)
        return f"torch:{name}:{folder}"
    if location.scheme == "sample":
        check_sample(location)
        return str(location)
    if location.scheme == "hfds":
        require_package("datasets", "hf", "hfds:")
        folder = Path(location.path).expanduser()
        return f"hfds:{folder.absolute()}" if folder.exists() else str(location)
    if "://" in location.path:
        return str(location)
    expand_shards(location)
    return f"{location.scheme}:{Path(location.path).expanduser().absolute()}"


def check_sample(location: Location) -> None:
    """Make sure that a sample set is known, and its package installed.

    Raises:
        UserError: it isn't.
    """
    if location.path not in SAMPLE_SETS:
        known = ", ".join(SAMPLE_SETS)
        raise UserError(f"data: unknown sample set {location.path!r}{nearest(location.path, [*SAMPLE_SETS])} ({known})")
    package, extra = SAMPLE_SETS[location.path]
    require_package(package, extra, f"data: {location}")


def split_torch(location: Location) -> tuple[str, Path]:
    """Name and absolute folder of a torchvision set.

    Raises:
        UserError: the name isn't known, or there is no such folder.
    """
    name, colon, folder = location.path.partition(":")
    if name not in TORCH_SETS:
        raise UserError(f"data: unknown torchvision set {name!r}{nearest(name, TORCH_SETS)} ({', '.join(TORCH_SETS)})")
    path = Path(folder).expanduser().absolute()
    if not colon or not folder or not path.is_dir():
        raise UserError(f"data: torch:{name} needs the folder that it was downloaded to, as in torch:{name}:FOLDER")
    return name, path


def expand_shards(location: Location) -> list[str]:
    """The tar files, or URLs of tar files, that a location stands for, in order.

    Raises:
        UserError: there is none, or a named one doesn't exist.
    """
    if "://" in location.path:
        return list(expand_braces(location.path))
    path = Path(location.path).expanduser()
    if path.is_dir():
        found = sorted(str(entry) for entry in path.rglob("*.tar") if not entry.name.startswith("."))
        if not found:
            raise UserError(f"data: no .tar file in folder {path}")
        return found
    names = list(expand_braces(str(path)))
    found = [match for name in names for match in _matches(name)]
    if not found:
        raise UserError(f"data: no file matches {path}")
    if packed := next((name for name in found if not name.endswith(".tar")), None):
        raise UserError(f"data: {packed} is no .tar file; if it is compressed, unpack it: tar files are read in place")
    return found


def expand_braces(pattern: str) -> Iterator[str]:
    """The names that a pattern with ``{a,b}`` and ``{000..123}``, perhaps nested, stands for, in a shell's order."""
    start = pattern.find("{")
    end = _closing(pattern, start)
    if start < 0 or end < 0:
        yield pattern
        return
    words = _alternatives(pattern[start + 1 : end])
    for word in words:
        for middle in expand_braces(word):
            for tail in expand_braces(pattern[end + 1 :]):
                yield f"{pattern[:start]}{middle}{tail}"


def _closing(pattern: str, start: int) -> int:
    """Where the brace that opens at ``start`` is closed, or -1."""
    depth = 0
    for place in range(max(start, 0), len(pattern)):
        depth += {"{": 1, "}": -1}.get(pattern[place], 0)
        if depth == 0 and start >= 0:
            return place
    return -1


def _alternatives(inside: str) -> list[str]:
    """What stands between a pair of braces, one by one: a range's numbers, or the words between commas."""
    first, dots, last = inside.partition("..")
    if dots and first.isdigit() and last.isdigit():
        width = len(first) if first.startswith("0") else 0
        return [str(number).zfill(width) for number in range(int(first), int(last) + 1)]
    words, depth = [""], 0
    for letter in inside:
        depth += {"{": 1, "}": -1}.get(letter, 0)
        if letter == "," and depth == 0:
            words.append("")
        else:
            words[-1] += letter
    return words


def split_shards(shards: Sequence[str]) -> tuple[list[str], list[str] | None]:
    """The training and the validation shards among ``shards``, told apart by their folders' or their own names.

    Names such as ``val/0001.tar`` and ``set-validation-0001.tar`` count. Without such names, or with those of one
    subset alone, everything is one set and the second is None.
    """
    train = _named(shards, TRAIN_NAMES)
    val = next((found for name in VAL_NAMES if (found := _named(shards, [name]))), None)
    return (train, val) if train and val else (list(shards), None)


def _named(shards: Sequence[str], names: Sequence[str]) -> list[str]:
    def words(shard: str) -> set[str]:
        folder, name = shard.split("/")[-2:] if "/" in shard else ("", shard)
        return {folder.lower(), *re.split(r"[^a-z]+", name.lower())}

    return [shard for shard in shards if words(shard) & set(names)]


def _matches(name: str) -> list[str]:
    if not glob.has_magic(name):
        if not Path(name).is_file():
            raise UserError(f"data: no such tar file: {name}")
        return [name]
    return sorted(glob.glob(name))  # noqa: PTH207  (a Path can't glob for an absolute pattern)
