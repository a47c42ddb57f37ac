"""Conversion of images to inputs of a segmenter's backbone, for explanations."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from PIL.Image import Resampling
from torchvision.transforms.v2 import functional as transforms

from msgformer.data.detection.transforms import to_tensor
from msgformer.data.segmentation.transforms import scaled_size
from msgformer.tasks.explain_view import ExplainOptions, View, fitted_sides, make_view
from msgformer.tasks.opened_model import OpenedModel
from msgformer.tasks.segmentation.predictor import image_options

if TYPE_CHECKING:
    from PIL import Image


def explain_view(model: OpenedModel, image: Image.Image, options: ExplainOptions) -> View:
    """Return the whole image, resized as in evaluation or to the requested size.

    Args:
        model: The segmenter.
        image: In RGB.
        options: Size.
    """
    module: Any = model.module
    if options.img_size is None:
        resized = transforms.resize(image, scaled_size((image.height, image.width), image_options(model), 1.0))
    else:
        resized = image.resize(fitted_sides(image, options.img_size)[::-1], Resampling.BILINEAR)
    pixels = transforms.normalize(to_tensor(resized), list(module.mean), list(module.std))
    return make_view(pixels, module.mean, module.std, pad=True)
