"""Images with the objects in them, whatever file described them: what detectors are trained and scored on."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from msgformer.data.files.images import read_image
from msgformer.errors import UserError
from msgformer.model_names import nearest
from msgformer.utils.rle import Segmentation, compress, decode_mask

if TYPE_CHECKING:
    from PIL import Image
    from torch import Tensor

Box = tuple[float, float, float, float]
"""``x1 y1 x2 y2`` in pixels from the image's left upper corner."""


@dataclass(frozen=True, slots=True)
class Instance:
    """One object in an image, or a crowd of them.

    Attributes:
        id: Its number in the annotation file.
        label: Its class, from 1 on.
        bbox: ``x y width height`` in pixels, as COCO writes boxes.
        area: Pixels, as the annotation file counts them.
        crowd: Whether it stands for several objects: not trained on, and what is found in it counts neither way.
        segmentation: Its mask, where there is one that can be used.
    """

    id: int
    label: int
    bbox: Box
    area: float
    crowd: bool = False
    segmentation: Segmentation | None = None


@dataclass(frozen=True, slots=True)
class AnnotatedImage:
    """An image and the objects in it.

    Attributes:
        id: Its number in the annotation file.
        file: Its path.
        width: In pixels.
        height: In pixels.
        instances: The objects.
    """

    id: int
    file: str
    width: int
    height: int
    instances: tuple[Instance, ...]

    def clipped(self, instance: Instance) -> Box | None:
        """The part of an object's box that is in the image, or None if that has no area."""
        x, y, width, height = instance.bbox
        box = max(x, 0.0), max(y, 0.0), min(x + width, float(self.width)), min(y + height, float(self.height))
        return box if box[0] < box[2] and box[1] < box[3] else None

    def trainable(self, with_masks: bool) -> list[Instance]:
        """The objects to train on: no crowds, none without area in the image and, if needed, none without mask."""
        return [
            one
            for one in self.instances
            if not one.crowd and self.clipped(one) and (one.segmentation is not None or not with_masks)
        ]


class InstanceSet:
    """Images with objects of named classes.

    Args:
        root: Folder that the images' names are told relative to.
        images: The images.
        classes: Names of the classes; that of label 1 first.
        category_ids: What the annotation file calls the classes; it need not count without gaps.
    """

    def __init__(
        self, root: Path, images: Sequence[AnnotatedImage], classes: Sequence[str], category_ids: Sequence[int]
    ) -> None:
        self.root = root
        self.images = tuple(images)
        self.classes, self.category_ids = tuple(classes), tuple(category_ids)

    def __len__(self) -> int:
        return len(self.images)

    @cached_property
    def has_masks(self) -> bool:
        """Whether objects come with masks."""
        return any(one.segmentation is not None for image in self.images for one in image.instances)

    def name(self, index: int) -> str:
        """The path of image ``index`` relative to the data folder."""
        return Path(self.images[index].file).relative_to(self.root).as_posix()

    def paths(self) -> list[str]:
        """Where the images lie."""
        return [image.file for image in self.images]

    def load(self, index: int) -> Image.Image:
        """Image ``index`` in RGB.

        Raises:
            UserError: it can't be read, or has another size than its annotations say.
        """
        image = self.images[index]
        pixels = read_image(image.file)
        if problem := size_problem(pixels.size, image):
            raise UserError(f"{image.file}: {problem}")
        return pixels

    def target(self, index: int, with_masks: bool) -> dict[str, Tensor]:
        """What a detector is trained on: ``boxes`` [G, 4], ``labels`` [G], perhaps ``masks`` [G, H, W] (uint8).

        The tensors are torchvision's, so that its transforms move them with the image.
        """
        import numpy as np
        import torch
        from torchvision.tv_tensors import BoundingBoxes, BoundingBoxFormat, Mask

        image = self.images[index]
        size = image.height, image.width
        used = image.trainable(with_masks)
        boxes = torch.tensor([image.clipped(one) for one in used], dtype=torch.float32).reshape(-1, 4)
        target: dict[str, Tensor] = {
            "boxes": BoundingBoxes(boxes, format=BoundingBoxFormat.XYXY, canvas_size=size),
            "labels": torch.tensor([one.label for one in used], dtype=torch.int64),
        }
        if with_masks:
            masks = [decode_mask(one.segmentation, *size) for one in used if one.segmentation is not None]
            stacked = np.stack(masks) if masks else np.zeros((0, *size), dtype=bool)
            target["masks"] = Mask(torch.from_numpy(stacked).to(torch.uint8))
        return target

    def trainable(self, with_masks: bool) -> InstanceSet:
        """The images that show something to train on, as COCO's detectors are trained on those alone.

        Raises:
            UserError: there is none, or masks are needed and the data has none.
        """
        if with_masks and not self.has_masks:
            raise UserError(
                f"{self.root} has boxes but no masks, which this detector needs; choose a --detect.head without mask"
            )
        kept = [image for image in self.images if image.trainable(with_masks)]
        if not kept:
            raise UserError(f"{self.root}: no training image has an object to train on")
        return InstanceSet(self.root, kept, self.classes, self.category_ids)

    def to_coco(self) -> dict[str, Any]:
        """The ground truth as COCO's tools take it, with compressed masks where there are any."""
        images = [{"id": one.id, "width": one.width, "height": one.height} for one in self.images]
        annotations = [self._annotation(image, one) for image in self.images for one in image.instances]
        pairs = zip(self.category_ids, self.classes, strict=True)
        categories = [{"id": number, "name": name} for number, name in pairs]
        return {"images": images, "annotations": annotations, "categories": categories}

    def _annotation(self, image: AnnotatedImage, one: Instance) -> dict[str, Any]:
        annotation = {
            "id": one.id,
            "image_id": image.id,
            "category_id": self.category_ids[one.label - 1],
            "bbox": list(one.bbox),
            "area": one.area,
            "iscrowd": int(one.crowd),
        }
        if self.has_masks and one.segmentation is not None:
            annotation["segmentation"] = compress(one.segmentation, image.height, image.width)
        return annotation


def size_problem(size: tuple[int, int], image: AnnotatedImage) -> str | None:
    """What to say of an image file of another size, (width, height), than its annotations tell; None if it is right."""
    if size == (image.width, image.height):
        return None
    told, found = f"{image.width} x {image.height}", f"{size[0]} x {size[1]}"
    return f"the annotations say {told} pixels, but it has {found}; annotate the image as it is, or replace it"


def with_classes(data: InstanceSet, classes: Sequence[str]) -> InstanceSet:
    """The same images with labels that count ``classes``, such as those of a trained model.

    Classes are matched by name, and keep what their annotation file calls them.

    Raises:
        UserError: an object is of another class.
    """
    if data.classes == tuple(classes):
        return data
    labels = {name: label for label, name in enumerate(classes, 1)}
    images = [replace(image, instances=tuple(_relabeled(image, data.classes, labels))) for image in data.images]
    ids = dict(zip(data.classes, data.category_ids, strict=True))
    free = itertools.count(max(ids.values(), default=0) + 1)
    return InstanceSet(data.root, images, classes, [ids[name] if name in ids else next(free) for name in classes])


def _relabeled(image: AnnotatedImage, classes: Sequence[str], labels: dict[str, int]) -> list[Instance]:
    found = []
    for one in image.instances:
        name = classes[one.label - 1]
        if name not in labels:
            raise UserError(
                f"{image.file} shows a {name!r}, which is not among the known classes{nearest(name, [*labels])}"
            )
        found.append(replace(one, label=labels[name]))
    return found
