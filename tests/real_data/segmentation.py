"""Segmentation data as labeling tools and public data sets leave them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

from real_data import Case
from real_data.drawing import SIZE, mask, scene

SUBSETS = {"train": (8, 0), "val": (4, 50)}
USUAL = {"train": 8, "val": 4}
ADE20K = {"train": ("images/training", "annotations/training"), "val": ("images/validation", "annotations/validation")}
CLASSES = ("background", "disk", "square")


def write(
    root: Path,
    make_mask: Callable[[int], Image.Image] = lambda seed: mask(seed, 1, 2),
    classes: str | None = "background\ndisk\nsquare\n",
    *,
    folders: dict[str, tuple[str, str]] = ADE20K,
    suffix: str = ".png",
) -> None:
    """Write images and masks, with one function of the seed for the masks."""
    for subset, (count, first) in SUBSETS.items():
        images, masks = (root / folder for folder in folders[subset])
        images.mkdir(parents=True)
        masks.mkdir(parents=True)
        for seed in range(first, first + count):
            scene(seed)[0].save(images / f"{seed:04}.jpg")
            make_mask(seed).save(masks / f"{seed:04}{suffix}")
    if classes is not None:
        (root / "classes.txt").write_text(classes)


def only_in_val(make_mask: Callable[[int], Image.Image]) -> Callable[[int], Image.Image]:
    return lambda seed: make_mask(seed) if seed >= SUBSETS["val"][1] else mask(seed, 1, 2)


def with_palette(seed: int) -> Image.Image:
    image = mask(seed, 1, 2, mode="P")
    image.putpalette([0, 0, 0, 128, 0, 0, 0, 128, 0] + [0] * 759)
    return image


def three_channels(seed: int) -> Image.Image:
    gray = mask(seed, 1, 2)
    return Image.merge("RGB", (gray, gray, gray))


def sixteen_bits(seed: int) -> Image.Image:
    labels = np.asarray(mask(seed, 1, 2)).astype(np.uint16)
    labels[:3] = 65535
    return Image.fromarray(labels)


def colored(seed: int) -> Image.Image:
    return mask(seed, (128, 0, 0), (0, 128, 0), mode="RGB")


def write_label_map(root: Path) -> None:
    write(root, lambda seed: mask(seed, 255), "background\nobject\n")


def write_smaller_mask(root: Path) -> None:
    write(root, only_in_val(lambda seed: mask(seed, 1, 2).resize((40, 30), Image.Resampling.NEAREST)))


def write_missing_mask(root: Path) -> None:
    write(root)
    (root / "annotations" / "training" / "0003.png").unlink()


def pair(images: str, masks: str) -> dict[str, tuple[str, str]]:
    """Return folders with one sub-folder per subset."""
    return {subset: (f"{images}/{subset}", f"{masks}/{subset}") for subset in SUBSETS}


BINARY = {"segment_images": {"label_map": {0: "background", 255: "object"}}}

CASES = [
    Case("ADE20K", write, classes=CLASSES, images=USUAL),
    Case(
        "labels of 0 and 1",
        lambda root: write(root, lambda seed: mask(seed, 1), "background\nobject\n"),
        classes=("background", "object"),
        images=USUAL,
    ),
    Case("palettes", lambda root: write(root, with_palette), classes=CLASSES, images=USUAL),
    Case("three equal channels", lambda root: write(root, three_channels), classes=CLASSES, images=USUAL),
    Case("16 bits", lambda root: write(root, sixteen_bits), classes=CLASSES, images=USUAL),
    Case("names with _mask", lambda root: write(root, suffix="_mask.png"), classes=CLASSES, images=USUAL),
    Case("names with _label", lambda root: write(root, suffix="_label.png"), classes=CLASSES, images=USUAL),
    Case(
        "img_dir and ann_dir",
        lambda root: write(root, folders=pair("img_dir", "ann_dir")),
        classes=CLASSES,
        images=USUAL,
    ),
    Case("images and masks", lambda root: write(root, folders=pair("images", "masks")), classes=CLASSES, images=USUAL),
    Case(
        "colors in classes.txt",
        lambda root: write(root, colored, "background 0 0 0\ndisk 128 0 0\nsquare 0 128 0\n"),
        classes=CLASSES,
        images=USUAL,
    ),
    Case("0 and 255", write_label_map, refused="label_map"),
    Case(
        "0 and 255 with a label map", write_label_map, settings=BINARY, classes=("background", "object"), images=USUAL
    ),
    Case("colors", lambda root: write(root, colored), refused="128"),
    Case(
        "all of val ignored",
        lambda root: write(root, only_in_val(lambda _: Image.new("L", SIZE, 255))),
        refused="pixel",
    ),
    Case("a doubled class name", lambda root: write(root, classes="object\ndisk\nobject\n"), refused="object"),
    Case("JPEG masks", lambda root: write(root, suffix=".jpg"), refused="JPEG|jpg"),
    Case("a mask of another size", write_smaller_mask, refused="40"),
    Case("a missing mask", write_missing_mask, refused="0003"),
    Case("more labels than classes", lambda root: write(root, classes="background\ndisk\n"), refused="2"),
]
