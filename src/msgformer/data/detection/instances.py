"""Images with annotated objects, independent of the annotation format, for training and evaluating detectors."""

from __future__ import annotations

import itertools
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from msgformer.data.files.images import read_image
from msgformer.data.files.value_range import ValueRange
from msgformer.errors import UserError, shown
from msgformer.model_names import nearest
from msgformer.utils.rle import Segmentation, compress, decode_mask, mask_chunks

if TYPE_CHECKING:
    from PIL import Image
    from torch import Tensor

Box = tuple[float, float, float, float]
"""Box ``x y width height`` in pixels from the upper left corner, as in COCO."""


@dataclass(frozen=True, slots=True)
class Instance:
    """One object in an image, or a crowd of objects.

    Attributes:
        id: Id in the annotation file.
        label: Class label, starting at 1.
        bbox: Its box.
        area: Area in pixels according to the annotation file.
        crowd: Whether it stands for several objects; it isn't used for training, and detections in it are not scored.
        segmentation: Mask; None if there is no valid one.
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
        id: Id in the annotation file.
        file: Path of the image.
        width: Width in pixels.
        height: Height in pixels.
        instances: The objects.
    """

    id: int
    file: str
    width: int
    height: int
    instances: tuple[Instance, ...]

    def clipped(self, instance: Instance) -> tuple[float, float, float, float] | None:
        """Clip an object's box to the image, and return its corners ``x1 y1 x2 y2``; None if nothing is left."""
        x, y, width, height = instance.bbox
        box = max(x, 0.0), max(y, 0.0), min(x + width, float(self.width)), min(y + height, float(self.height))
        return box if box[0] < box[2] and box[1] < box[3] else None

    def trainable(self, with_masks: bool) -> list[Instance]:
        """Return the objects to train on: no crowds, a box with area in the image and, if needed, a mask."""
        return [
            one
            for one in self.instances
            if not one.crowd and self.clipped(one) and (one.segmentation is not None or not with_masks)
        ]


