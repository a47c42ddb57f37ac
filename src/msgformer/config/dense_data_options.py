"""Options of image sizes and augmentation in detection and segmentation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from msgformer.config.ranges import ABOVE_0, AT_LEAST_0, AT_LEAST_1, PROBABILITY, Needs, option

ReduceZeroLabel = bool | Literal["auto"]
"""Whether labels count from 1 and 0 means no class; "auto" depends on the data set."""

_COUNTED_FROM_0 = Needs(
    "segment_images.reduce_zero_label auto or false", lambda images: images.reduce_zero_label is not True
)


_NO_TILE = Needs("detect_images.tile null", lambda images: images.tile is None)


@dataclass(frozen=True)
class DetectImageOptions:
    """Image sizes and augmentation in detection. The defaults are the papers' COCO recipe.

    Attributes:
        train_sides: Shorter sides that a training image is resized to; one is chosen at random.
        max_side: Maximum of the longer side in training.
        crop: Probability of a random crop before resizing.
        crop_resize: Shorter sides that an image is resized to before the crop; one is chosen at random.
        crop_sides: Minimum and maximum side of the crop; height and width are drawn independently.
        hflip: Probability of a horizontal flip.
        color_jitter: Strength of random changes of brightness, contrast and saturation.
        color_mix: Strength of random mixing and inversion of the color channels, such as 0.4; reduces overfitting to
            few photographs.
        test_side: Shorter side that images are resized to in evaluation; null for no resizing.
        test_max_side: Maximum of the longer side in evaluation.
        group_shapes: Batch portrait and landscape images separately, which reduces padding.
        value_range: Values of black and white in gray images of more than 8 bits (16-bit, float), such as 0 and 4095;
            null measures it on the training images. Images of 8 bits always have 0 and 255.
        tile: Train on random crops of this side in pixels, such as 1024, from images that are larger, instead of on
            resized images; evaluation doesn't resize images either, and predicts larger ones on tiles.
    """

    train_sides: tuple[int, ...] = option(tuple(range(480, 801, 32)), AT_LEAST_1, needs=_NO_TILE)
    max_side: int = option(1333, AT_LEAST_1, needs=_NO_TILE)
    crop: float = option(0.5, PROBABILITY, needs=_NO_TILE)
    crop_resize: tuple[int, ...] = option((400, 500, 600), AT_LEAST_1, needs=_NO_TILE)
    crop_sides: tuple[int, int] = option((384, 600), AT_LEAST_1, ascending=True, needs=_NO_TILE)
    hflip: float = option(0.5, PROBABILITY)
    color_jitter: float = option(0.0, AT_LEAST_0)
    color_mix: float = option(0.0, AT_LEAST_0)
    test_side: int | None = option(800, AT_LEAST_1, needs=_NO_TILE)
    test_max_side: int = option(1333, AT_LEAST_1, needs=_NO_TILE)
    group_shapes: bool = True
    value_range: tuple[float, float] | None = option(None, ascending=True)
    tile: int | None = option(None, AT_LEAST_1)


@dataclass(frozen=True)
class LabelOptions:
    """Meaning of the pixels of label maps.

    Attributes:
        reduce_zero_label: Labels count from 1 and 0 means no class, as in ADE20K. "auto" is true for ADE20K and for
            folders whose labels.json says so; otherwise labels are used unchanged.
        label_map: Class of each pixel value, such as '{0: background, 255: object}', or of each color, such as
            '{"0, 0, 0": background, "#800000": cat}'; the class "ignore" stands for pixels without a class. By default
            labels count the classes.
    """

    reduce_zero_label: ReduceZeroLabel = "auto"
    label_map: dict[int | str, str] | None = option(None, needs=_COUNTED_FROM_0)


@dataclass(frozen=True)
class SegmentImageOptions(LabelOptions):
    """Labels, image sizes and augmentation in segmentation. The defaults are the common ADE20K recipe.

    Attributes:
        reduce_zero_label: Labels count from 1 and 0 means no class, as in ADE20K. "auto" is true for ADE20K and for
            folders whose labels.json says so; otherwise labels are used unchanged.
        label_map: Class of each pixel value, such as '{0: background, 255: object}', or of each color, such as
            '{"0, 0, 0": background, "#800000": cat}'; the class "ignore" stands for pixels without a class. By default
            labels count the classes.
        short_side: Shorter side that images are resized to; in training, before the random scale.
        long_side: Maximum of the longer side after that.
        scale: Minimum and maximum of the random scale.
        crop: Side of the square random crop in training.
        cat_max_ratio: Maximum fraction of a crop that a single class may cover; otherwise another crop is drawn, at
            most ten times.
        hflip: Probability of a horizontal flip.
        photometric: Change brightness, contrast, saturation and hue at random.
        color_mix: Strength of random mixing and inversion of the color channels, such as 0.4; reduces overfitting to
            few photographs.
        value_range: Values of black and white in gray images of more than 8 bits (16-bit, float), such as 0 and 4095;
            null measures it on the training images. Images of 8 bits always have 0 and 255.
    """

    short_side: int = option(512, AT_LEAST_1)
    long_side: int = option(2048, AT_LEAST_1)
    scale: tuple[float, float] = option((0.5, 2.0), ABOVE_0, ascending=True)
    crop: int = option(512, AT_LEAST_1)
    cat_max_ratio: float = option(0.75, ABOVE_0)
    hflip: float = option(0.5, PROBABILITY)
    photometric: bool = True
    color_mix: float = option(0.0, AT_LEAST_0)
    value_range: tuple[float, float] | None = option(None, ascending=True)
