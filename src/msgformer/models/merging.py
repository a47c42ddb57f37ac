"""Patch embedding and token merging of MSG-Transformer (section 3.2 of its paper), for patch and MSG tokens."""

from __future__ import annotations

from typing import Any

import torch
import torch.fx
import torch.nn.functional as F
from torch import Tensor, nn

from msgformer.models.backbone import Device
from msgformer.models.window import (
    Grid,
    gather_neighbors,
    map_grid,
    map_size,
    pad_to_multiple,
    to_map,
    to_rows,
    window_grid,
)

torch.fx.wrap("pad_to_multiple")  # opaque to torch.fx, because it branches on the size


class PatchEmbed(nn.Module):
    """Projects an image to patch tokens of stride 4 (section 3.2).

    Args:
        in_chans: Channels of the image.
        dim: Channels C of a token.
        overlapping: Use overlapping 7 x 7 patches as in the paper; otherwise the 4 x 4 patches of the first version.
        device: Device of the parameters.
        dtype: Type of the parameters.
    """

    def __init__(
        self,
        in_chans: int,
        dim: int,
        overlapping: bool,
        device: Device = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        dd: Any = {"device": device, "dtype": dtype}
        super().__init__()
        kernel, padding = (7, 2) if overlapping else (4, 0)
        self.proj = nn.Conv2d(in_chans, dim, kernel, stride=4, padding=padding, **dd)
        self.norm = nn.LayerNorm(dim, **dd)

    def forward(self, image: Tensor) -> Tensor:
        """Project an image to patch tokens.

        Args:
            image: Images [B, 3, S, T].

        Returns:
            Patch tokens [B, ceil(S / 4), ceil(T / 4), C].
        """
        # Pad to whole patches first: with padding 2, no patch would cover the last rows of an image of height 4k + 3.
        image = pad_to_multiple(image.permute(0, 2, 3, 1), (4, 4)).permute(0, 3, 1, 2)
        return self.norm(self.proj(image).permute(0, 2, 3, 1))


class OverlappingMerging(nn.Module):
    """Merges tokens by an overlapped 3 x 3 convolution with stride 2, shared by patch and MSG tokens (section 3.2).

    Args:
        dim: Channels C of the input tokens; the output has 2C.
        device: Device of the parameters.
        dtype: Type of the parameters.
    """

    def __init__(self, dim: int, device: Device = None, dtype: torch.dtype | None = None) -> None:
        dd: Any = {"device": device, "dtype": dtype}
        super().__init__()
        self.reduction = nn.Conv2d(dim, 2 * dim, 3, stride=2, padding=1, **dd)
        self.norm = nn.LayerNorm(2 * dim, **dd)

    def forward(self, x: Tensor) -> Tensor:
        """Merge patch tokens.

        Args:
            x: Patch tokens [B, H, W, C].

        Returns:
            Merged tokens [B, ceil(H / 2), ceil(W / 2), 2C].
        """
        if torch.compiler.is_compiling():
            merged = Grid(x.shape[0], *window_grid(map_size(x), (2, 2)))
            return to_map(self.merge_messengers(to_rows(x), map_grid(x)), merged)
        return self.norm(self.reduction(x.permute(0, 3, 1, 2)).permute(0, 2, 3, 1))

    def merge_messengers(self, x: Tensor, grid: Grid) -> Tensor:
        """Merge messengers by the same convolution, computed as a matrix product.

        A convolution chooses its kernel and memory layout by size, which would specialize a captured graph.

        Args:
            x: Messengers [B * nH * nW, C].
            grid: Sizes B, nH and nW.

        Returns:
            Merged messengers [B * ceil(nH / 2) * ceil(nW / 2), 2C].
        """
        x = gather_neighbors(x, grid, stride=2, side=3, first=-1)  # [B * n, 9, C]
        return self.norm(F.linear(x.transpose(1, 2).flatten(1), self.reduction.weight.flatten(1), self.reduction.bias))


class NeighborMerging(nn.Module):
    """Merges tokens as in the first version and in Swin: four neighbors are concatenated, normalized and reduced.

    Zeros complete an odd number of rows or columns.

    Args:
        dim: Channels C of the input tokens; the output has 2C.
        device: Device of the parameters.
        dtype: Type of the parameters.
    """

    def __init__(self, dim: int, device: Device = None, dtype: torch.dtype | None = None) -> None:
        dd: Any = {"device": device, "dtype": dtype}
        super().__init__()
        self.norm = nn.LayerNorm(4 * dim, **dd)
        self.reduction = nn.Linear(4 * dim, 2 * dim, bias=False, **dd)

    def forward(self, x: Tensor) -> Tensor:
        """Merge patch tokens.

        Args:
            x: Patch tokens [B, H, W, C].

        Returns:
            Merged tokens [B, ceil(H / 2), ceil(W / 2), 2C].
        """
        rows, cols = window_grid(map_size(x), (2, 2))
        return to_map(self.merge_messengers(to_rows(x), map_grid(x)), Grid(x.shape[0], rows, cols))

    def merge_messengers(self, x: Tensor, grid: Grid) -> Tensor:
        """Merge messengers.

        Args:
            x: Messengers [B * nH * nW, C].
            grid: Sizes B, nH and nW.

        Returns:
            Merged messengers [B * ceil(nH / 2) * ceil(nW / 2), 2C].
        """
        x = gather_neighbors(x, grid, stride=2, side=2)  # [B * n, 4, C], row by row
        return self.reduction(self.norm(x[:, [0, 2, 1, 3]].flatten(1)))  # Swin's linear layer reads column by column
