"""An exported detector in the place of the model: pictures of any size go in, objects in their pixels come out."""

from __future__ import annotations

from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.ops import clip_boxes_to_image

from msgformer.exporters.session import Session
from msgformer.exporters.verify_detector import Found, objects_of, with_area
from msgformer.heads.detection.images import DetectionTransform


class ExportedDetector(nn.Module):
    """A file that finds objects on one image at a time.

    Args:
        session: The open file.

    Attributes:
        with_masks: Whether it finds masks.
    """

    def __init__(self, session: Session) -> None:
        super().__init__()
        card = session.card
        assert card.mean is not None
        assert card.std is not None
        self.session, self.with_masks = session, "masks" in card.outputs
        self.transform = DetectionTransform(**card.preprocessing, mean=card.mean, std=card.std).eval()

    def forward(self, images: Sequence[Tensor]) -> list[Found]:
        """Pictures [3, H, W], 0..1, to what :func:`msgformer.create_detector` describes.

        Raises:
            UserError: the file takes no images of this size.
        """
        return [self._detect(image) for image in images]

    def _detect(self, image: Tensor) -> Found:
        sizes, normalised = self.session.card.sizes, self.transform.normalize(image)
        fixed = sizes.fixed_size
        fitted = self.transform.resize(normalised)[0] if fixed is None else fit_into(normalised, fixed)
        size, original = ((x.shape[-2], x.shape[-1]) for x in (fitted, image))
        least = (sizes.height[0], sizes.width[0])
        given = fill_up(fitted, [max(sides) for sides in zip(size, least, strict=True)])
        found = objects_of(self.session, given.unsqueeze(0))
        (told,) = self.transform.postprocess([found], [size], [original])
        told["boxes"] = clip_boxes_to_image(told["boxes"], original)
        return {name: values.to(image.device) for name, values in with_area(told).items()}


def fit_into(image: Tensor, size: Sequence[int]) -> Tensor:
    """An image [3, h, w] as large as fits into a height and a width, its shape kept."""
    scale = min(most / side for most, side in zip(size, image.shape[-2:], strict=True))
    fitted = [max(1, int(side * scale + 0.5)) for side in image.shape[-2:]]
    return F.interpolate(image[None], fitted, mode="bilinear", align_corners=False)[0]


def fill_up(image: Tensor, size: Sequence[int]) -> Tensor:
    """A normalised image [3, h, w] with zeros at the bottom and the right, up to a height and a width."""
    height, width = image.shape[-2:]
    return F.pad(image, (0, size[1] - width, 0, size[0] - height))
