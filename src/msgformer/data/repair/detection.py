"""Repaired copies of detection datasets, in COCO's format."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from msgformer.data.detection.coco import MAX_OVERHANG
from msgformer.data.detection.instances import AnnotatedImage, Instance, InstanceSet, with_classes
from msgformer.data.detection.sets import find_readers
from msgformer.data.problems import Problem
from msgformer.data.repair.copying import Repair, counted, error_paths, place_file, refuse_others, unique_names
from msgformer.utils.rle import Segmentation, compress, is_polygon

FILES = ("unreadable image", "missing image")
"""Kinds of errors that leaving out an image repairs."""

ENTRIES = ("annotation of no image",)
"""Kinds of errors of entries that are left out."""


NAMES = {"all": "default"}
"""Name in CVAT's layout of data without subsets."""


def repair_detection(data: str, problems: Sequence[Problem], output: Path) -> Repair:
    """Write ``annotations/instances_SUBSET.json`` and ``images/SUBSET``.

    Ids are numbered from 1, boxes are cut at the borders of their images, objects without area and invalid parts of
    masks are removed.

    Args:
        data: As of `find_readers`.
        problems: From `survey_detection`.
        output: The new folder.

    Raises:
        UserError: There are errors that can't be repaired.
    """
    refuse_others(problems, {*FILES, *ENTRIES})
    unusable = error_paths(problems, FILES)
    readings = {subset: read()[0] for subset, read in find_readers(data).items()}
    classes = next(iter(readings.values())).classes
    changes = Counter(
        {
            "annotations of unknown images removed": _count(problems, ENTRIES),
            "invalid masks removed": _count(problems, ("mask",)),
            "masks with invalid parts removed": _count(problems, ("part of a mask",)),
        }
    )
    images = {}
    for subset, found in readings.items():
        usable = [image for image in found.images if image.file not in unusable]
        kept = with_classes(InstanceSet(found.root, usable, found.classes, found.category_ids), classes)
        images[subset] = len(kept)
        name = NAMES.get(subset, subset)
        path = output / "annotations" / f"instances_{name}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(_content(kept, output / "images" / name, changes)), encoding="utf-8")
    return Repair(images, counted(changes), sorted(unusable))


def _count(problems: Sequence[Problem], kinds: Sequence[str]) -> int:
    return sum(problem.kind in kinds for problem in problems)


def _content(data: InstanceSet, folder: Path, changes: Counter[str]) -> dict[str, Any]:
    """Return the annotations in COCO's format, and place the images in a folder."""
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for number, (image, name) in enumerate(zip(data.images, unique_names(data.paths()), strict=True), start=1):
        place_file(image.file, folder / name)
        images.append({"id": number, "file_name": name, "width": image.width, "height": image.height})
        for one in image.instances:
            if image.clipped(one) is None:
                changes["boxes without area in their image removed"] += 1
                continue
            annotations.append({"id": len(annotations) + 1, "image_id": number, **_annotation(image, one, changes)})
            changes["annotations renumbered"] += one.id != len(annotations)
    categories = [{"id": label, "name": name} for label, name in enumerate(data.classes, start=1)]
    return {"images": images, "annotations": annotations, "categories": categories}


def _annotation(image: AnnotatedImage, one: Instance, changes: Counter[str]) -> dict[str, Any]:
    """Return an annotation without its ids, whose box and mask lie in the image."""
    clipped = image.clipped(one)
    assert clipped is not None
    left, top, right, bottom = clipped
    x, y, width, height = one.bbox
    box, area = [x, y, width, height], one.area
    if clipped != (x, y, x + width, y + height):
        changes["boxes cut at the border of their image"] += 1
        box = [left, top, right - left, bottom - top]
        if one.segmentation is None and area == width * height:
            area = box[2] * box[3]
    found = {"category_id": one.label, "bbox": box, "area": area, "iscrowd": int(one.crowd)}
    return found if one.segmentation is None else found | {"segmentation": _mask(image, one.segmentation, changes)}


def _mask(image: AnnotatedImage, mask: Segmentation, changes: Counter[str]) -> Segmentation:
    """Return a mask without invalid parts; polygons that exceed the image become run lengths, which are cut exactly."""
    if not isinstance(mask, list):
        return compress(mask, image.height, image.width)
    polygons = [part for part in mask if is_polygon(part)]
    if any(_exceeds(part, image) for part in polygons):
        changes["masks cut at the border of their image"] += 1
        return compress(polygons, image.height, image.width)
    return polygons


def _exceeds(polygon: Sequence[float], image: AnnotatedImage) -> bool:
    xs, ys = polygon[::2], polygon[1::2]
    beyond = max(max(xs) - image.width, max(ys) - image.height, -min(xs), -min(ys))
    return beyond > MAX_OVERHANG
