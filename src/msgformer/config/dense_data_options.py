"""What a user may set about the images of detectors and segmenters; light, so that the command line can read it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

ReduceZeroLabel = bool | Literal["auto"]
"""Whether labels count from 1 and 0 means no class; "auto" leaves it to the data set."""


@dataclass(frozen=True)
class DetectImageOptions:
    """How images are sized and varied for a detector. The defaults are the papers' recipe on COCO.

    Attributes:
        train_sides: Lengths of the shorter side, one of which a training image is resized to.
        max_side: Longest that the longer side may become then.
        crop: Probability of a random crop before that.
        crop_resize: Lengths of the shorter side, one of which an image is resized to before the crop.
        crop_sides: Shortest and longest side of the crop; height and width are drawn apart.
        hflip: Probability of a flip left to right.
        color_jitter: Strength of random changes of brightness, contrast and saturation.
        color_mix: Strength of random mixing and inversion of the color channels, as 0.4; it keeps a network from
            learning few photographs by heart.
        test_side: Shorter side that images are resized to in evaluation; null: they are taken as they are.
        test_max_side: Longest that the longer side may become in evaluation.
        group_shapes: Put upright and lying images into batches of their own, so that less is padded.
    """

    train_sides: tuple[int, ...] = tuple(range(480, 801, 32))
    max_side: int = 1333
    crop: float = 0.5
    crop_resize: tuple[int, ...] = (400, 500, 600)
    crop_sides: tuple[int, int] = (384, 600)
    hflip: float = 0.5
    color_jitter: float = 0.0
    color_mix: float = 0.0
    test_side: int | None = 800
    test_max_side: int = 1333
    group_shapes: bool = True


@dataclass(frozen=True)
class SegmentImageOptions:
    """How images are sized and varied for a segmenter. The defaults are the common recipe on ADE20K.

    Attributes:
        reduce_zero_label: Labels count from 1 and 0 means no class, as in ADE20K. "auto": true for ADE20K itself and
            where the folder's labels.json says so; elsewhere labels are used as they are.
        short_side: Shorter side that images are resized to, in training before the random scale.
        long_side: Longest that the longer side may become by that.
        scale: Smallest and largest factor of the random scale.
        crop: Side of the square that training images are cropped to.
        cat_max_ratio: Largest part of a crop that one class may take up; another is drawn otherwise, at most ten times.
        hflip: Probability of a flip left to right.
        photometric: Change brightness, contrast, saturation and hue at random.
        color_mix: Strength of random mixing and inversion of the color channels, as 0.4; it keeps a network from
            learning few photographs by heart.
    """

    reduce_zero_label: ReduceZeroLabel = "auto"
    short_side: int = 512
    long_side: int = 2048
    scale: tuple[float, float] = (0.5, 2.0)
    crop: int = 512
    cat_max_ratio: float = 0.75
    hflip: float = 0.5
    photometric: bool = True
    color_mix: float = 0.0
