"""What a user may set about images: how they are brought to size and how they are varied in training."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Filter = Literal["bicubic", "bilinear", "nearest"]
OnBadImage = Literal["stop", "skip"]
Balance = Literal["none", "sampler", "loss"]


@dataclass(frozen=True)
class PreprocessOptions:
    """How an image becomes the model's input; what is not given is taken from the model's own configuration.

    Attributes:
        crop_pct: Side of the center crop divided by the side the image is resized to, in evaluation.
        crop_mode: How an image of another shape is fitted in evaluation: cut to the "center",
            "squash" it, or add a "border".
        interpolation: Filter for resizing in evaluation.
        mean: Mean of each channel, for pixels in 0..1.
        std: Standard deviation of each channel, for pixels in 0..1.
        draft: Decode a JPEG at a half, a quarter or an eighth of its size where that leaves it more than twice as
            large as the input: many times faster for photographs of many pixels, which look a little different then.
    """

    crop_pct: float | None = None
    crop_mode: Literal["center", "squash", "border"] | None = None
    interpolation: Filter | None = None
    mean: list[float] | None = None
    std: list[float] | None = None
    draft: bool = False


@dataclass(frozen=True)
class AugmentOptions:
    """How training images are varied, in timm's terms. The defaults are the recipe of both papers on ImageNet.

    Attributes:
        enabled: Vary the images at all; without it they are resized as in evaluation, and none of the rest acts.
        scale: Smallest and largest part of the image's area that a random crop keeps.
        ratio: Smallest and largest aspect ratio of a random crop.
        hflip: Probability of a flip left to right.
        vflip: Probability of a flip upside down.
        color_jitter: Strength of changes of brightness, contrast and saturation; as in timm, it acts only where
            auto_augment is off or of the kind "3a".
        color_jitter_prob: Probability of the color changes; none given: always.
        grayscale: Probability of losing all color.
        gaussian_blur: Probability of a blur.
        auto_augment: Policy in timm's words, such as "rand-m9-mstd0.5-inc1", "augmix-m3" or "original".
        interpolation: Filter for resizing in training: "random" is bilinear or bicubic by chance.
        erasing: Probability of erasing a random rectangle.
        erasing_mode: What fills the rectangle: "pixel" (noise), "rand" (one random color) or "const" (zero).
        erasing_count: Most rectangles in one image.
        mixup: Alpha of mixup; 0 turns it off.
        cutmix: Alpha of cutmix; 0 turns it off.
        mix_prob: Probability that a batch is mixed at all.
        mix_switch_prob: Probability of cutmix instead of mixup where both are on.
        mix_mode: Mix a whole "batch" alike, or each "pair" or "elem" differently.
        mix_off_epoch: Epoch from which nothing is mixed any more; 0: never.
        smoothing: Label smoothing.
    """

    enabled: bool = True
    scale: tuple[float, float] = (0.08, 1.0)
    ratio: tuple[float, float] = (0.75, 4 / 3)
    hflip: float = 0.5
    vflip: float = 0.0
    color_jitter: float = 0.4
    color_jitter_prob: float | None = None
    grayscale: float = 0.0
    gaussian_blur: float = 0.0
    auto_augment: str | None = "rand-m9-mstd0.5-inc1"
    interpolation: Literal["random", "bicubic", "bilinear", "nearest"] = "random"
    erasing: float = 0.25
    erasing_mode: Literal["pixel", "rand", "const"] = "pixel"
    erasing_count: int = 1
    mixup: float = 0.8
    cutmix: float = 1.0
    mix_prob: float = 1.0
    mix_switch_prob: float = 0.5
    mix_mode: Literal["batch", "pair", "elem"] = "batch"
    mix_off_epoch: int = 0
    smoothing: float = 0.1
