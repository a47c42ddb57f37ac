"""Small datasets in the layouts of COCO, Pascal VOC, ADE20K and Cityscapes, for valid and invalid data."""

import json
from pathlib import Path

import numpy as np
from PIL import Image

SIZES = [(40, 30), (30, 40), (32, 32)]
"""Width and height of the images."""


def coco_content() -> dict:
    """Three images; the category ids have gaps; the second image has a crowd, and the third no objects."""
    images = [
        {"id": 10 + i, "file_name": f"{i}.png", "width": width, "height": height}
        for i, (width, height) in enumerate(SIZES)
    ]
    square = [4, 5, 4, 15, 14, 15, 14, 5]
    annotations = [
        {"id": 1, "image_id": 10, "category_id": 3, "bbox": [4, 5, 10, 10], "area": 100, "iscrowd": 0},
        {"id": 2, "image_id": 10, "category_id": 7, "bbox": [20, 2, 6, 8], "area": 48, "iscrowd": 0},
        {"id": 3, "image_id": 11, "category_id": 7, "bbox": [1, 1, 5, 5], "area": 25, "iscrowd": 0},
        {"id": 4, "image_id": 11, "category_id": 3, "bbox": [0, 20, 30, 20], "area": 600, "iscrowd": 1},
    ]
    masks = [
        [square],
        [[20, 2, 20, 10, 26, 10, 26, 2]],
        [[1, 1, 1, 6, 6, 6, 6, 1]],
        {"size": [40, 30], "counts": [20, *[20, 20] * 29, 20]},
    ]
    for annotation, mask in zip(annotations, masks, strict=True):
        annotation["segmentation"] = mask
    return {
        "images": images,
        "annotations": annotations,
        "categories": [{"id": 3, "name": "cat"}, {"id": 7, "name": "dog"}],
    }


def write_coco(root: Path, content: dict | None = None, subsets: tuple[str, ...] = ("train", "val")) -> Path:
    """Write a folder in COCO's layout; ``content`` is the training annotation."""
    (root / "annotations").mkdir(parents=True)
    for subset in subsets:
        chosen = content if content is not None and subset.startswith("train") else coco_content()
        (root / "annotations" / f"instances_{subset}.json").write_text(json.dumps(chosen))
        write_images(root / "images" / subset, [f"{i}.png" for i in range(3)])
    return root


def write_images(folder: Path, names: list[str]) -> None:
    """Write one image per size in ``SIZES``; folders of other names get other pixels."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, (width, height) in zip(names, SIZES, strict=False):
        pixels = np.random.default_rng([width, *folder.name.encode()]).integers(
            0, 255, (height, width, 3), dtype=np.uint8
        )
        Image.fromarray(pixels).save(folder / name)


def write_voc(root: Path) -> Path:
    """Write a folder in Pascal VOC's layout with two training images and one validation image."""
    names = ["a", "b", "c"]
    write_images(root / "JPEGImages", [f"{name}.jpg" for name in names])
    (root / "Annotations").mkdir()
    (root / "ImageSets" / "Main").mkdir(parents=True)
    objects = [[("dog", 0, (3, 4, 12, 13)), ("cat", 1, (1, 1, 40, 30))], [("dog", 0, (1, 1, 5, 5))], []]
    for name, (width, height), found in zip(names, SIZES, objects, strict=True):
        parts = [
            f"<object><name>{kind}</name><difficult>{difficult}</difficult><bndbox><xmin>{box[0]}</xmin>"
            f"<ymin>{box[1]}</ymin><xmax>{box[2]}</xmax><ymax>{box[3]}</ymax></bndbox></object>"
            for kind, difficult, box in found
        ]
        size = f"<size><width>{width}</width><height>{height}</height><depth>3</depth></size>"
        text = f"<annotation><filename>{name}.jpg</filename>{size}{''.join(parts)}</annotation>"
        (root / "Annotations" / f"{name}.xml").write_text(text)
    (root / "ImageSets/Main/train.txt").write_text("a\nb\n")
    (root / "ImageSets/Main/val.txt").write_text("c\n")
    return root


def write_ade20k(root: Path, classes: tuple[str, ...] | None = ("wall", "sky", "tree")) -> Path:
    """Write a folder in ADE20K's layout: labels 0 (none) to 3 in quarters."""
    for subset in ("training", "validation"):
        write_images(root / "images" / subset, [f"{i}.jpg" for i in range(3)])
        maps = root / "annotations" / subset
        maps.mkdir(parents=True)
        for i, (width, height) in enumerate(SIZES):
            Image.fromarray(quarters(width, height)).save(maps / f"{i}.png")
    if classes is not None:
        (root / "classes.txt").write_text("".join(f"{name}\n" for name in classes))
    return root


def quarters(width: int, height: int) -> np.ndarray:
    """Return a label map with 0 and 1 in the upper quarters, 2 and 3 in the lower ones."""
    labels = np.zeros((height, width), np.uint8)
    labels[:, width // 2 :] += 1
    labels[height // 2 :] += 2
    return labels


def write_cityscapes(root: Path, kind: str = "labelIds") -> Path:
    """Write a folder in Cityscapes' layout; labels are 7 to 10, of which 9 and 10 are not evaluated, or train ids."""
    table = np.array([7, 8, 9, 10] if kind == "labelIds" else [0, 1, 255, 255], np.uint8)
    for subset in ("train", "val"):
        write_images(root / "leftImg8bit" / subset / "ulm", [f"ulm_{i}_leftImg8bit.png" for i in range(3)])
        maps = root / "gtFine" / subset / "ulm"
        maps.mkdir(parents=True)
        for i, (width, height) in enumerate(SIZES):
            Image.fromarray(table[quarters(width, height)]).save(maps / f"ulm_{i}_gtFine_{kind}.png")
    return root
