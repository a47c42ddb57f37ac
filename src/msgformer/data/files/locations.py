"""Values of ``--data``: a folder, or ``SCHEME:LOCATION`` for other kinds of data. Inspects names only."""

from __future__ import annotations

import glob
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from msgformer.data.files.folder import require_folder, require_path
from msgformer.data.files.layout import find_subsets, pick_subset, subset_of
from msgformer.errors import UserError
from msgformer.model_names import nearest
from msgformer.utils.packages import require_package

FOLDER, TABLE = "folder", "table"

TABLE_SUFFIXES = (".csv", ".parquet")
"""Suffixes of tables of labels."""

SCHEMES: dict[str, str] = {
    "tar": "tar files (one file, a folder or a pattern) with one folder or one tar file per class",
    "wds": "WebDataset shards: a folder, a pattern such as train-{000..099}.tar, or URLs",
    "hfds": "a Hugging Face dataset: its name, or a folder written by save_to_disk",
    "torch": "a torchvision dataset as NAME:FOLDER, such as cifar10:downloads",
    "coco": "annotations in COCO's format for --task detect: FILE, or FILE?images=FOLDER",
    "sample": "a bundled dataset: digits, pairs (of digits far apart), or elpv (solar cells)",
}
"""Description of what follows the colon of each scheme."""

TORCH_SETS = ("cifar10", "cifar100", "fashion_mnist", "imagenet", "kmnist", "mnist", "places365", "qmnist")
"""Datasets of torchvision that provide labels without decoding images, by timm's names."""

SAMPLE_SETS = {"digits": ("sklearn", ""), "pairs": ("sklearn", ""), "elpv": ("elpv_dataset", "elpv")}
"""Bundled datasets: the package that contains each, and the extra that installs it if it is not a dependency."""


@dataclass(frozen=True)
class Location:
    """Location of data.

    Attributes:
        scheme: "folder", "table" or one of ``SCHEMES``.
        path: A folder, a table of labels, or the part after the scheme's colon.
    """

    scheme: str
    path: str

    def __str__(self) -> str:
        return self.path if self.scheme in (FOLDER, TABLE) else f"{self.scheme}:{self.path}"

    @property
    def title(self) -> str:
        """Short name of the data, for the name of a run."""
        path = self.path.partition(":")[0] if self.scheme == "torch" else self.path
        if self.scheme == "coco":
            path = path.partition("?")[0].removesuffix(".json")
        if self.scheme == TABLE:
            path = re.sub(r"[/\\]?labels\.\w+$|\.\w+$", "", path)
        name = re.split(r"[/\\]", path.rstrip("/\\"))[-1]
        return re.sub(r"[{*?\[].*", "", name.removesuffix(".tar")).strip("-_. ") or self.scheme


@dataclass(frozen=True)
class CocoLocation:
    """Explicit paths of annotations in COCO's format and their images; its text is a value of ``--data``.

    Attributes:
        annotations: A JSON file, or a folder with one per subset.
        images: Folder of the images; by default they are searched around the annotations.
    """

    annotations: Path
    images: Path | None = None

    @classmethod
    def parse(cls, data: str | Path) -> CocoLocation | None:
        """Return the paths in ``coco:FILE?images=FOLDER``, or those of a JSON file; None for other data.

        Args:
            data: A value of ``--data``.
        """
        text = str(data)
        if text.startswith("coco:"):
            file, mark, images = text.removeprefix("coco:").partition("?images=")
            return cls(_unquoted(file), _unquoted(images) if mark else None)
        path = Path(text).expanduser()
        return cls(path) if path.suffix.lower() == ".json" and path.is_file() else None

    def __str__(self) -> str:
        images = "" if self.images is None else f"?images={_quoted(self.images)}"
        return f"coco:{_quoted(self.annotations)}{images}"

    def resolved(self) -> CocoLocation:
        """Return absolute paths.

        Raises:
            UserError: A path does not exist.
        """
        annotations = require_path(self.annotations.expanduser(), "data.annotations").absolute()
        images = None if self.images is None else require_folder(self.images, "data.images").absolute()
        return CocoLocation(annotations, images)


def _quoted(path: Path) -> str:
    return str(path).replace("%", "%25").replace("?", "%3F")


def _unquoted(text: str) -> Path:
    return Path(text.replace("%3F", "?").replace("%25", "%"))


DataLike = dict[str, str] | str | Path
"""A value of ``--data``: a folder, ``SCHEME:LOCATION``, or a mapping of explicit paths as of `data_text`."""


def data_text(data: DataLike) -> str:
    """Return data as text.

    Args:
        data: A value of ``--data``, or a mapping of ``--data.annotations`` and ``--data.images``.

    Raises:
        UserError: A key of the mapping is unknown, or the annotations are missing.
    """
    if not isinstance(data, Mapping):
        return str(data)
    if unknown := next((key for key in data if key not in ("annotations", "images")), None):
        raise UserError(f"unknown option 'data.{unknown}'{nearest(unknown, ['annotations', 'images'])}")
    if data.get("annotations") is None:
        raise UserError("data.images needs data.annotations, a JSON file or its folder; give it, too")
    images = None if data.get("images") is None else Path(data["images"])
    return str(CocoLocation(Path(data["annotations"]), images))


