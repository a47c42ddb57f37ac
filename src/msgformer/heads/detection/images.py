"""Images as the network takes them, and detections as the user takes them."""

from __future__ import annotations

from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor
from torchvision.models.detection.transform import GeneralizedRCNNTransform

from msgformer.heads.detection.detections import paste_masks


class DetectionTransform(GeneralizedRCNNTransform):
    """Normalise, resize in evaluation, pad to a batch; lay detections back onto the images given.

    Training images are taken as they come: their resizing is augmentation, the matter of whoever loads them.

    Args:
        min_size: shorter side that images are resized to in evaluation; ``None`` to take them as they are.
        max_size: bound of the longer side.
        mean: of the image's channels.
        std: of the image's channels.
        size_divisible: both sides of the batch are padded to a multiple of it.
    """

    def __init__(
        self,
        min_size: int | None = 800,
        max_size: int = 1333,
        mean: Sequence[float] = (0.485, 0.456, 0.406),
        std: Sequence[float] = (0.229, 0.224, 0.225),
        size_divisible: int = 32,
    ) -> None:
        super().__init__(min_size or 0, max_size, list(mean), list(std), size_divisible)

    def resize(self, image: Tensor, target: dict[str, Tensor] | None = None) -> tuple[Tensor, dict[str, Tensor] | None]:
        """Resize an image in evaluation; sides are rounded, as in the published evaluations.

        Args:
            image: [C, H, W].
            target: handed through.

        Returns:
            The image and the target.
        """
        min_size = self.min_size[0]
        if self.training or not min_size:
            return image, target
        short, long = sorted(image.shape[-2:])
        scale = min(min_size / short, self.max_size / long)
        size = [int(side * scale + 0.5) for side in image.shape[-2:]]
        return F.interpolate(image[None], size, mode="bilinear", align_corners=False)[0], target

    def postprocess(
        self,
        result: list[dict[str, Tensor]],
        image_shapes: list[tuple[int, int]],
        original_image_sizes: list[tuple[int, int]],
    ) -> list[dict[str, Tensor]]:
        """Scale detections to the images given.

        Args:
            result: of each image ``boxes`` [D, 4] and perhaps ``masks`` [D, S, S], probabilities within the boxes.
            image_shapes: height and width that the boxes refer to.
            original_image_sizes: height and width that they shall refer to.

        Returns:
            The same with ``boxes`` in pixels of the images given and ``masks`` [D, H, W], bool.
        """
        if self.training:
            return result
        for detection, shape, original in zip(result, image_shapes, original_image_sizes, strict=True):
            boxes = detection["boxes"]
            scale = [after / before for after, before in zip(original, shape, strict=True)]
            detection["boxes"] = boxes * boxes.new_tensor([scale[1], scale[0]] * 2)
            if "masks" in detection:
                detection["masks"] = paste_masks(detection["masks"], detection["boxes"], original)
        return result
