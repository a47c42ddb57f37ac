"""Image pixels in memory: NumPy arrays, PyTorch tensors and PIL images, converted to RGB."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from msgformer.data.files.value_range import ValueRange, shown_range
from msgformer.errors import UserError

if TYPE_CHECKING:
    import numpy as np
    from PIL import Image
    from torch import Tensor

MODES = {1: "L", 2: "LA", 3: "RGB", 4: "RGBA"}
"""Pillow's mode by the number of channels: gray, gray and alpha, RGB, RGBA."""

CHANNELS = "1 (gray), 2 (gray, alpha), 3 (RGB) or 4 (RGBA) channels"
DTYPES = "uint8 in 0..255, uint16 in 0..65535 or float in 0..1"
TOLERANCE = 1e-3
"""Maximum distance of float pixels from 0..1, less than half a step of 8 bits."""


def is_instance(value: Any, package: str, name: str) -> bool:
    """Return whether a value is an instance of a class, without importing the package of the class.

    Args:
        value: The value.
        package: Module that defines the class.
        name: Name of the class.
    """
    module = sys.modules.get(package)
    return module is not None and isinstance(value, getattr(module, name))


def check_array(array: np.ndarray, name: str) -> None:
    """Check that the shape and dtype of an array are those of images.

    Args:
        array: An image [H, W] or [H, W, C], or a batch [B, H, W, C].
        name: Name of the image, for messages.

    Raises:
        UserError: The shape or dtype is not that of an image.
    """
    if array.ndim in (3, 4) and array.shape[-1] not in MODES and array.shape[-3] in MODES:
        order = "1, 2, 0" if array.ndim == 3 else "0, 2, 3, 1"
        raise UserError(f"{name}: array {list(array.shape)} has its channels first; use array.transpose({order})")
    layouts = "[height, width] or [height, width, channels]"
    has_channels = array.ndim == 2 or (array.ndim in (3, 4) and array.shape[-1] in MODES)
    _check_shape(name, "array", list(array.shape), layouts, is_image=has_channels)
    _check_dtype(name, "array", str(array.dtype), is_image=array.dtype.kind == "f" or array.dtype.name in _INTEGERS)


def check_tensor(tensor: Tensor, name: str) -> None:
    """Check that the shape and dtype of a tensor are those of images.

    Args:
        tensor: An image [H, W] or [C, H, W], or a batch [B, C, H, W].
        name: Name of the image, for messages.

    Raises:
        UserError: The shape or dtype is not that of an image.
    """
    shape = list(tensor.shape)
    if len(shape) in (3, 4) and shape[-3] not in MODES and shape[-1] in MODES:
        order = "2, 0, 1" if len(shape) == 3 else "0, 3, 1, 2"
        raise UserError(f"{name}: tensor {shape} has its channels last; use tensor.permute({order})")
    has_channels = len(shape) == 2 or (len(shape) in (3, 4) and shape[-3] in MODES)
    _check_shape(name, "tensor", shape, "[height, width] or [channels, height, width]", is_image=has_channels)
    dtype = str(tensor.dtype).removeprefix("torch.")
    _check_dtype(name, "tensor", dtype, is_image=tensor.is_floating_point() or dtype in _INTEGERS)


_SCALED_INTEGERS = ("int16", "int32", "uint32")
"""Types of pixels that only a model with a value range takes."""

_INTEGERS = ("uint8", "uint16", *_SCALED_INTEGERS)


def _check_shape(name: str, kind: str, shape: list[int], layouts: str, *, is_image: bool) -> None:
    if not is_image:
        raise UserError(f"{name}: {kind} {shape} is not an image; expected {layouts} with {CHANNELS}")
    if 0 in shape[-3:]:
        raise UserError(f"{name}: {kind} {shape} has no pixels; leave it out")


def _check_dtype(name: str, kind: str, dtype: str, *, is_image: bool) -> None:
    if not is_image:
        raise UserError(f"{name}: {kind} of {dtype} is not an image; expected {DTYPES}")


def _refuse_scaled_integers(name: str, kind: str, dtype: str) -> None:
    _check_dtype(name, kind, dtype, is_image=dtype not in _SCALED_INTEGERS)


