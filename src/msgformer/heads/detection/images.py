"""Preprocessing of images for detectors, and postprocessing of detections."""

from __future__ import annotations

from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor
from torchvision.models.detection.transform import GeneralizedRCNNTransform

from msgformer.config.dense_data_options import DetectImageOptions
from msgformer.heads.detection.detections import PASTES_MASKS, paste_masks


class DetectionTransform(GeneralizedRCNNTransform):
    """Normalizes images, resizes them in evaluation, pads them to a batch, and scales detections back.

    Training images are not resized: that is augmentation, which belongs to the data pipeline.

    Args:
        min_size: Shorter side to which images are resized in evaluation; ``None`` for no resizing.
        max_size: Maximum of the longer side.
        mean: Mean per image channel.
        std: Standard deviation per image channel.
        size_divisible: Both sides of the batch are padded to a multiple of this number.
    """

    def __init__(
        self,
        min_size: int | None = DetectImageOptions.test_side,
        max_size: int = DetectImageOptions.test_max_side,
        mean: Sequence[float] = (0.485, 0.456, 0.406),
        std: Sequence[float] = (0.229, 0.224, 0.225),
        size_divisible: int = 32,
    ) -> None:
        super().__init__(min_size or 0, max_size, list(mean), list(std), size_divisible)

    def resize(self, image: Tensor, target: dict[str, Tensor] | None = None) -> tuple[Tensor, dict[str, Tensor] | None]:
        """Resize an image in evaluation; sides are rounded as in the published evaluations.

        Args:
            image: Image [C, H, W].
            target: Ground truth, [...] by name; returned unchanged.

        Returns:
            The image [C, H', W'] and the target.
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
        """Scale detections to the original images.

        Args:
            result: Detections per image: ``boxes`` [D, 4] and optionally ``masks`` [D, S, S], probabilities within the
                boxes.
            image_shapes: Height and width of the resized images, to which the boxes refer.
            original_image_sizes: Height and width of the original images.

        Returns:
            The detections with ``boxes`` [D, 4] in pixels of the original images and boolean ``masks`` [D, H, W], or
            those of `unpasted_masks`.
        """
        if self.training:
            return result
        for detection, shape, original in zip(result, image_shapes, original_image_sizes, strict=True):
            boxes = detection["boxes"]
            scale = [after / before for after, before in zip(original, shape, strict=True)]
            detection["boxes"] = boxes * boxes.new_tensor([scale[1], scale[0]] * 2)
            if "masks" in detection and not PASTES_MASKS.get():
                detection["mask_boxes"] = detection["boxes"]
            elif "masks" in detection:
                detection["masks"] = paste_masks(detection["masks"], detection["boxes"], original)
        return result
