"""Stochastic depth: residual branches are dropped per image, and on CPUs not computed for the dropped images."""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.fx
from timm.layers import DropPath
from torch import Tensor, nn

from msgformer.kernels.graph_capture import is_recorded


class DropPathMask(NamedTuple):
    """The images of a batch that keep a residual branch.

    Attributes:
        batch: Number of images B.
        images: Indices of the images for which the branch is computed, [k]; None for all images.
        weight: Factor of the branch before it is added: a number, or one per image, [B].
    """

    batch: int
    images: Tensor | None = None
    weight: float | Tensor = 1.0

    def gather(self, x: Tensor) -> Tensor:
        """Select the tokens for which the branch is computed.

        Args:
            x: Tokens of all images, [B * n, ...].

        Returns:
            Tokens of the images that keep the branch, [k * n, ...].
        """
        if self.images is None:
            return x
        return x.unflatten(0, (self.batch, -1)).index_select(0, self.images).flatten(0, 1)

    def scatter_add(self, x: Tensor, branch: Tensor) -> Tensor:
        """Add the branch to the residual stream.

        Args:
            x: Residual stream of all images, [B * n, ...].
            branch: Output of the branch on the gathered tokens, [k * n, ...].

        Returns:
            Tokens of all images, [B * n, ...].
        """
        if isinstance(self.weight, Tensor):
            weight = self.weight.to(branch.dtype).repeat_interleave(branch.shape[0] // self.batch)
            return x + branch * weight.view(-1, *[1] * (branch.dim() - 1))
        if self.images is None:
            return torch.add(x, branch, alpha=self.weight)
        dtype = torch.result_type(x, branch)
        x, branch = x.unflatten(0, (self.batch, -1)).to(dtype), branch.unflatten(0, (len(self.images), -1)).to(dtype)
        return x.index_add(0, self.images, branch, alpha=self.weight).flatten(0, 1)


def sample_drop_path(drop_path: nn.Module, x: Tensor, batch: int) -> DropPathMask:
    """Draw the images that keep a residual branch.

    On CPUs the branch is then computed for these images only. On GPUs, reading their number would stall the device, and
    a captured graph has one shape: there the branch is computed for all images and multiplied by zero.

    Args:
        drop_path: A `timm.layers.DropPath`, or the identity where no branch is dropped.
        x: Tokens [B * n, ...]; their device and type are used.
        batch: Number of images B.

    Returns:
        The mask of the batch.
    """
    if not (isinstance(drop_path, DropPath) and drop_path.training and drop_path.drop_prob > 0):
        return DropPathMask(batch)
    return draw_mask(1 - drop_path.drop_prob, drop_path.scale_by_keep, x, batch)


@torch.fx.wrap
def draw_mask(keep_prob: float, scale_by_keep: bool, x: Tensor, batch: int) -> DropPathMask:
    """Draw the images that keep a branch; see `sample_drop_path`.

    Args:
        keep_prob: Probability that an image keeps the branch.
        scale_by_keep: Divide kept branches by ``keep_prob``.
        x: Tokens [B * n, ...]; their device and type are used.
        batch: Number of images B.

    Returns:
        The mask of the batch.
    """
    scale = 1 / keep_prob if scale_by_keep and keep_prob > 0 else 1.0
    drawn = x.new_empty(batch).bernoulli_(keep_prob)
    if x.device.type != "cpu" or is_recorded():
        return DropPathMask(batch, None, drawn * scale)
    images = drawn.nonzero().flatten()
    if len(images) == batch:
        return DropPathMask(batch, None, scale)
    # Compute one image with weight 0: every parameter then gets a gradient, as optimizers and other processes expect.
    return DropPathMask(batch, images, scale) if len(images) else DropPathMask(batch, images.new_zeros(1), 0.0)