def parse_location(data: str | Path) -> Location:
    """Parse a value of ``--data``.

    Raises:
        UserError: The scheme is unknown and there is no such path, or nothing follows the colon.
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
    if (explicit := CocoLocation.parse(data)) is not None:
        return Location("coco", str(explicit).removeprefix("coco:"))
    is_table = Path(text).suffix.lower() in TABLE_SUFFIXES and not Path(text).expanduser().is_dir()
    return Location(TABLE if is_table else FOLDER, text)


def find_labels(data: str | Path) -> Location:
    """Parse a value of ``--data`` for classification: a folder with ``labels.csv`` stands for that table.

    Raises:
        UserError: As of `parse_location`.
    """
    location = parse_location(data)
    if location.scheme == "coco":
        raise UserError(f"data: {location} holds boxes, which classifiers can't use; give --task detect, or a folder")
    if location.scheme != FOLDER:
        return location
    tables = (Path(location.path).expanduser() / f"labels{suffix}" for suffix in TABLE_SUFFIXES)
    found = next((path for path in tables if path.is_file()), None)
    return location if found is None else Location(TABLE, str(found))


def resolve_data(data: DataLike, *, layout: bool = True) -> str:
    """Make the paths of a location absolute and check it, without reading data or importing libraries.

    Args:
        data: A folder, ``SCHEME:LOCATION``, or a mapping as of `data_text`.
        layout: Whether to check that a folder can be trained on: at least two classes, the same in all subsets.

    Raises:
        UserError: The data does not exist, has an unknown layout, or needs a package that is missing.
    """
    location = parse_location(data_text(data))
    if location.scheme == TABLE:
        return str(require_path(Path(location.path).expanduser(), "data").absolute())
    if location.scheme == FOLDER:
        folder = Path(location.path).expanduser().absolute()
        if layout and find_labels(folder).scheme == FOLDER:
            find_subsets(folder)
        else:
            require_folder(folder)
        return str(folder)
    if location.scheme == "torch":
        name, folder = split_torch(location)
        return f"torch:{name}:{folder}"
    if location.scheme == "coco":
        explicit = CocoLocation.parse(str(location))
        assert explicit is not None
        return str(explicit.resolved())
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


def require_run_data(location: Location) -> None:
    """Check that the data of a run is still where it was; patterns and remote data are checked when they are opened.

    Raises:
        UserError: It isn't.
    """
    path = location.path.partition(":")[2] if location.scheme == "torch" else location.path
    is_path = location.scheme in (FOLDER, TABLE, "torch") or (
        location.scheme in ("tar", "wds") and "://" not in path and not re.search(r"[{*?\[]", path)
    )
    if is_path:
        try:
            require_path(Path(path).expanduser(), "the run's data")
        except UserError as error:
            raise UserError(f"{error}; if it moved, give --data") from error


def check_sample(location: Location) -> None:
    """Check that a bundled dataset exists and that its package is installed.

    Raises:
        UserError: The name is unknown, or the package is missing.
    """
    if location.path not in SAMPLE_SETS:
        known = ", ".join(SAMPLE_SETS)
        raise UserError(f"data: unknown sample set {location.path!r}{nearest(location.path, [*SAMPLE_SETS])} ({known})")
    package, extra = SAMPLE_SETS[location.path]
    require_package(package, extra, f"data: {location}")


def split_torch(location: Location) -> tuple[str, Path]:
    """Return the name and the absolute folder of a torchvision dataset.

    Raises:
        UserError: The name is unknown, or the folder does not exist.
    """
    name, colon, folder = location.path.partition(":")
    if name not in TORCH_SETS:
        raise UserError(f"data: unknown torchvision set {name!r}{nearest(name, TORCH_SETS)} ({', '.join(TORCH_SETS)})")
    path = Path(folder).expanduser().absolute()
    if not colon or not folder or not path.is_dir():
        raise UserError(f"data: torch:{name} needs the folder that it was downloaded to, as in torch:{name}:FOLDER")
    return name, path


def expand_shards(location: Location) -> list[str]:
    """Return the paths or URLs of a location's tar files, in order.

    Raises:
        UserError: There is no tar file, or a named one does not exist.
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
        raise UserError(f"data: {packed} is not a .tar file; if it is compressed, decompress it first")
    return found


def expand_braces(pattern: str) -> Iterator[str]:
    """Yield the expansions of a pattern with ``{a,b}`` and ``{000..123}``, also nested, in the order of a shell."""
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
    """Return the position of the brace that closes the one at ``start``, or -1."""
    depth = 0
    for place in range(max(start, 0), len(pattern)):
        depth += {"{": 1, "}": -1}.get(pattern[place], 0)
        if depth == 0 and start >= 0:
            return place
    return -1


def _alternatives(inside: str) -> list[str]:
    """Return the alternatives inside a pair of braces: the numbers of a range, or the words between commas."""
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
    """Split shards into those of training and of validation by the names of their folders or files.

    Examples of such names are ``val/0001.tar`` and ``set-validation-0001.tar``. The folders decide if they name both
    subsets, or else the files, or else both together. If only one subset or none is named, all shards form one set, and
    the second result is None.
    """
    folders = {shard: {shard.split("/")[-2].lower()} if "/" in shard else set() for shard in shards}
    files = {shard: set(re.split(r"[^a-z]+", shard.rpartition("/")[2].lower())) for shard in shards}
    for words in (folders, files, {shard: folders[shard] | files[shard] for shard in shards}):
        names = sorted(set().union(*words.values()))
        held_out = pick_subset(names, "val")
        val = [shard for shard, own in words.items() if held_out in own]
        train = [shard for shard, own in words.items() if shard not in val and "train" in map(subset_of, own)]
        if train and val:
            return train, val
    return list(shards), None


def _matches(name: str) -> list[str]:
    if not glob.has_magic(name):
        if not Path(name).is_file():
            raise UserError(f"data: no such tar file: {name}")
        return [name]
    return sorted(glob.glob(name))  # noqa: PTH207  (a Path can't glob for an absolute pattern)
