"""Attention within windows, over patch tokens and the MSG token (section 3.1 of the MSG-Transformer paper)."""

from __future__ import annotations

from typing import Any

import torch
import torch.fx
from timm.layers import (
    resize_rel_pos_bias_table,
    trunc_normal_,
)
from torch import Tensor, nn

from msgformer.model_parts import check_heads, relative_position_index
from msgformer.models.attention import SoftmaxAttention, packed_attention
from msgformer.models.backbone import Device
from msgformer.models.window import (
    Size,
)


class WindowAttention(SoftmaxAttention):
    """Multi-head self-attention within each window, over its patch tokens and its MSG token (section 3.1, eq. 5 and 6).

    Where `SoftmaxAttention` computes the weights [B * n, heads, N, N] explicitly, they pass through ``softmax`` and
    ``attn_drop``.

    Args:
        dim: Channels C.
        num_heads: Attention heads.
        window: Height h and width w of a window.
        qkv_bias: Whether queries, keys and values have a bias.
        attn_drop: Dropout rate of attention weights.
        proj_drop: Dropout rate after the output projection.
        device: Device of the parameters.
        dtype: Type of the parameters.
    """

    bias_index: Tensor

    def __init__(
        self,
        dim: int,
        num_heads: int,
        window: Size,
        qkv_bias: bool,
        attn_drop: float,
        proj_drop: float,
        device: Device = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        dd: Any = {"device": device, "dtype": dtype}
        super().__init__(attn_drop)
        check_heads(dim, num_heads)
        self.num_heads = num_heads
        self.window_size = window
        # Eq. 6: b^rel for pairs of patch tokens; theta_2 and theta_1, in this order, for pairs with the MSG token.
        self.relative_position_bias_table = nn.Parameter(
            torch.empty((2 * window[0] - 1) * (2 * window[1] - 1), num_heads, **dd)
        )
        self.rel_pos_msg = nn.Parameter(torch.empty(num_heads, 2, 1, 1, **dd))
        self.register_buffer("bias_index", self.make_bias_index(device), persistent=False)
        self.qkv = nn.Linear(dim, 3 * dim, bias=qkv_bias, **dd)
        self.proj = nn.Linear(dim, dim, **dd)
        self.proj_drop = nn.Dropout(proj_drop)
        trunc_normal_(self.relative_position_bias_table, std=0.02)
        trunc_normal_(self.rel_pos_msg, std=0.02)

    def make_bias_index(self, device: Device) -> Tensor:
        """Return the index of each pair of tokens into the bias entries, [N, N]."""
        return torch.tensor(relative_position_index(self.window_size), device=device)

    def init_non_persistent_buffers(self) -> None:
        """Recompute the index; timm's ``reinit_non_persistent_buffers`` calls this after ``to_empty``."""
        self.bias_index = self.make_bias_index(self.bias_index.device)

    def position_bias(self) -> Tensor:
        """Return the position bias B of eq. 6, [heads, N, N]; rows are queries."""
        entries = torch.cat([self.relative_position_bias_table.T, self.rel_pos_msg.flatten(1)], dim=1)
        return gather_entries(entries, self.bias_index)

    def forward(self, x: Tensor, num_queries: int | None = None) -> Tensor:
        """Attend within windows (eq. 5).

        Args:
            x: Window tokens [B * n, 1 + h * w, C]; token 0 is the MSG token.
            num_queries: Compute only the first tokens of each window; all of them by default.

        Returns:
            Updated tokens, same shape as `x`, or [B * n, num_queries, C].
        """
        qkv = self.qkv(x).unflatten(-1, (3, self.num_heads, -1))  # [B * n, N, 3, heads, C / heads]
        bias = self.position_bias().unsqueeze(0)
        if self.needs_weights(x):
            query, key, value = qkv.permute(2, 0, 3, 1, 4).unbind(0)  # each [B * n, heads, N, C / heads]
            attended = self.attn_drop(self.attention_weights(query, key, bias)) @ value
            attended = attended[:, :, :num_queries].transpose(1, 2).flatten(2)
        else:
            attended = packed_attention(qkv, bias, self.dropout, num_queries)
        return self.proj_drop(self.proj(attended))

    def set_window_size(self, window: Size) -> None:
        """Change the window size and resample the bias table."""
        table = self.relative_position_bias_table
        shape = ((2 * window[0] - 1) * (2 * window[1] - 1), self.num_heads)
        # On the meta device there are no values to resample, and torch 2.11 would fail.
        if table.is_meta:
            resized = table.new_empty(shape)
        else:
            resized = resize_rel_pos_bias_table(table.detach(), window, shape, old_window_size=self.window_size)
        self.relative_position_bias_table = nn.Parameter(resized)
        self.window_size = window
        self.bias_index = self.make_bias_index(table.device)


@torch.fx.wrap
def gather_entries(entries: Tensor, index: Tensor) -> Tensor:
    """Gather bias entries for every pair of tokens.

    Args:
        entries: Bias entries [heads, n].
        index: Index of each pair [N, M].

    Returns:
        Biases [heads, N, M].
    """
    return entries[:, index.flatten()].unflatten(1, index.shape)
