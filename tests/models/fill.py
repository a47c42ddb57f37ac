"""Deterministic tensors shared by every golden file, so that no weights need to be stored.

`fill(name, shape)` is a pure function of its arguments (integer arithmetic only), the same on every machine:
element i is the i-th SplitMix64 output of a stream started at CRC-32(salt + name) times 0x9E3779B97F4A7C15, mapped to a
zero-mean, unit-variance uniform. `fill_state_dict` scales that per parameter so that activations stay well conditioned.
"""

from __future__ import annotations

import math
import zlib

import numpy as np
import torch


def fill(name: str, shape: tuple[int, ...], salt: str = "") -> torch.Tensor:
    """Pseudo-random float64 tensor in [-sqrt(3), sqrt(3)], zero mean and unit variance."""
    with np.errstate(over="ignore"):
        state = np.uint64(zlib.crc32((salt + name).encode())) * np.uint64(0x9E3779B97F4A7C15)
        z = state + (np.arange(1, math.prod(shape) + 1, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15))
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        z = z ^ (z >> np.uint64(31))
    uniform = (z >> np.uint64(11)).astype(np.float64) / 2.0**53
    return torch.from_numpy((2.0 * uniform - 1.0) * math.sqrt(3.0)).reshape(shape)


def fill_state_dict(shapes: dict[str, tuple[int, ...]], salt: str = "") -> dict[str, torch.Tensor]:
    """Float64 parameters for official parameter names and shapes.

    matrices and kernels: sqrt(1 / fan_in) * v;  1-d '*.weight' (norms): 1 + 0.2 v;  other vectors: 0.1 v;
    bias tables, messenger tokens and position embeddings: 0.5 v.
    """
    state = {}
    for name, shape in shapes.items():
        value = fill(name, tuple(shape), salt)
        if any(key in name for key in ("relative_position_bias_table", "rel_pos_msg", "msg_tokens", "pos_embed")):
            value = 0.5 * value
        elif len(shape) > 1:
            value = value * math.sqrt(1.0 / math.prod(shape[1:]))
        elif name.endswith("weight"):
            value = 1.0 + 0.2 * value
        else:
            value = 0.1 * value
        state[name] = value
    return state
