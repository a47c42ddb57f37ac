"""Conversion of images to inputs of a detector's backbone, for explanations."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from PIL.Image import Resampling

from msgformer.data.detection.transforms import to_tensor
from msgformer.tasks.explain_view import ExplainOptions, View, fitted_sides, make_view
from msgformer.tasks.opened_model import OpenedModel

if TYPE_CHECKING:
    from PIL import Image


def explain_view(model: OpenedModel, image: Image.Image, options: ExplainOptions) -> View:
    """Return the whole image, resized as in evaluation or to the requested size.

    Args:
        model: The detector.
        image: In RGB.
        options: Size.
    """
    module: Any = model.module
    transform = module.transform
    if options.img_size is None:
        pixels, _ = transform.resize(to_tensor(image))
    else:
        pixels = to_tensor(image.resize(fitted_sides(image, options.img_size)[::-1], Resampling.BILINEAR))
    return make_view(transform.normalize(pixels), transform.image_mean, transform.image_std, pad=True)
