"""Classification data as Kaggle, cameras and users leave them."""

from __future__ import annotations

import csv
import unicodedata
from pathlib import Path

import numpy as np
from PIL import Image

from real_data import Case
from real_data.drawing import image_of

TWO = ("disk", "square")
USUAL = {"train": 16, "val": 8}


def write_classes(
    root: Path, names: tuple[str, ...] = TWO, count: int = 8, first: int = 0, suffix: str = ".png"
) -> None:
    """Write one folder per class."""
    for number, name in enumerate(names):
        (root / name).mkdir(parents=True)
        for index in range(count):
            kind = TWO[number % 2]
            image_of(kind, first + 100 * number + index).save(root / name / f"{index}{suffix}")


def write_split(root: Path, train: str = "train", val: str = "val", suffix: str = ".png", names: tuple[str, ...] = TWO):
    write_classes(root / train, names, 8, suffix=suffix)
    write_classes(root / val, names, 4, first=50, suffix=suffix)


def split(train: str, val: str):
    return lambda root: write_split(root, train, val)


def write_beside(root: Path) -> None:
    """A folder without labels and one of unlabeled images beside the split."""
    write_split(root)
    for name in ("unlabeled", "test"):
        (root / name).mkdir()
        image_of("disk", 900).save(root / name / "a.png")


def write_litter(root: Path) -> None:
    write_split(root)
    (root / "__MACOSX" / "train").mkdir(parents=True)
    (root / "__MACOSX" / "train" / "._0.png").write_bytes(b"\0\5\26\7")
    (root / "train" / ".ipynb_checkpoints").mkdir()
    image_of("disk", 1).save(root / "train" / ".ipynb_checkpoints" / "0-checkpoint.png")
    (root / "train" / "disk" / "._0.png").write_bytes(b"\0\5\26\7")
    (root / "train" / "disk" / "Thumbs.db").write_bytes(b"x")
    (root / ".DS_Store").write_bytes(b"x")


def write_empty_class(root: Path) -> None:
    write_classes(root)
    (root / "triangle").mkdir()


def write_unicode(root: Path) -> None:
    """Class names composed in train/ and decomposed in val/, as macOS and Linux write them."""
    write_split(root, names=("café", "thé"))
    for folder in [*(root / "val").iterdir()]:
        folder.rename(folder.with_name(unicodedata.normalize("NFD", folder.name)))


def write_deep(root: Path, dtype: str, scale: int, suffix: str = ".png") -> None:
    """Images of more than 8 bits."""
    for subset, count, first in (("train", 8, 0), ("val", 4, 50)):
        for number, name in enumerate(TWO):
            folder = root / subset / name
            folder.mkdir(parents=True)
            for index in range(count):
                gray = np.asarray(image_of(name, first + 100 * number + index).convert("L")).astype(dtype) * scale
                Image.fromarray(gray).save(folder / f"{index}{suffix}")


def write_modes(root: Path) -> None:
    """Gray, palette, alpha and CMYK images side by side."""
    write_classes(root)
    for mode, index in (("L", 0), ("P", 1), ("LA", 2), ("RGBA", 3), ("1", 4)):
        path = root / "disk" / f"{index}.png"
        Image.open(path).convert(mode).save(path)
    Image.open(root / "square" / "0.png").convert("CMYK").save(root / "square" / "0.jpg")
    (root / "square" / "0.png").unlink()


def write_table(root: Path, *, delimiter: str = ",", bom: bool = False, with_split: bool = True, header=None) -> None:
    (root / "pictures").mkdir(parents=True)
    with (root / "labels.csv").open("w", newline="", encoding="utf-8-sig" if bom else "utf-8") as file:
        rows = csv.writer(file, delimiter=delimiter)
        rows.writerow(header or (["image", "label", "split"] if with_split else ["image", "label"]))
        for index in range(24):
            name = TWO[index % 2]
            image_of(name, index).save(root / "pictures" / f"{index}.png")
            rows.writerow([f"pictures/{index}.png", name, *(["val" if index >= 16 else "train"] if with_split else [])])