class InstanceSet:
    """Images with objects of named classes.

    Args:
        root: Folder that the names of the images are relative to.
        images: The images.
        classes: Names of the classes; the first has label 1.
        category_ids: Ids of the classes in the annotation file, which may have gaps.
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
        """Whether any object has a mask."""
        return any(one.segmentation is not None for image in self.images for one in image.instances)

    def name(self, index: int) -> str:
        """Return the path of image ``index`` relative to the data folder, or its absolute path outside of it."""
        path = Path(self.images[index].file)
        return (path.relative_to(self.root) if path.is_relative_to(self.root) else path).as_posix()

    def paths(self) -> list[str]:
        """Return the paths of the images."""
        return [image.file for image in self.images]

    def load(self, index: int, value_range: ValueRange | None = None) -> Image.Image:
        """Load image ``index`` in RGB.

        Args:
            index: Index of the image.
            value_range: Values of black and white in images of more than 8 bits, as of `read_image`.

        Raises:
            UserError: The image can't be read, or its size differs from the annotations.
        """
        image = self.images[index]
        pixels = read_image(image.file, value_range=value_range)
        size = image.width, image.height
        if pixels.size != size == pixels.size[::-1]:  # annotated without its EXIF orientation
            pixels = read_image(image.file, upright=False, value_range=value_range)
        if problem := size_problem(pixels.size, image):
            raise UserError(f"{image.file}: {problem}")
        return pixels

    def target(self, index: int, with_masks: bool, *, decoded: bool = True) -> dict[str, Tensor]:
        """Return the training target of an image, as ``tv_tensors`` so that torchvision transforms them with the image.

        Args:
            index: Index of the image.
            with_masks: Whether to include only objects with masks, and their masks.
            decoded: Whether to include the masks themselves, which `mask_chunks` yields otherwise.

        Returns:
            ``boxes`` [G, 4], ``labels`` [G] and optionally ``masks`` uint8 [G, H, W].
        """
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
        if with_masks and decoded:
            chunks = [*self.mask_chunks(index)]
            target["masks"] = Mask(torch.cat(chunks) if len(chunks) > 1 else chunks[0])
        return target

    def mask_chunks(self, index: int) -> Iterator[Tensor]:
        """Yield the masks of the training target of an image in chunks, as ``tv_tensors``, uint8 [g, H, W].

        Args:
            index: Index of the image.
        """
        import torch
        from torchvision.tv_tensors import Mask

        image = self.images[index]
        size = image.height, image.width
        used = [one.segmentation for one in image.trainable(with_masks=True) if one.segmentation is not None]
        for rows in mask_chunks(len(used), *size) or [slice(0, 0)]:
            masks = torch.zeros(len(used[rows]), *size, dtype=torch.uint8)
            for mask, segmentation in zip(masks, used[rows], strict=True):
                mask.copy_(torch.from_numpy(decode_mask(segmentation, *size)))
            yield Mask(masks)

    def subset(self, indices: Sequence[int]) -> InstanceSet:
        """Return the images at some indices.

        Args:
            indices: The indices.
        """
        return InstanceSet(self.root, [self.images[index] for index in indices], self.classes, self.category_ids)

    def named(self, names: Collection[str]) -> InstanceSet:
        """Return the images of some names, in the order of the names.

        Args:
            names: Names as of `name`.

        Raises:
            UserError: There is no image of a name.
        """
        places = {self.name(index): index for index in range(len(self))}
        if missing := next((name for name in names if name not in places), None):
            raise UserError(
                f"{shown(missing)} was held out by the run, but is missing; restore it or give --data FOLDER"
            )
        return self.subset([places[name] for name in names])

    def trainable(self, with_masks: bool) -> InstanceSet:
        """Return the images with objects to train on; published detectors are trained on those only.

        Raises:
            UserError: There is no such image, or masks are needed and the data has none.
        """
        if with_masks and not self.has_masks:
            raise UserError(
                f"{self.root} has boxes but no masks, which this detector needs; choose a --detect.head without mask"
            )
        trainable = [image for image in self.images if image.trainable(with_masks)]
        if not trainable:
            raise UserError(f"{self.root}: no training image has an object to train on")
        return InstanceSet(self.root, trainable, self.classes, self.category_ids)

    def to_coco(self) -> dict[str, Any]:
        """Return the ground truth in COCO's format, with compressed masks if there are any.

        Objects are numbered from 1: for COCO's evaluation, id 0 means that no object was found.
        """
        images = [{"id": one.id, "width": one.width, "height": one.height} for one in self.images]
        objects = [(image, one) for image in self.images for one in image.instances]
        annotations = [self._annotation(number, *pair) for number, pair in enumerate(objects, start=1)]
        pairs = zip(self.category_ids, self.classes, strict=True)
        categories = [{"id": number, "name": name} for number, name in pairs]
        return {"images": images, "annotations": annotations, "categories": categories}

    def _annotation(self, number: int, image: AnnotatedImage, one: Instance) -> dict[str, Any]:
        annotation = {
            "id": number,
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
    """Return the message for an image file whose size differs from its annotations, or None.

    Args:
        size: Width and height of the file.
        image: The annotations.
    """
    if size == (image.width, image.height):
        return None
    annotated, found = f"{image.width} x {image.height}", f"{size[0]} x {size[1]}"
    return f"the annotations say {annotated} pixels, but it has {found}; annotate the image as it is, or replace it"


def with_classes(data: InstanceSet, classes: Sequence[str]) -> InstanceSet:
    """Relabel the objects for another list of classes, such as those of a trained model.

    Classes are matched by name, and keep their category ids.

    Args:
        data: The images.
        classes: Class names that the new labels index.

    Raises:
        UserError: The class of an object is not among ``classes``.
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
