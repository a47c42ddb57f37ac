"""Generated scenes on disk in the layouts of COCO and ADE20K, so that the same readers read them."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from msgformer.data.bundled.scenes import CLASSES, SIDE, SUBSETS, Scene, SceneMaker, Subset
from msgformer.data.segmentation.sets import LABELS_FILE
from msgformer.errors import UserError
from msgformer.utils.cache import cache_folder
from msgformer.utils.rle import encode_masks

BACKGROUND = "background"
QUALITY = 95  # JPEG quality
CHUNK_SIZE = 64  # scenes in memory at a time
FIRST_LABEL = 1  # in a label map; 0 means "no class", as in ADE20K

Counts = dict[Subset, int]
"""Number of scenes per subset."""


def write_detection(folder: Path, counts: Counts, seed: int) -> None:
    """Write scenes in COCO's layout: ``images/train``, ``images/val``, ``annotations/instances_{train,val}.json``.

    Args:
        folder: A new folder, or an empty one.
        counts: Number of scenes per subset.
        seed: Seed of the scenes.
    """
    with _new_folder(folder) as partial:
        (partial / "annotations").mkdir()
        for subset in SUBSETS:
            content = _coco(_scenes(partial / "images" / subset, subset, counts[subset], seed))
            (partial / "annotations" / f"instances_{subset}.json").write_text(json.dumps(content), encoding="utf-8")


def write_segmentation(folder: Path, counts: Counts, seed: int) -> None:
    """Write scenes in ADE20K's layout: ``images`` and ``annotations``, each with ``training`` and ``validation``.

    A label map holds 1 for the photograph and 2 + d for digit d; 0, which means "no class", doesn't occur.
    ``classes.txt`` names the classes, and ``labels.json`` says that their labels count from 1.

    Args:
        folder: A new folder, or an empty one.
        counts: Number of scenes per subset.
        seed: Seed of the scenes.
    """
    from PIL import Image

    with _new_folder(folder) as partial:
        (partial / "classes.txt").write_text("".join(f"{name}\n" for name in (BACKGROUND, *CLASSES)), encoding="utf-8")
        (partial / LABELS_FILE).write_text(json.dumps({"reduce_zero_label": True}) + "\n", encoding="utf-8")
        for subset, name in zip(SUBSETS, ("training", "validation"), strict=True):
            maps = partial / "annotations" / name
            maps.mkdir(parents=True)
            for file, scene in _scenes(partial / "images" / name, subset, counts[subset], seed):
                Image.fromarray(scene.classes() + FIRST_LABEL).save(maps / f"{Path(file).stem}.png")


def cached_scenes(name: str, write: Callable[[Path, Counts, int], None], counts: Counts, seed: int) -> Path:
    """Return a folder of scenes in the user's cache folder; the first call writes it.

    Args:
        name: Name of the layout, for the folder's name.
        write: Function that writes the scenes.
        counts: Number of scenes per subset.
        seed: Seed of the scenes.
    """
    folder = cache_folder() / f"scenes-{name}-{counts['train']}-{counts['val']}-seed{seed}"
    if not folder.is_dir():
        write(folder, counts, seed)
    return folder


def _scenes(folder: Path, subset: Subset, count: int, seed: int) -> Iterator[tuple[str, Scene]]:
    """Write the images of scenes to ``folder``, and yield the name of each image with its scene."""
    from PIL import Image

    folder.mkdir(parents=True)
    maker = SceneMaker(subset, seed)

    def write(index: int) -> tuple[str, Scene]:
        scene, name = maker.make(index), f"{index + 1:06d}.jpg"
        Image.fromarray(scene.image).save(folder / name, quality=QUALITY, subsampling=0)
        return name, scene

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for start in range(0, count, CHUNK_SIZE):
            yield from pool.map(write, range(start, min(start + CHUNK_SIZE, count)))


def _coco(scenes: Iterator[tuple[str, Scene]]) -> dict[str, Any]:
    """Return the annotations of scenes in COCO's format."""
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for number, (name, scene) in enumerate(scenes, 1):
        images.append({"id": number, "file_name": name, "width": SIDE, "height": SIDE})
        masks = scene.masks()
        for label, box, mask, rle in zip(scene.labels, scene.boxes(), masks, encode_masks(masks), strict=True):
            annotation = {"id": len(annotations) + 1, "image_id": number, "category_id": label + 1, "bbox": list(box)}
            annotations.append(annotation | {"area": int(mask.sum()), "iscrowd": 0, "segmentation": rle})
    categories = [{"id": label + 1, "name": name} for label, name in enumerate(CLASSES)]
    return {"images": images, "annotations": annotations, "categories": categories}


@contextmanager
def _new_folder(folder: Path) -> Iterator[Path]:
    """Yield a temporary folder to fill, and rename it to ``folder`` once it is complete.

    Raises:
        UserError: ``folder`` exists and is not empty, or can't be created.
    """
    if folder.is_file() or (folder.is_dir() and any(folder.iterdir())):
        raise UserError(f"output: {folder} already exists; give another folder or remove it")
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        partial = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    except OSError as error:
        raise UserError(f"output: can't create {folder} ({error.strerror}); give another folder") from error
    try:
        partial.chmod(0o755)  # mkdtemp gives access to the owner only
        yield partial
        _move(partial, folder)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _move(partial: Path, folder: Path) -> None:
    try:
        partial.replace(folder)
    except OSError:
        if not folder.is_dir() or not any(folder.iterdir()):
            raise
        # Another process has written the same folder in the meantime.
