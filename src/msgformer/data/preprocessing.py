"""Preprocessing of images for a classifier: the settings, and the transforms made from them."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from msgformer.config.data_options import AugmentOptions, PreprocessOptions
from msgformer.data.files.value_range import ValueRange
from msgformer.errors import UserError

if TYPE_CHECKING:
    from PIL import Image
    from torch import Tensor, nn

    Transform = Callable[[Image.Image], Tensor]

GRAY_WEIGHTS = (0.299, 0.587, 0.114)  # of red, green and blue in Pillow's conversion to gray (ITU-R 601-2)


DECODING = ("draft", "value_range")
"""Settings that apply to the decoding of a file rather than to the transform; stored only if they are set."""


@dataclass(frozen=True)
class Preprocessing:
    """Settings that define how an image becomes the model's input; stored in checkpoints.

    Attributes:
        input_size: Channels, height and width.
        interpolation: Filter for resizing.
        mean: Mean of each channel, for pixels in 0..1.
        std: Standard deviation of each channel, for pixels in 0..1.
        crop_pct: Side of the center crop relative to the side after resizing.
        crop_mode: "center", "squash" or "border".
        draft: Whether to decode a JPEG that is much larger than the input at a smaller scale.
        value_range: Values of black and white in images of more than 8 bits; None for those of the format.
    """

    input_size: tuple[int, int, int]
    interpolation: str
    mean: tuple[float, ...]
    std: tuple[float, ...]
    crop_pct: float
    crop_mode: str
    draft: bool = False
    value_range: ValueRange | None = None

    @property
    def min_side(self) -> int:
        """Minimum side in pixels at which a JPEG may be decoded; 0 for its full size only."""
        return math.ceil(2 * max(self.input_size[1:]) / self.crop_pct) if self.draft else 0

    @classmethod
    def of(cls, model: nn.Module, size: tuple[int, int], channels: int, options: PreprocessOptions) -> Preprocessing:
        """Return the settings for a timm model: its own configuration, overridden by the user's options.

        Args:
            model: A timm model.
            size: Height and width for training and evaluation.
            channels: 1 for gray, 3 for color.
            options: Options of the user; None selects the model's own value.

        Raises:
            UserError: ``channels`` is neither 1 nor 3, or the mean or std doesn't have one value per channel.
        """
        from timm.data import resolve_model_data_config

        if channels not in (1, 3):
            raise UserError(f"model_args.in_chans must be 1 (gray) or 3 (color) for images, not {channels}")
        config = resolve_model_data_config(model)
        given = {key: value for key, value in asdict(options).items() if value is not None}
        if channels == 1:
            config |= {key: _gray_statistics(config[key]) for key in ("mean", "std")}
        merged = {**config, **given}
        for key in ("mean", "std"):
            if len(merged[key]) != channels:
                raise UserError(f"preprocess.{key} needs {channels} number(s), one per channel, not {merged[key]}")
        return cls(
            input_size=(channels, *size),
            interpolation=merged["interpolation"],
            mean=tuple(merged["mean"]),
            std=tuple(merged["std"]),
            crop_pct=merged["crop_pct"],
            crop_mode=merged["crop_mode"],
            draft=merged["draft"],
            value_range=options.value_range,
        )

    @classmethod
    def from_dict(cls, stored: dict[str, Any]) -> Preprocessing:
        """Restore the settings from the result of :meth:`to_dict`."""
        settings: dict[str, Any] = {key: tuple(v) if isinstance(v, list) else v for key, v in stored.items()}
        return cls(**settings)

    def to_dict(self) -> dict[str, Any]:
        """Return plain values: arguments of timm's ``create_transform``, and the settings of decoding that are set."""
        stored = {key: list(value) if isinstance(value, tuple) else value for key, value in asdict(self).items()}
        return {key: value for key, value in stored.items() if key not in DECODING or value}


def _gray_statistics(values: Sequence[float]) -> tuple[float]:
    """Return the mean or standard deviation of gray images from that of color images; one of gray stays the same."""
    if len(values) == 1:
        return (values[0],)
    return (sum(weight * value for weight, value in zip(GRAY_WEIGHTS, values, strict=True)),)


def eval_transform(settings: Preprocessing) -> Transform:
    """Create the deterministic transform from an RGB image of any size to a normalized float tensor [C, H, W]."""
    from timm.data import create_transform
    from torchvision.transforms import Compose

    arguments = asdict(settings)
    for name in DECODING:
        del arguments[name]
    transform: Transform = Compose([*_to_gray(settings), create_transform(**arguments)])
    return transform


def train_transform(settings: Preprocessing, options: AugmentOptions) -> Transform:
    """Create the transform from an RGB image of any size to an augmented, normalized float tensor [C, H, W].

    Random numbers come from the global generators of Python, NumPy and torch.

    Args:
        settings: Preprocessing settings.
        options: Augmentation options.

    Raises:
        UserError: timm doesn't understand ``auto_augment``.
    """
    from torchvision.transforms import Compose

    if not options.enabled:
        return eval_transform(settings)
    geometry, color, tensor = _train_stages(settings, options)
    _fix_posterize(color)
    # Convert to gray last, since timm's policies fill borders with an RGB color.
    transform: Transform = Compose([geometry, color, *_to_gray(settings), tensor])
    return transform


def _train_stages(settings: Preprocessing, options: AugmentOptions) -> tuple[Any, Any, Any]:
    """Create timm's three stages of augmentation: geometry, color, and conversion to a tensor with erasing."""
    from timm.data import create_transform

    try:
        geometry, color, tensor = create_transform(
            input_size=settings.input_size,
            is_training=True,
            mean=settings.mean,
            std=settings.std,
            scale=options.scale,
            ratio=options.ratio,
            hflip=options.hflip,
            vflip=options.vflip,
            color_jitter=options.color_jitter,
            color_jitter_prob=options.color_jitter_prob,
            grayscale_prob=options.grayscale,
            gaussian_blur_prob=options.gaussian_blur,
            auto_augment=options.auto_augment,
            interpolation=options.interpolation,
            re_prob=options.erasing,
            re_mode=options.erasing_mode,
            re_count=options.erasing_count,
            separate=True,
        )
    except (AssertionError, KeyError, ValueError) as error:
        raise UserError(
            f"augment.auto_augment: timm doesn't understand {options.auto_augment!r};"
            " an example is 'rand-m9-mstd0.5-inc1'"
        ) from error
    return geometry, color, tensor


def _fix_posterize(color: Any) -> None:
    """Let timm's policies posterize to 0 bits, which they sometimes draw and Pillow rejects since version 13."""
    from timm.data import auto_augment

    for stage in color.transforms:
        policies = getattr(stage, "policy", [getattr(stage, "ops", [])])
        for operation in (operation for policy in policies for operation in policy):
            if operation.aug_fn is auto_augment.posterize:
                operation.aug_fn = _posterize


def _posterize(image: Image.Image, bits: int, **_: Any) -> Image.Image:
    """Reduce each channel to its highest ``bits`` bits; 0 gives a black image, as with older Pillow."""
    from PIL import Image, ImageOps

    if bits >= 8:
        return image
    return ImageOps.posterize(image, bits) if bits > 0 else Image.new(image.mode, image.size)


def _to_gray(settings: Preprocessing) -> list[Any]:
    from torchvision.transforms import Grayscale

    return [Grayscale()] if settings.input_size[0] == 1 else []
