"""Conversion of images to inputs of a classifier, for explanations."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from msgformer.data.preprocessing import Preprocessing, eval_transform
from msgformer.tasks.explain_view import ExplainOptions, View, fitted_sides, make_view
from msgformer.tasks.opened_model import OpenedModel

if TYPE_CHECKING:
    from PIL import Image


def explain_view(model: OpenedModel, image: Image.Image, options: ExplainOptions) -> View:
    """Return the crop of an image that evaluation uses, or the whole image.

    Args:
        model: The classifier.
        image: In RGB.
        options: Size, and whether to use the whole image in its own aspect ratio.
    """
    settings = _fitted(Preprocessing.from_dict(model.card.preprocessing), image, options)
    return make_view(eval_transform(settings)(image), settings.mean, settings.std)


def _fitted(settings: Preprocessing, image: Image.Image, options: ExplainOptions) -> Preprocessing:
    """Return a classifier's preprocessing for the requested size, with the image's aspect ratio for whole images."""
    channels, *trained = settings.input_size
    wanted = options.img_size
    if options.whole:
        height, width = fitted_sides(image, min(trained) if wanted is None else wanted)
        return dataclasses.replace(settings, input_size=(channels, height, width), crop_pct=1.0, crop_mode="squash")
    if wanted is None:
        return settings
    height, width = (wanted, wanted) if isinstance(wanted, int) else wanted
    return dataclasses.replace(settings, input_size=(channels, height, width))
