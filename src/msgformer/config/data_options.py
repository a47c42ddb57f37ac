"""Options of preprocessing and augmentation in classification."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from msgformer.config.ranges import ABOVE_0, AT_LEAST_0, AT_LEAST_1, PROBABILITY, Needs, Range, option

Filter = Literal["bicubic", "bilinear", "nearest"]
OnBadImage = Literal["stop", "skip"]
Balance = Literal["none", "sampler", "loss"]
EvaluationSplit = Literal["train", "val", "test", "all"]


@dataclass(frozen=True)
class PreprocessOptions:
    """Preprocessing of images; options that are not given are taken from the model's own configuration.

    Attributes:
        crop_pct: Side of the center crop divided by the side that the image is resized to, in evaluation.
        crop_mode: How images of another aspect ratio are fitted in evaluation: "center" crops, "squash" distorts,
            "border" pads.
        interpolation: Filter for resizing in evaluation.
        mean: Mean of each channel, for pixels in 0..1.
        std: Standard deviation of each channel, for pixels in 0..1.
        draft: Decode a JPEG at 1/2, 1/4 or 1/8 of its size if it is then still more than twice as large as the input;
            much faster for large photographs, with slightly different pixels.
    """

    crop_pct: float | None = option(None, ABOVE_0)
    crop_mode: Literal["center", "squash", "border"] | None = None
    interpolation: Filter | None = None
    mean: list[float] | None = None
    std: list[float] | None = option(None, ABOVE_0)
    draft: bool = False


_COLOR_JITTER = Needs(
    "augment.auto_augment null or one with '3a'",
    lambda augment: not augment.auto_augment or "3a" in augment.auto_augment,
)
_ERASING = Needs("augment.erasing above 0", lambda augment: augment.erasing > 0)
_MIXING = Needs("augment.mixup or augment.cutmix above 0", lambda augment: augment.mixup > 0 or augment.cutmix > 0)
_BOTH_MIXES = Needs("augment.mixup and augment.cutmix above 0", lambda augment: augment.mixup > 0 < augment.cutmix)


@dataclass(frozen=True)
class AugmentOptions:
    """Augmentation of training images, as in timm.

    The defaults are SG-Former's ImageNet recipe; MSG-Transformer's has bicubic interpolation instead of random.

    Attributes:
        enabled: Augment images; otherwise they are resized as in evaluation, and the other options have no effect.
        scale: Minimum and maximum area of a random crop, as a fraction of the image.
        ratio: Minimum and maximum aspect ratio of a random crop.
        hflip: Probability of a horizontal flip.
        vflip: Probability of a vertical flip.
        color_jitter: Strength of random changes of brightness, contrast and saturation; as in timm, it has no effect
            with auto_augment, unless that is "3a".
        color_jitter_prob: Probability of the color changes; by default they are always applied.
        grayscale: Probability of conversion to grayscale.
        gaussian_blur: Probability of a Gaussian blur.
        auto_augment: Policy as in timm, such as "rand-m9-mstd0.5-inc1", "augmix-m3" or "original".
        interpolation: Filter for resizing in training; "random" chooses bilinear or bicubic for each image.
        erasing: Probability of erasing a random rectangle.
        erasing_mode: Content of the rectangle: "pixel" (noise), "rand" (one random color) or "const" (zero).
        erasing_count: Maximum number of rectangles per image.
        mixup: Alpha of mixup; 0 turns it off.
        cutmix: Alpha of cutmix; 0 turns it off.
        mix_prob: Probability of applying mixup or cutmix to a batch.
        mix_switch_prob: Probability of cutmix instead of mixup if both are on.
        mix_mode: Mix per "batch", "pair" or "elem" (element).
        mix_off_epoch: Epoch from which mixup and cutmix are off; 0 means never.
        smoothing: Label smoothing.
    """

    enabled: bool = True
    scale: tuple[float, float] = option((0.08, 1.0), ABOVE_0, ascending=True)
    ratio: tuple[float, float] = option((0.75, 4 / 3), ABOVE_0, ascending=True)
    hflip: float = option(0.5, PROBABILITY)
    vflip: float = option(0.0, PROBABILITY)
    color_jitter: float = option(0.4, AT_LEAST_0, needs=_COLOR_JITTER)
    color_jitter_prob: float | None = option(None, PROBABILITY, needs=_COLOR_JITTER)
    grayscale: float = option(0.0, PROBABILITY)
    gaussian_blur: float = option(0.0, PROBABILITY)
    auto_augment: str | None = "rand-m9-mstd0.5-inc1"
    interpolation: Literal["random", "bicubic", "bilinear", "nearest"] = "random"
    erasing: float = option(0.25, PROBABILITY)
    erasing_mode: Literal["pixel", "rand", "const"] = option("pixel", needs=_ERASING)
    erasing_count: int = option(1, AT_LEAST_1, needs=_ERASING)
    mixup: float = option(0.8, AT_LEAST_0)
    cutmix: float = option(1.0, AT_LEAST_0)
    mix_prob: float = option(1.0, PROBABILITY, needs=_MIXING)
    mix_switch_prob: float = option(0.5, PROBABILITY, needs=_BOTH_MIXES)
    mix_mode: Literal["batch", "pair", "elem"] = option("batch", needs=_MIXING)
    mix_off_epoch: int = option(0, AT_LEAST_0, needs=_MIXING)
    smoothing: float = option(0.1, Range(0, 0.999))
