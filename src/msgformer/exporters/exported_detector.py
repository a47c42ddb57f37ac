"""Exported detector with the interface of the model: images of any size in, boxes in their pixels out."""

from __future__ import annotations

from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.ops import clip_boxes_to_image

from msgformer.exporters.session import Session
from msgformer.exporters.verify_detector import Detections, drop_empty_boxes, run_detector
from msgformer.heads.detection.images import DetectionTransform


class ExportedDetector(nn.Module):
    """Runs an exported detector on one image at a time.

    Args:
        session: Session of the exported file.

    Attributes:
        with_masks: Whether the detector predicts masks.
    """

    def __init__(self, session: Session) -> None:
        super().__init__()
        card = session.card
        assert card.mean is not None
        assert card.std is not None
        self.session, self.with_masks = session, "masks" in card.outputs
        sizes = {name: card.preprocessing[name] for name in ("min_size", "max_size")}
        self.transform = DetectionTransform(**sizes, mean=card.mean, std=card.std).eval()

    def forward(self, images: Sequence[Tensor]) -> list[Detections]:
        """Detect objects.

        Args:
            images: Images in 0..1, [3, H, W].

        Returns:
            One dictionary per image, as `msgformer.create_detector` describes it.

        Raises:
            UserError: The file doesn't accept images of this size.
        """
        return [self._detect(image) for image in images]

    def _detect(self, image: Tensor) -> Detections:
        sizes, normalized = self.session.card.sizes, self.transform.normalize(image)
        fixed = sizes.fixed_size
        fitted = self.transform.resize(normalized)[0] if fixed is None else resize_to_fit(normalized, fixed)
        size, original = ((x.shape[-2], x.shape[-1]) for x in (fitted, image))
        min_size = (sizes.height[0], sizes.width[0])
        padded = pad_to_size(fitted, [max(sides) for sides in zip(size, min_size, strict=True)])
        found = run_detector(self.session, padded.unsqueeze(0))
        (rescaled,) = self.transform.postprocess([found], [size], [original])
        rescaled["boxes"] = clip_boxes_to_image(rescaled["boxes"], original)
        return {name: values.to(image.device) for name, values in drop_empty_boxes(rescaled).items()}


def resize_to_fit(image: Tensor, size: Sequence[int]) -> Tensor:
    """Resize an image to the largest size that fits into a height and a width, with its aspect ratio.

    Args:
        image: Image [3, h, w].
        size: Maximum height and width.

    Returns:
        Image [3, h', w'].
    """
    scale = min(limit / side for limit, side in zip(size, image.shape[-2:], strict=True))
    fitted = [max(1, int(side * scale + 0.5)) for side in image.shape[-2:]]
    return F.interpolate(image[None], fitted, mode="bilinear", align_corners=False)[0]


def pad_to_size(image: Tensor, size: Sequence[int]) -> Tensor:
    """Pad a normalized image with zeros at the bottom and the right.

    Args:
        image: Image [3, h, w].
        size: Height H and width W of the result.

    Returns:
        Image [3, H, W].
    """
    height, width = image.shape[-2:]
    return F.pad(image, (0, size[1] - width, 0, size[0] - height))
