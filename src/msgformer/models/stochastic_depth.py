"""Stochastic depth: residual branches that are dropped for whole images, and not computed for those (on CPUs)."""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.fx
from timm.layers import DropPath
from torch import Tensor, nn

from msgformer.kernels.index_cache import is_recorded


class Kept(NamedTuple):
    """The images of a batch that keep a residual branch.

    Attributes:
        batch: Number of images B.
        images: Those that the branch is computed for, [k]; None for all.
        weight: What the branch is multiplied by before it is added: a number, or one for each image, [B].
    """

    batch: int
    images: Tensor | None = None
    weight: float | Tensor = 1.0

    def take(self, x: Tensor) -> Tensor:
        """What the branch is computed from: [B * n, ...] to [k * n, ...]."""
        if self.images is None:
            return x
        return x.unflatten(0, (self.batch, -1)).index_select(0, self.images).flatten(0, 1)

    def add(self, x: Tensor, branch: Tensor) -> Tensor:
        """Adds to x, [B * n, ...], what the branch made of `take`, [k * n, ...]."""
        if isinstance(self.weight, Tensor):
            weight = self.weight.to(branch.dtype).repeat_interleave(branch.shape[0] // self.batch)
            return x + branch * weight.view(-1, *[1] * (branch.dim() - 1))
        if self.images is None:
            return torch.add(x, branch, alpha=self.weight)
        dtype = torch.result_type(x, branch)
        x, branch = x.unflatten(0, (self.batch, -1)).to(dtype), branch.unflatten(0, (len(self.images), -1)).to(dtype)
        return x.index_add(0, self.images, branch, alpha=self.weight).flatten(0, 1)


def keep_images(drop_path: nn.Module, x: Tensor, batch: int) -> Kept:
    """Draws the images that keep a branch.

    On CPUs the branch is then computed for these alone. On GPUs the number of them would have to be waited for, and a
    captured graph has one shape: there it is computed for all and multiplied by zero.

    Args:
        drop_path: A `timm.layers.DropPath`, or the identity where no branch is dropped.
        x: Tokens [B * n, ...], for their device and type.
        batch: Number of images B.
    """
    if not (isinstance(drop_path, DropPath) and drop_path.training and drop_path.drop_prob > 0):
        return Kept(batch)
    return draw_images(1 - drop_path.drop_prob, drop_path.scale_by_keep, x, batch)


@torch.fx.wrap
def draw_images(keep: float, scale_by_keep: bool, x: Tensor, batch: int) -> Kept:
    """Draw the images that keep a branch, each with probability ``keep``; see `keep_images`."""
    scale = 1 / keep if scale_by_keep and keep > 0 else 1.0
    drawn = x.new_empty(batch).bernoulli_(keep)
    if x.device.type != "cpu" or is_recorded():
        return Kept(batch, None, drawn * scale)
    images = drawn.nonzero().flatten()
    if len(images) == batch:
        return Kept(batch, None, scale)
    # One image at least, by nothing: every parameter gets a gradient, as optimisers and other processes expect.
    return Kept(batch, images, scale) if len(images) else Kept(batch, images.new_zeros(1), 0.0)
