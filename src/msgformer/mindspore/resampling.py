"""Bicubic resampling as in PyTorch; MindSpore's own uses another kernel (a = -0.5 instead of -0.75)."""

from __future__ import annotations

import mindspore as ms
import numpy as np
from mindspore import Tensor, ops

from msgformer.mindspore.window import Size

A = -0.75
"""Parameter of Keys' cubic convolution kernel: its slope at distance 1."""


def resample_bicubic(x: Tensor, size: Size) -> Tensor:
    """Resample a map along both axes, one after the other.

    Args:
        x: Map [B, H, W, C].
        size: Height H' and width W' of the result.

    Returns:
        Map [B, H', W', C].
    """
    batch, height, width, channels = x.shape
    down = resampling_matrix(height, size[0]).astype(x.dtype)
    right = resampling_matrix(width, size[1]).astype(x.dtype)
    x = ops.matmul(down, x.reshape(batch, height, width * channels))
    return ops.matmul(right, x.reshape(batch, size[0], width, channels))


@ms.constexpr
def resampling_matrix(old: int, new: int) -> Tensor:
    """Compute the float64 matrix that resamples an axis.

    Args:
        old: Number of input values.
        new: Number of output values.

    Returns:
        Matrix [new, old].
    """
    return Tensor(cubic_weights(old, new))


def cubic_weights(old: int, new: int) -> np.ndarray:
    """Compute the weights of cubic convolution; border values are repeated.

    Args:
        old: Number of input values.
        new: Number of output values.

    Returns:
        Weights [new, old].
    """
    place = (np.arange(new) + 0.5) * old / new - 0.5
    first = np.floor(place).astype(int)
    weights = np.zeros((new, old))
    for step in range(-1, 3):
        near = np.clip(first + step, 0, old - 1)
        np.add.at(weights, (np.arange(new), near), cubic_kernel(place - first - step))
    return weights


def cubic_kernel(distance: np.ndarray) -> np.ndarray:
    """Evaluate Keys' kernel at distances [...] below 2."""
    d = np.abs(distance)
    inner = ((A + 2) * d - (A + 3)) * d**2 + 1
    outer = A * (((d - 5) * d + 8) * d - 4)
    values: np.ndarray = np.where(d <= 1, inner, outer)
    return values
