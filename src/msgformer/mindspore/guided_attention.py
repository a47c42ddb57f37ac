"""Attention of SG-Former: hybrid-scale attention, which measures significance, and self-guided attention."""

from __future__ import annotations

from typing import Any

import mindspore as ms
from mindspore import Tensor, nn, ops

from msgformer.mindspore.conv_layers import LocalPosition, convolution
from msgformer.mindspore.layers import LayerNorm, Linear
from msgformer.mindspore.reallocation import merge_groups, rank_by_column, rank_by_row
from msgformer.mindspore.window import (
    Size,
    from_windows,
    map_size,
    pad_to_multiple,
    to_rows,
    to_windows,
    window_grid,
)
from msgformer.model_parts import MERGE_KINDS


def split_heads(x: Tensor, num_heads: int) -> Tensor:
    """Split channels into heads.

    Args:
        x: Tokens [B, n, C].
        num_heads: Attention heads.

    Returns:
        Heads [B, heads, n, C / heads].
    """
    batch, tokens, channels = x.shape
    return x.reshape(batch, tokens, num_heads, channels // num_heads).swapaxes(1, 2)


def join_heads(x: Tensor) -> Tensor:
    """Join heads [B, heads, n, C / heads] to tokens [B, n, C]."""
    batch, heads, tokens, channels = x.shape
    return x.swapaxes(1, 2).reshape(batch, tokens, heads * channels)


class Attention(nn.Cell):
    """Base of the three kinds of attention: out = proj(attention + local positional term).

    Args:
        dim: Channels C.
        num_heads: Attention heads h.
        attn_drop: Dropout rate of attention weights.
        proj_drop: Dropout rate after the output projection.
    """

    def __init__(self, dim: int, num_heads: int, attn_drop: float, proj_drop: float) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.scale = Tensor(
            (dim // num_heads) ** -0.5, ms.float64
        )  # MindSpore converts Python numbers to single precision
        self.matmul_qk, self.matmul_av = (
            ops.BatchMatMul(transpose_b=True),
            ops.BatchMatMul(),
        )  # far faster than ops.matmul
        self.attn_drop = nn.Dropout(p=attn_drop)
        self.lepe = LocalPosition(dim)
        self.proj = Linear(dim, dim)
        self.proj_drop = nn.Dropout(p=proj_drop)

    def attention_weights(self, query: Tensor, key: Tensor) -> Tensor:
        """Compute softmax(Q K^T / sqrt(d)).

        Args:
            query: Queries [B, h, n, d].
            key: Keys [B, h, m, d].

        Returns:
            Attention weights [B, h, n, m].
        """
        return ops.softmax(self.matmul_qk(query * self.scale.astype(query.dtype), key), -1)

    def attend(self, weights: Tensor, value: Tensor) -> Tensor:
        """Apply attention weights to values.

        Args:
            weights: Attention weights [B, h, n, m].
            value: Values [B, h, m, d].

        Returns:
            Tokens [B, n, C].
        """
        return join_heads(self.matmul_av(self.attn_drop(weights), value))

    def project(self, attended: Tensor, x: Tensor) -> Tensor:
        """Add the local positional term and project the sum.

        Args:
            attended: Output of the attention [B, H, W, C].
            x: Input of the attention [B, H, W, C].

        Returns:
            Tokens [B, H, W, C].
        """
        return self.proj_drop(self.proj(attended + self.lepe(x)))


class HybridAttention(Attention):
    """Hybrid-scale attention: half the heads attend to a reduced map, half to a window; it measures significance.

    Args:
        dim: Channels C.
        num_heads: Attention heads h, an even number.
        reduction: Ratio r of the reduced map.
        window: Height and width of a window.
        qkv_bias: Whether queries, keys and values have a bias.
        **attention_args: Further arguments of `Attention`.
    """

    def __init__(
        self, dim: int, num_heads: int, reduction: int, window: Size, qkv_bias: bool, **attention_args: Any
    ) -> None:
        super().__init__(dim, num_heads, **attention_args)
        self.ratio = reduction
        self.window_size = window
        self.half_heads = num_heads // 2
        self.act = nn.GELU(approximate=False)
        self.q_global = Linear(dim, dim // 2, bias=qkv_bias)
        self.reduction = convolution(dim, dim, reduction, stride=reduction)
        self.reduction_norm = LayerNorm(dim)
        self.kv_global = Linear(dim, dim, bias=qkv_bias)
        self.q_local = Linear(dim, dim // 2, bias=qkv_bias)
        self.kv_local = Linear(dim, dim, bias=qkv_bias)

    def construct(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Attend at both scales to a map [B, H, W, C]; return the same shape and the significance map [B, H, W]."""
        global_out, global_received = self.attend_globally(x)
        local_out, local_received = self.attend_locally(x)
        return self.project(ops.cat((global_out, local_out), -1), x), local_received + global_received

    def attend_globally(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Attend from all tokens to the reduced map.

        Args:
            x: Map [B, H, W, C].

        Returns:
            Output [B, H, W, C / 2], and per token the attention received by its reduced key, [B, H, W].
        """
        batch, height, width, channels = x.shape
        ratio = self.ratio
        rows, cols = window_grid((height, width), (ratio, ratio))
        reduced = self.reduction(pad_to_multiple(x, (ratio, ratio)))  # [B, H / r, W / r, C]
        key_value = self.kv_global(self.act(self.reduction_norm(reduced))).reshape(batch, rows * cols, channels)
        query = self.q_global(x).reshape(batch, height * width, channels // 2)
        out, received = self.attend_and_measure(query, key_value)
        # Nearest-neighbor upsampling: every reduced key covers r x r tokens.
        nearest = ops.tile(received.reshape(batch, rows, 1, cols, 1), (1, 1, ratio, 1, ratio))
        nearest = nearest.reshape(batch, rows * ratio, cols * ratio)[:, :height, :width]
        return out.reshape(batch, height, width, channels // 2), nearest

    def attend_locally(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Attend within windows.

        Args:
            x: Map [B, H, W, C].

        Returns:
            Output [B, H, W, C / 2], and the attention that each token receives in its window, [B, H, W].
        """
        batch, size = x.shape[0], map_size(x)
        windows = to_windows(x, self.window_size)  # [B * nH * nW, w * w, C]
        out, received = self.attend_and_measure(self.q_local(windows), self.kv_local(windows))
        received = from_windows(received.expand_dims(-1), self.window_size, batch, size)
        return from_windows(out, self.window_size, batch, size), received.squeeze(-1)

    def attend_and_measure(self, query: Tensor, key_value: Tensor) -> tuple[Tensor, Tensor]:
        """Attend with half of the heads and measure the attention that keys receive.

        Args:
            query: Queries [B', n, C / 2].
            key_value: Keys and values in one tensor [B', m, C].

        Returns:
            Output [B', n, C / 2], and the attention per key, averaged over heads and queries, [B', m], without
            gradient.
        """
        half = query.shape[-1]
        key = split_heads(key_value[:, :, :half], self.half_heads)
        value = split_heads(key_value[:, :, half:], self.half_heads)
        weights = self.attention_weights(split_heads(query, self.half_heads), key)
        received = ops.mean(ops.stop_gradient(weights), (1, 2))
        return self.attend(weights, value), received


class SelfGuidedAttention(Attention):
    """Self-guided attention: keys and values are tokens merged in groups of similar significance.

    Tokens are sorted by significance and cut into groups, large ones where it is low and small ones where it is high.
    Each group becomes one token. This is done twice: ties are broken in row-major order for the first half of the
    heads, and in column-major order for the second half.

    Args:
        dim: Channels C.
        num_heads: Attention heads h, an even number.
        reduction: Reduction ratio r of the stage, which determines the group sizes.
        qkv_bias: Whether queries, keys and values have a bias.
        **attention_args: Further arguments of `Attention`.
    """

    def __init__(self, dim: int, num_heads: int, reduction: int, qkv_bias: bool, **attention_args: Any) -> None:
        super().__init__(dim, num_heads, **attention_args)
        self.quarters = tuple(kind.quarters for kind in MERGE_KINDS[reduction])
        self.q = Linear(dim, dim, bias=qkv_bias)
        self.merge = nn.CellList([Linear(kind.group, 1) for kind in MERGE_KINDS[reduction]])
        self.kv_row = Linear(dim, dim, bias=qkv_bias)
        self.kv_column = Linear(dim, dim, bias=qkv_bias)

    def construct(self, x: Tensor, significance: Tensor) -> Tensor:
        """Attend to merged tokens.

        Args:
            x: Map [B, H, W, C].
            significance: Significance map of the preceding hybrid block, [B, H, W].

        Returns:
            Map [B, H, W, C].
        """
        batch, height, width, channels = x.shape
        by_row = self.kv_row(self.merge_tokens(x, rank_by_row(significance)))
        by_column = self.kv_column(self.merge_tokens(x, rank_by_column(significance)))
        half = channels // 2
        key = ops.cat((by_row[:, :, :half], by_column[:, :, :half]), -1)  # [B, m, C]
        value = ops.cat((by_row[:, :, half:], by_column[:, :, half:]), -1)
        query = self.q(x).reshape(batch, height * width, channels)
        heads = self.num_heads
        attended = self.attend(
            self.attention_weights(split_heads(query, heads), split_heads(key, heads)), split_heads(value, heads)
        )
        return self.project(attended.reshape(x.shape), x)

    def merge_tokens(self, x: Tensor, order: Tensor) -> Tensor:
        """Cut ranked tokens into groups and merge each group.

        Args:
            x: Map [B, H, W, C].
            order: Raster indices of the tokens by rank, [B, n].

        Returns:
            Merged tokens [B, m, C].
        """
        batch, total = order.shape
        rows = to_rows(x)
        order = order + ops.arange(batch, dtype=order.dtype).expand_dims(1) * total  # rows of the whole batch
        start, quarters, merged = 0, 0, []
        for index, merge in enumerate(self.merge):
            quarters += self.quarters[index]
            end = total * quarters // 4
            merged.append(merge_groups(rows, order, start, end, merge))
            start = end
        return ops.cat(merged, 1)


class PlainAttention(Attention):
    """Self-attention over all tokens (stage 4).

    Args:
        dim: Channels C.
        num_heads: Attention heads h.
        qkv_bias: Whether queries, keys and values have a bias.
        **attention_args: Further arguments of `Attention`.
    """

    def __init__(self, dim: int, num_heads: int, qkv_bias: bool, **attention_args: Any) -> None:
        super().__init__(dim, num_heads, **attention_args)
        self.q = Linear(dim, dim, bias=qkv_bias)
        self.kv = Linear(dim, 2 * dim, bias=qkv_bias)

    def construct(self, x: Tensor) -> Tensor:
        """Attend over all tokens of a map [B, H, W, C]; same shape."""
        batch, height, width, channels = x.shape
        tokens, heads = x.reshape(batch, height * width, channels), self.num_heads
        query, key_value = split_heads(self.q(tokens), heads), self.kv(tokens)
        key, value = split_heads(key_value[:, :, :channels], heads), split_heads(key_value[:, :, channels:], heads)
        return self.project(self.attend(self.attention_weights(query, key), value).reshape(x.shape), x)