def image_from_array(array: np.ndarray, name: str, value_range: ValueRange | None = None) -> Image.Image:
    """Convert an array to an RGB image; transparent pixels become white.

    Args:
        array: Pixels [H, W] or [H, W, C] with 1 to 4 channels; uint8, uint16, or float in 0..1.
        name: Name of the image, for messages.
        value_range: Values of black and white for all dtypes but uint8; by default those of the dtype.

    Raises:
        UserError: Shape, dtype or values are not those of an image.
    """
    import numpy as np
    from PIL import Image

    from msgformer.data.files.images import scale_to_uint8, to_rgb

    check_array(array, name)
    if value_range is None:
        _refuse_scaled_integers(name, "array", array.dtype.name)
    if value_range is not None and array.dtype.name != "uint8":
        array = _scale(array.astype(np.float64), name, value_range, is_float=array.dtype.kind == "f")
    elif array.dtype.kind == "f":
        array = array.astype(np.float64)
        _check_range(float(array.min()), float(array.max()), name)
        array = scale_to_uint8(array, 1.0)
    elif array.dtype.name == "uint16":
        array = scale_to_uint8(array, 65535.0)
    if array.ndim == 3 and array.shape[2] == 1:
        array = array[:, :, 0]
    # Pillow infers the mode from the shape, as in MODES. A copy, since the caller may write to the array again.
    return to_rgb(Image.fromarray(np.array(array, order="C")))


def _scale(array: np.ndarray, name: str, value_range: ValueRange, *, is_float: bool) -> np.ndarray:
    """Scale pixels to uint8; floats in 0..1 are refused where the model's images have another range."""
    from msgformer.data.files.images import scale_to_uint8

    black, white = value_range
    low, high = float(array.min()), float(array.max())
    if low != low:
        raise UserError(f"{name}: float pixels contain NaN; expected {shown_range(value_range)}")
    if is_float and black >= 0 and white >= 255 and low >= -TOLERANCE and 0 < high <= 1 + TOLERANCE:
        raise UserError(
            f"{name}: float pixels range from {low:.4g} to {high:.4g}, but the model was trained on values in"
            f" {shown_range(value_range)}; multiply them by {white:.10g}"
        )
    return scale_to_uint8(array, white, black)


def _check_range(low: float, high: float, name: str) -> None:
    """Check the range of float pixels; both bounds are NaN if any pixel is."""
    if low != low or high != high:
        raise UserError(f"{name}: float pixels contain NaN; expected 0..1")
    if low >= -TOLERANCE and high <= 1 + TOLERANCE:
        return
    remedy = "divide them by 255" if low >= 0 and high <= 255 else "give the image as it was before normalization"
    raise UserError(f"{name}: float pixels range from {low:.4g} to {high:.4g}; expected 0..1, so {remedy}")


def image_from_tensor(tensor: Tensor, name: str, value_range: ValueRange | None = None) -> Image.Image:
    """Convert a tensor on any device to an RGB image.

    Args:
        tensor: Pixels [H, W] or [C, H, W] with 1 to 4 channels; uint8, uint16, or float in 0..1.
        name: Name of the image, for messages.
        value_range: As of `image_from_array`.

    Raises:
        UserError: Shape, dtype or values are not those of an image.
    """
    import torch

    check_tensor(tensor, name)
    if value_range is None:
        _refuse_scaled_integers(name, "tensor", str(tensor.dtype).removeprefix("torch."))
    try:
        tensor = tensor.detach().as_subclass(torch.Tensor).cpu()
        array = (tensor.double() if tensor.is_floating_point() else tensor).numpy()
    except (NotImplementedError, RuntimeError, TypeError) as error:  # meta, sparse, quantized
        layout = str(tensor.layout).removeprefix("torch.")
        raise UserError(
            f"{name}: pixels of a {layout} tensor on device {tensor.device} can't be read; give a dense tensor"
        ) from error
    return image_from_array(array.transpose(1, 2, 0) if array.ndim == 3 else array, name, value_range)


def image_from_pil(image: Image.Image, name: str, value_range: ValueRange | None = None) -> Image.Image:
    """Convert a PIL image of any mode to RGB, rotated according to its EXIF orientation; always returns a copy.

    Args:
        image: The image.
        name: Name of the image, for messages.
        value_range: Values of black and white in images of more than 8 bits.

    Raises:
        UserError: The file is damaged, or was closed before its pixels were read.
    """
    from PIL import ImageOps

    from msgformer.data.files.images import to_rgb, unreadable_image, without_extra_channel

    try:
        return to_rgb(without_extra_channel(ImageOps.exif_transpose(image), image), value_range)
    except Exception as error:  # decoders raise many types of errors for damaged files
        raise unreadable_image(name, error) from error