def write_missing_image(root: Path) -> None:
    write_table(root)
    (root / "pictures" / "3.png").unlink()


def write_equal_subfolders(root: Path) -> None:
    """Each class has sub-folders of the same names."""
    for name in TWO:
        write_classes(root / name, ("images", "thumbnails"), 4)


def write_linked(root: Path) -> None:
    write_classes(root / "elsewhere")
    (root / "data").mkdir()
    for name in TWO:
        (root / "data" / name).symlink_to(root / "elsewhere" / name)


def write_damaged(root: Path) -> None:
    write_classes(root)
    path = root / "disk" / "0.png"
    path.write_bytes(path.read_bytes()[:200])


def write_empty_file(root: Path) -> None:
    write_classes(root)
    (root / "disk" / "0.png").write_bytes(b"")


CASES = [
    *(
        Case(f"{train} and {val}", split(train, val), images=USUAL)
        for train, val in [
            ("train", "val"),
            ("TRAIN", "TEST"),
            ("Training", "Testing"),
            ("training_set", "test_set"),
            ("train", "valid"),
            ("train", "validation"),
            ("train", "dev"),
            ("seg_train/seg_train", "seg_test/seg_test"),
            ("images/train", "images/val"),
        ]
    ),
    Case("folders beside the split", write_beside, images=USUAL),
    Case(
        "a class named train",
        lambda root: write_classes(root, ("bus", "car", "train")),
        classes=("bus", "car", "train"),
    ),
    Case(
        "classes named invalid and valid",
        lambda root: write_classes(root, ("invalid", "valid")),
        classes=("invalid", "valid"),
    ),
    Case(
        "classes named normal and test",
        lambda root: write_classes(root, ("normal", "test")),
        classes=("normal", "test"),
    ),
    Case(
        "numbers as classes",
        lambda root: write_classes(root, tuple(map(str, range(12))), 5),
        classes=tuple(map(str, range(12))),
    ),
    Case("litter of operating systems", write_litter, images=USUAL),
    Case("an empty class", write_empty_class),
    Case("composed and decomposed names", write_unicode, classes=("café", "thé"), images=USUAL),
    *(
        Case(f"{suffix} files", lambda root, suffix=suffix: write_split(root, suffix=suffix), images=USUAL)
        for suffix in (".JPG", ".jpeg", ".webp", ".tif", ".bmp", ".gif", ".avif", ".jp2")
    ),
    Case("12 of 16 bits", lambda root: write_deep(root, "uint16", 16), images=USUAL),
    Case("32-bit integers", lambda root: write_deep(root, "int32", 300, ".tif"), images=USUAL),
    Case("floating point", lambda root: write_deep(root, "float32", 3, ".tif"), images=USUAL),
    Case("gray, palette, alpha and CMYK", write_modes),
    Case("a CSV of labels with a split", write_table, images=USUAL),
    Case("a CSV of labels by its path", write_table, path="labels.csv", images=USUAL),
    Case("a CSV of labels with a byte order mark", lambda root: write_table(root, bom=True), images=USUAL),
    Case("a CSV of labels without split", lambda root: write_table(root, with_split=False)),
    Case("a CSV with other columns", lambda root: write_table(root, header=["a", "b", "c"]), refused="image.*label"),
    Case("a CSV that names a missing image", write_missing_image, refused=r"3\.png"),
    Case("linked class folders", write_linked, path="data"),
    Case("sub-folders of equal names", write_equal_subfolders, refused="images.*thumbnails|sub-?folders|layout"),
    Case("one class", lambda root: write_classes(root, ("disk",)), refused="class"),
    Case("a truncated image", write_damaged, refused=r"0\.png"),
    Case("an empty file", write_empty_file, refused=r"0\.png"),
]
