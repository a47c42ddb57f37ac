"""SG-Former: global self-attention over tokens that are merged more coarsely where their significance is low.

Ren et al., "SG-Former: Self-guided Transformer with Evolving Token Reallocation", ICCV 2023, arXiv 2308.12216.

Shapes: B images; a map of H x W tokens with C channels is [B, H, W, C], n = H * W tokens; h heads of d = C / h
channels; r is the reduction ratio of a stage, 8, 4, 2 and 1. A significance map is [B, H, W].

In stages 1 to 3, two kinds of blocks alternate. A hybrid-scale block attends at two scales and measures the attention
that every token receives, its significance. The self-guided block after it merges tokens by this map and attends to the
merged tokens. Stage 4 attends to all tokens.

Input sizes and padding: windows and reductions are zero-padded at the bottom and right, and padded tokens are ordinary
tokens there. The position embedding is resampled to the map. Group sizes are constants of the model: a larger map gives
more merged tokens, not larger groups.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import torch
import torch.fx
import torch.nn.functional as F
from timm.layers import DropPath, calculate_drop_path_rates, resample_abs_pos_embed, to_2tuple
from timm.models import checkpoint as run_checkpointed
from timm.models import generate_default_cfgs, register_model, register_model_deprecations
from torch import Tensor, nn

from msgformer.kernels.index_cache import cache_by_shape, is_traced
from msgformer.model_names import ALIASES, nearest
from msgformer.models.attention import SoftmaxAttention
from msgformer.models.backbone import Backbone, Device, check_heads, check_stages, factory_args, init_linear
from msgformer.models.reallocation import (
    MERGE_KINDS,
    MergeKind,
    join_rows,
    merge_groups,
    order_rows,
    rank_by_column,
    rank_by_row,
)
from msgformer.models.registry import build_backbone, pretrained_cfg
from msgformer.models.stochastic_depth import sample_drop_path
from msgformer.models.window import (
    Grid,
    Size,
    from_windows,
    gather_neighbors,
    map_grid,
    map_size,
    row_and_column,
    to_map,
    to_rows,
    to_windows,
    window_grid,
)
from msgformer.plugins import load_installed_plugins

# Opaque to torch.fx, because they branch on sizes or make tensors of them.
torch.fx.wrap("join_rows")
torch.fx.wrap("order_rows")

MAX_SCORES_PER_CHUNK = 2**22
"""Largest number of attention scores per image that are stored at once: 16 MiB in float32."""


def conv_map(conv: nn.Conv2d, x: Tensor) -> Tensor:
    """Apply a convolution to a map; the permuted view is channels-last, so nothing is copied.

    Args:
        conv: The convolution.
        x: Map [B, H, W, C].

    Returns:
        Map [B, H', W', C'].
    """
    return conv(x.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)


def depthwise(dim: int, stride: int = 1, bias: bool = True, **dd: Any) -> nn.Conv2d:
    """Create a depth-wise 3 x 3 convolution.

    Args:
        dim: Channels C.
        stride: Stride of the kernel.
        bias: Whether there is a bias.
        **dd: Device and dtype of the parameters.
    """
    return nn.Conv2d(dim, dim, 3, stride=stride, padding=1, groups=dim, bias=bias, **dd)


def split_heads(x: Tensor, num_heads: int) -> Tensor:
    """Split channels into heads.

    Args:
        x: Tokens [..., n, C].
        num_heads: Attention heads.

    Returns:
        Heads [..., heads, n, C / heads].
    """
    return x.unflatten(-1, (num_heads, -1)).transpose(-3, -2)


class ConvNorm(nn.Module):
    """Convolution without bias, then a GroupNorm of one group."""

    def __init__(self, conv: nn.Conv2d) -> None:
        super().__init__()
        self.conv = conv
        self.norm = nn.GroupNorm(1, conv.out_channels, device=conv.weight.device, dtype=conv.weight.dtype)

    def forward(self, x: Tensor) -> Tensor:
        """Convolve and normalize a map [B, C, H, W]; return [B, C', H', W']."""
        return self.norm(self.conv(x))


class ConvStack(nn.Module):
    """Three `ConvNorm` with GELU between them."""

    def __init__(self, *convs: nn.Conv2d) -> None:
        super().__init__()
        self.layers = nn.ModuleList(ConvNorm(conv) for conv in convs)

    def forward(self, x: Tensor) -> Tensor:
        """Apply the layers to a map [B, H, W, C]; return [B, H', W', C']."""
        x = x.permute(0, 3, 1, 2)
        for index, layer in enumerate(self.layers):
            x = layer(F.gelu(x) if index else x)
        return x.permute(0, 2, 3, 1)


class PatchEmbed(ConvStack):
    """Projects an image to tokens of stride 4 by three 3 x 3 convolutions.

    Args:
        in_chans: Channels of the image.
        dim: Channels C of a token.
        device: Device of the parameters.
        dtype: Type of the parameters.
    """

    def __init__(self, in_chans: int, dim: int, device: Device = None, dtype: torch.dtype | None = None) -> None:
        dd: Any = {"device": device, "dtype": dtype}
        super().__init__(
            nn.Conv2d(in_chans, dim, 3, stride=2, padding=1, bias=False, **dd),
            nn.Conv2d(dim, dim, 3, padding=1, bias=False, **dd),
            nn.Conv2d(dim, dim, 3, stride=2, padding=1, bias=False, **dd),
        )
        self.norm = nn.LayerNorm(dim, **dd)

    def forward(self, image: Tensor) -> Tensor:
        """Project images [B, 3, S, T] to tokens [B, ceil(S / 4), ceil(T / 4), C]."""
        return self.norm(super().forward(image.permute(0, 2, 3, 1)))


class Downsample(ConvStack):
    """Halves the resolution between two stages.

    Args:
        dim: Channels C of the input tokens.
        out_dim: Channels of the output tokens.
        device: Device of the parameters.
        dtype: Type of the parameters.
    """

    def __init__(self, dim: int, out_dim: int, device: Device = None, dtype: torch.dtype | None = None) -> None:
        dd: Any = {"device": device, "dtype": dtype}
        super().__init__(
            nn.Conv2d(dim, out_dim, 1, bias=False, **dd),
            depthwise(out_dim, stride=2, bias=False, **dd),
            nn.Conv2d(out_dim, out_dim, 1, bias=False, **dd),
        )


class LocalPosition(nn.Module):
    """Local positional term of every attention: a linear layer, then a depth-wise convolution.

    Args:
        dim: Channels C.
        device: Device of the parameters.
        dtype: Type of the parameters.
    """

    def __init__(self, dim: int, device: Device = None, dtype: torch.dtype | None = None) -> None:
        super().__init__()
        self.linear = nn.Linear(dim, dim, device=device, dtype=dtype)
        self.conv = depthwise(dim, device=device, dtype=dtype)

    def forward(self, x: Tensor) -> Tensor:
        """Compute the positional term of a map [B, H, W, C]; same shape."""
        return conv_map(self.conv, self.linear(x))


class Attention(SoftmaxAttention):
    """Base of the three kinds of attention: out = proj(attention + local positional term).

    Where `SoftmaxAttention` computes the weights explicitly, they pass through ``softmax`` and ``attn_drop``: [B, h, n,
    m] for the m keys of self-guided and plain attention. `HybridAttention` has two such modules of its own.

    Args:
        dim: Channels C.
        num_heads: Attention heads h.
        qkv_bias: Whether queries, keys and values have a bias.
        attn_drop: Dropout rate of attention weights.
        proj_drop: Dropout rate after the output projection.
        local_position: Whether to add a local positional term.
        device: Device of the parameters.
        dtype: Type of the parameters.
    """

    def __init__(
        self,
        dim: int,
        num_heads: int,
        qkv_bias: bool,
        attn_drop: float,
        proj_drop: float,
        local_position: bool = True,
        device: Device = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        dd: Any = {"device": device, "dtype": dtype}
        super().__init__(attn_drop)
        check_heads(dim, num_heads)
        self.num_heads = num_heads
        self.qkv_bias = qkv_bias
        self.lepe = LocalPosition(dim, **dd) if local_position else None
        self.proj = nn.Linear(dim, dim, **dd)
        self.proj_drop = nn.Dropout(proj_drop)

    def make_linear(self, out_dim: int) -> nn.Linear:
        """Create a layer for queries, keys or values, with the device and type of the other parameters."""
        weight = self.proj.weight
        return nn.Linear(len(weight), out_dim, bias=self.qkv_bias, device=weight.device, dtype=weight.dtype)

    def attend(self, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        """Compute softmax(Q K^T / sqrt(d)) V.

        Args:
            query: Queries [B, h, n, d].
            key: Keys [B, h, m, d].
            value: Values [B, h, m, d].

        Returns:
            Tokens [B, n, C].
        """
        if self.needs_weights(query):
            out = self.attn_drop(self.attention_weights(query, key)) @ value
        else:
            out = F.scaled_dot_product_attention(query, key, value, dropout_p=self.dropout)
        return out.transpose(1, 2).flatten(2)

    def project(self, attended: Tensor, x: Tensor) -> Tensor:
        """Add the local positional term and project the sum.

        Args:
            attended: Output of the attention [B, H, W, C].
            x: Input of the attention [B, H, W, C].

        Returns:
            Tokens [B, H, W, C].
        """
        if self.lepe is not None:
            attended = attended + self.lepe(x)
        return self.proj_drop(self.proj(attended))


class HybridAttention(Attention):
    """Hybrid-scale attention: half the heads attend to a reduced map, half to a window; it measures significance.

    Where weights are computed explicitly, ``global_attn.softmax`` receives those between tokens and the reduced map,
    [B, h / 2, n, m], and ``local_attn.softmax`` those inside windows, [B * nH * nW, h / 2, w * w, w * w].

    Args:
        dim: Channels C.
        num_heads: Attention heads h, an even number.
        reduction: Ratio r of the reduced map.
        window: Height and width of a window.
        device: Device of the parameters.
        dtype: Type of the parameters.
        **attention_args: Further arguments of `Attention`.
    """

    def __init__(
        self,
        dim: int,
        num_heads: int,
        reduction: int,
        window: Size,
        device: Device = None,
        dtype: torch.dtype | None = None,
        **attention_args: Any,
    ) -> None:
        dd: Any = {"device": device, "dtype": dtype}
        super().__init__(dim, num_heads, **attention_args, **dd)
        del self.softmax, self.attn_drop
        self.global_attn = SoftmaxAttention(attention_args["attn_drop"])
        self.local_attn = SoftmaxAttention(attention_args["attn_drop"])
        self.ratio = reduction
        self.window_size = window
        self.half_heads = num_heads // 2
        self.q_global = self.make_linear(dim // 2)
        self.reduction = nn.Conv2d(dim, dim, reduction, stride=reduction, **dd)
        self.reduction_norm = nn.LayerNorm(dim, **dd)
        self.kv_global = self.make_linear(dim)
        self.q_local = self.make_linear(dim // 2)
        self.kv_local = self.make_linear(dim)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Attend at both scales to a map [B, H, W, C]; return the same shape and the significance map [B, H, W]."""
        global_out, global_received = self.attend_globally(x)
        local_out, local_received = self.attend_locally(x)
        return self.project(torch.cat([global_out, local_out], dim=-1), x), local_received + global_received

    def attend_globally(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Attend from all tokens to the reduced map.

        Args:
            x: Map [B, H, W, C].

        Returns:
            Output [B, H, W, C / 2], and per token the attention received by its reduced key, [B, H, W].
        """
        batch, height, width = grid = map_grid(x)
        rows, cols = window_grid((height, width), (self.ratio, self.ratio))
        reduced = gather_neighbors(to_rows(x), grid, self.ratio, self.ratio)  # [B * m, r * r, C]
        # A strided convolution whose kernels do not overlap is a matrix product.
        reduced = F.linear(reduced.transpose(1, 2).flatten(1), self.reduction.weight.flatten(1), self.reduction.bias)
        key_value = self.kv_global(F.gelu(self.reduction_norm(reduced)))
        key, value = to_map(key_value, Grid(batch, rows, cols)).flatten(1, 2).chunk(2, dim=-1)  # [B, m, C / 2]
        out, received = self.attend_and_measure(self.global_attn, self.q_global(x).flatten(1, 2), key, value)
        nearest_key = reduced_index(grid, self.ratio, x.device)
        return out.view(batch, height, width, -1), received.index_select(1, nearest_key).view(batch, height, width)

    def attend_locally(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Attend within windows.

        Args:
            x: Map [B, H, W, C].

        Returns:
            Output [B, H, W, C / 2], and the attention that each token receives in its window, [B, H, W].
        """
        batch, size = x.shape[0], map_size(x)
        windows = to_windows(x, self.window_size)  # [B * nH * nW, w * w, C]
        key, value = self.kv_local(windows).chunk(2, dim=-1)
        out, received = self.attend_and_measure(self.local_attn, self.q_local(windows), key, value)
        out = from_windows(out, self.window_size, batch, size)
        return out, from_windows(received.unsqueeze(-1), self.window_size, batch, size).squeeze(-1)

    def attend_and_measure(
        self, attn: SoftmaxAttention, query: Tensor, key: Tensor, value: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Attend with half of the heads and measure the attention that keys receive.

        Args:
            attn: Module through which explicit weights pass.
            query: Queries [B', n, C / 2].
            key: Keys [B', m, C / 2].
            value: Values [B', m, C / 2].

        Returns:
            Output [B', n, C / 2], and the attention per key, averaged over heads and queries, [B', m], without
            gradient.
        """
        if not attn.needs_weights(query):
            return attend_and_measure(query, key, value, self.half_heads, attn.dropout)
        query, key, value = (split_heads(t, self.half_heads) for t in (query, key, value))
        weights = attn.attention_weights(query, key)
        received = weights.detach().sum(dim=(1, 2)) / (self.half_heads * query.shape[2])
        return (attn.attn_drop(weights) @ value).transpose(1, 2).flatten(2), received


def attend_and_measure(
    query: Tensor, key: Tensor, value: Tensor, num_heads: int, dropout: float = 0.0
) -> tuple[Tensor, Tensor]:
    """Attend and measure the attention that keys receive, in chunks of queries where there are many scores.

    Args:
        query: Queries [B', n, D].
        key: Keys [B', m, D].
        value: Values [B', m, D].
        num_heads: Attention heads among the D channels.
        dropout: Dropout rate of attention weights.

    Returns:
        Output [B', n, D], and the attention per key, averaged over heads and queries, [B', m], without gradient.
    """
    query, key, value = (split_heads(t, num_heads) for t in (query, key, value))
    total, chunk_size = query.shape[2], MAX_SCORES_PER_CHUNK // (num_heads * key.shape[2])
    if torch.compiler.is_compiling() or total <= chunk_size:  # no branch on sizes in a graph
        out, received = attend_chunk(query, key, value, dropout)
    else:
        # Scores grow with the square of the image's area: store those of one chunk of queries, also in training.
        chunks = query.split(max(1, chunk_size), dim=2)
        parts = [run_checkpointed(attend_chunk, chunk, key, value, dropout) for chunk in chunks]
        outs, sums = zip(*parts, strict=True)
        out, received = torch.cat(outs, dim=2), torch.stack(sums).sum(0)
    return out.transpose(1, 2).flatten(2), received / (num_heads * total)


def attend_chunk(query: Tensor, key: Tensor, value: Tensor, dropout: float) -> tuple[Tensor, Tensor]:
    """Attend from a chunk of queries.

    Args:
        query: Queries [B', h, q, d].
        key: Keys [B', h, m, d].
        value: Values [B', h, m, d].
        dropout: Dropout rate of attention weights.

    Returns:
        Output [B', h, q, d], and the attention per key, summed over heads and queries, [B', m], without gradient.
    """
    scores = query * query.shape[-1] ** -0.5 @ key.transpose(-2, -1)  # [B', h, q, m]
    weights = scores.softmax(dim=-1)
    return F.dropout(weights, dropout) @ value, weights.detach().sum(dim=(1, 2))


@torch.fx.wrap
@cache_by_shape
def reduced_index(grid: Grid, ratio: int, device: torch.device) -> Tensor:
    """Index of the nearest token of the reduced map for each token of a map.

    Args:
        grid: Sizes B, H and W.
        ratio: Reduction ratio r.
        device: Device of the result.

    Returns:
        Index [H * W].
    """
    _, cols = window_grid((grid.height, grid.width), (ratio, ratio))
    row, col = row_and_column(torch.arange(grid.height * grid.width, device=device), grid.width)
    return row // ratio * cols + col // ratio


class SelfGuidedAttention(Attention):
    """Self-guided attention: keys and values are tokens merged in groups of similar significance.

    Tokens are sorted by significance and cut into groups, large ones where it is low and small ones where it is high.
    Each group becomes one token. This is done twice: ties are broken in row-major order for the first half of the
    heads, and in column-major order for the second half.

    Args:
        dim: Channels C.
        num_heads: Attention heads h, an even number.
        reduction: Reduction ratio r of the stage, which determines the group sizes.
        device: Device of the parameters.
        dtype: Type of the parameters.
        **attention_args: Further arguments of `Attention`.
    """

    def __init__(
        self,
        dim: int,
        num_heads: int,
        reduction: int,
        device: Device = None,
        dtype: torch.dtype | None = None,
        **attention_args: Any,
    ) -> None:
        dd: Any = {"device": device, "dtype": dtype}
        super().__init__(dim, num_heads, **attention_args, **dd)
        self.kinds = MERGE_KINDS[reduction]
        self.q = self.make_linear(dim)
        self.merge = nn.ModuleList(nn.Linear(kind.group, 1, **dd) for kind in self.kinds)
        self.kv_row = self.make_linear(dim)
        self.kv_column = self.make_linear(dim)

    def forward(self, x: Tensor, significance: Tensor) -> Tensor:
        """Attend to merged tokens.

        Args:
            x: Map [B, H, W, C].
            significance: Significance map of the preceding hybrid block, [B, H, W].

        Returns:
            Map [B, H, W, C].
        """
        by_row = self.merge_tokens(x, rank_by_row(significance))
        by_column = self.merge_tokens(x, rank_by_column(significance))
        key, value = join_halves(self.kv_row(by_row), self.kv_column(by_column))  # [B, m, C]
        query = self.q(x).flatten(1, 2)  # [B, n, C]
        attended = self.attend(*(split_heads(t, self.num_heads) for t in (query, key, value)))
        return self.project(attended.view(x.shape), x)

    def merge_tokens(self, x: Tensor, order: Tensor) -> Tensor:
        """Cut ranked tokens into groups and merge each group.

        Args:
            x: Map [B, H, W, C].
            order: Raster indices of the tokens by rank, [B, n].

        Returns:
            Merged tokens [B, m, C].
        """
        return merge_ranked(to_rows(x), order, self.kinds, self.merge)


def join_halves(first: Tensor, second: Tensor) -> tuple[Tensor, Tensor]:
    """Join the keys and values of both halves of the heads.

    Args:
        first: Keys and values of the first half in one tensor, [B, m, C].
        second: Keys and values of the second half, [B, m, C].

    Returns:
        Keys and values of all heads, [B, m, C] each.
    """
    first_key, first_value = first.chunk(2, dim=-1)
    second_key, second_value = second.chunk(2, dim=-1)
    return torch.cat([first_key, second_key], dim=-1), torch.cat([first_value, second_value], dim=-1)


def merge_ranked(rows: Tensor, order: Tensor, kinds: Sequence[MergeKind], merges: Iterable[Any]) -> Tensor:
    """Cut ranked tokens into groups and merge each group.

    Args:
        rows: Tokens of all images, [B * n, C].
        order: Raster indices of each image's tokens by rank, [B, n]; or k orders per image, [k * B, n].
        kinds: Shares of the tokens and their group sizes.
        merges: One linear layer g -> 1 per kind.

    Returns:
        Merged tokens [k * B, m, C].
    """
    batch, total = order.shape
    order = order_rows(order, rows.shape[0])
    start, quarters, merged = 0, 0, []
    for kind, merge in zip(kinds, merges, strict=True):
        quarters += kind.quarters
        end = total * quarters // 4
        merged.append(merge_groups(rows, order, start, end, merge))
        start = end
    return join_rows(merged, batch)


class PlainAttention(Attention):
    """Self-attention over all tokens (stage 4).

    Args:
        dim: Channels C.
        num_heads: Attention heads h.
        **attention_args: Further arguments of `Attention`.
    """

    def __init__(self, dim: int, num_heads: int, **attention_args: Any) -> None:
        super().__init__(dim, num_heads, **attention_args)
        self.q = self.make_linear(dim)
        self.kv = self.make_linear(2 * dim)

    def forward(self, x: Tensor) -> Tensor:
        """Attend over all tokens of a map [B, H, W, C]; same shape."""
        query, (key, value) = self.q(x), self.kv(x).chunk(2, dim=-1)
        heads = (split_heads(t.flatten(1, 2), self.num_heads) for t in (query, key, value))
        return self.project(self.attend(*heads).view(x.shape), x)


HYBRID: dict[str, Any] = {"hybrid": HybridAttention}
"""Attention that measures significance, by name; `msgformer.models.ablations.sg_former` adds alternatives."""

GUIDED: dict[str, Any] = {"significance": SelfGuidedAttention}
"""Attention that merges tokens, by name; only subclasses of `SelfGuidedAttention` receive a significance map."""


class ConvMlp(nn.Module):
    """MLP with a depth-wise convolution: y = fc1(x), y = GELU(y + conv(y)), fc2(y).

    Args:
        dim: Channels C.
        hidden: Channels between the two linear layers.
        drop: Dropout rate after each linear layer.
        device: Device of the parameters.
        dtype: Type of the parameters.
    """

    def __init__(
        self, dim: int, hidden: int, drop: float, device: Device = None, dtype: torch.dtype | None = None
    ) -> None:
        dd: Any = {"device": device, "dtype": dtype}
        super().__init__()
        self.fc1 = nn.Linear(dim, hidden, **dd)
        self.dwconv = depthwise(hidden, **dd)
        self.fc2 = nn.Linear(hidden, dim, **dd)
        self.drop = nn.Dropout(drop)

    def forward(self, x: Tensor) -> Tensor:
        """Apply the MLP to a map [B, H, W, C]; same shape."""
        x = self.fc1(x)
        x = self.drop(F.gelu(x + conv_map(self.dwconv, x)))
        return self.drop(self.fc2(x))


class Block(nn.Module):
    """Attention and MLP with residuals; hybrid blocks compute a significance map, self-guided blocks use it.

    Args:
        dim: Channels C.
        attn: The attention.
        mlp_ratio: Hidden channels of the MLP relative to C.
        proj_drop: Dropout rate inside the MLP.
        drop_path: Drop path rate of both residual branches.
        device: Device of the parameters.
        dtype: Type of the parameters.
    """

    def __init__(
        self,
        dim: int,
        attn: Attention,
        mlp_ratio: float,
        proj_drop: float,
        drop_path: float,
        device: Device = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        dd: Any = {"device": device, "dtype": dtype}
        super().__init__()
        self.norm1 = nn.LayerNorm(dim, eps=1e-6, **dd)
        self.attn = attn
        self.drop_path1 = DropPath(drop_path) if drop_path else nn.Identity()
        self.norm2 = nn.LayerNorm(dim, eps=1e-6, **dd)
        self.mlp = ConvMlp(dim, int(dim * mlp_ratio), proj_drop, **dd)
        self.drop_path2 = DropPath(drop_path) if drop_path else nn.Identity()

    def forward(self, x: Tensor, significance: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """Apply attention and MLP.

        Args:
            x: Map [B, H, W, C].
            significance: Latest significance map [B, H, W]; None before the first hybrid block.

        Returns:
            Updated map [B, H, W, C] and the latest significance map [B, H, W].
        """
        mask = sample_drop_path(self.drop_path1, x, x.shape[0])
        if isinstance(self.attn, HybridAttention):  # on all images, because the next block needs their significance
            attended, significance = self.attn(self.norm1(x))
            x = mask.scatter_add(x, mask.gather(attended))
        else:
            gathered = None if significance is None else mask.gather(significance)
            x = mask.scatter_add(x, run_attention(self.attn, self.norm1(mask.gather(x)), gathered)[0])
        mask = sample_drop_path(self.drop_path2, x, x.shape[0])
        return mask.scatter_add(x, self.mlp(self.norm2(mask.gather(x)))), significance


def run_attention(attn: Attention, x: Tensor, significance: Tensor | None) -> tuple[Tensor, Tensor | None]:
    """Apply any kind of attention.

    Args:
        attn: The attention.
        x: Normalized map [B, H, W, C].
        significance: Latest significance map [B, H, W].

    Returns:
        Output [B, H, W, C] and the latest significance map [B, H, W].
    """
    if isinstance(attn, HybridAttention):
        return attn(x)
    if isinstance(attn, SelfGuidedAttention):
        return attn(x, significance), significance
    return attn(x), significance


class Stage(nn.Module):
    """Downsampling, blocks at one resolution, and a norm.

    Args:
        downsample: Halves the resolution before the first block; the identity in stage 1.
        dim: Channels C.
        drop_path: Drop path rate of each block.
        reduction: Reduction ratio r; 1 for plain attention in all blocks.
        window: Height and width of a window.
        mlp_ratio: Hidden channels of the MLPs relative to C.
        attention: Name of the attention that measures significance, from `HYBRID`.
        reallocation: Name of the attention that merges tokens, from `GUIDED`.
        device: Device of the parameters.
        dtype: Type of the parameters.
        **attention_args: Arguments of `Attention`.
    """

    def __init__(
        self,
        downsample: nn.Module,
        dim: int,
        drop_path: list[float],
        reduction: int,
        window: Size,
        mlp_ratio: float,
        attention: str,
        reallocation: str,
        device: Device = None,
        dtype: torch.dtype | None = None,
        **attention_args: Any,
    ) -> None:
        dd = factory_args(device, dtype)
        super().__init__()
        self.num_recomputed = 0  # leading blocks whose activations are recomputed in the backward pass
        self.downsample = downsample
        self.blocks = nn.ModuleList()
        for index, rate in enumerate(drop_path):
            attn: Attention
            if reduction == 1:
                attn = PlainAttention(dim, **attention_args, **dd)
            elif index % 2 == 0:
                attn = HYBRID[attention](dim, reduction=reduction, window=window, **attention_args, **dd)
            else:
                attn = GUIDED[reallocation](dim, reduction=reduction, **attention_args, **dd)
            self.blocks.append(Block(dim, attn, mlp_ratio, attention_args["proj_drop"], rate, **dd))
        self.norm = nn.LayerNorm(dim, eps=1e-6, **dd)

    def forward(self, x: Tensor) -> Tensor:
        """Run the stage on the previous map [B, H, W, C]; return this stage's map [B, H', W', C']."""
        x = self.downsample(x)
        significance = None
        for index, block in enumerate(self.blocks):
            if index < self.num_recomputed and torch.is_grad_enabled() and not is_traced(x):
                x, significance = run_checkpointed(block, x, significance)
            else:
                x, significance = block(x, significance)
        return self.norm(x)


class SgFormer(Backbone):
    """SG-Former, with the interface of a timm model.

    Images of any size work, and sizes may change between batches. Every stage ends with its own LayerNorm, so the maps
    of ``features_only=True`` and `forward_intermediates` are normalized, with or without ``norm``.

    Args:
        img_size: Image size of the position embedding, which is resampled for every other size.
        in_chans: Channels of the image.
        num_classes: Number of classes; with 0, `forward` returns pooled tokens.
        global_pool: Pooling of the last stage's tokens: 'avg', 'max', ... or '' for none.
        embed_dims: Channels per stage.
        depths: Number of blocks per stage.
        num_heads: Attention heads per stage.
        reductions: Reduction ratio r per stage: 8, 4 or 2, or 1 for plain attention.
        window_size: Side of a window in tokens, or its height and width.
        attention: Scales of the attention that measures significance: 'hybrid', or for ablations 'local' or 'global'.
        reallocation: Criterion for merging tokens: 'significance', or for ablations 'one_order', 'uniform' or 'random'.
        local_position: Whether attention has a local positional term.
        mlp_ratio: Hidden channels of the MLPs relative to C.
        qkv_bias: Whether queries, keys and values have a bias.
        drop_rate: Dropout rate before the classifier.
        proj_drop_rate: Dropout rate after projections.
        attn_drop_rate: Dropout rate of attention weights.
        drop_path_rate: Drop path rate of the last block; it rises linearly from 0 at the first block.
        device: Device of the parameters.
        dtype: Type of the parameters.

    Raises:
        ValueError: Settings contradict each other; the message names them.
    """

    def __init__(
        self,
        img_size: int | Size = 224,
        in_chans: int = 3,
        num_classes: int = 1000,
        global_pool: str = "avg",
        embed_dims: tuple[int, ...] = (64, 128, 256, 512),
        depths: tuple[int, ...] = (2, 4, 16, 1),
        num_heads: tuple[int, ...] = (2, 4, 8, 16),
        reductions: tuple[int, ...] = (8, 4, 2, 1),
        window_size: int | Size = 7,
        attention: str = "hybrid",
        reallocation: str = "significance",
        local_position: bool = True,
        mlp_ratio: float = 4.0,
        qkv_bias: bool = True,
        drop_rate: float = 0.0,
        proj_drop_rate: float = 0.0,
        attn_drop_rate: float = 0.0,
        drop_path_rate: float = 0.0,
        device: Device = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        dd = factory_args(device, dtype)
        check_choice("attention", attention, HYBRID)
        check_choice("reallocation", reallocation, GUIDED)
        check_stages(embed_dims=embed_dims, depths=depths, num_heads=num_heads, reductions=reductions)
        for dim, heads, ratio in zip(embed_dims, num_heads, reductions, strict=True):
            check_attention(dim, heads, ratio)
        super().__init__(img_size, in_chans, num_classes, list(embed_dims), global_pool, drop_rate, **dd)
        self.window_size: Size = to_2tuple(window_size)
        self.pos_embed_size: Size = window_grid(self.img_size, (4, 4))
        self.patch_embed = PatchEmbed(in_chans, embed_dims[0], **dd)
        self.pos_embed = nn.Parameter(sincos_position(self.pos_embed_size, embed_dims[0]).to(device, dtype))
        drop_path: Any = calculate_drop_path_rates(drop_path_rate, list(depths), stagewise=True)
        self.stages = nn.ModuleList(
            Stage(
                Downsample(embed_dims[index - 1], dim, **dd) if index else nn.Identity(),
                dim,
                drop_path[index],
                reductions[index],
                self.window_size,
                mlp_ratio,
                attention,
                reallocation,
                local_position=local_position,
                num_heads=num_heads[index],
                qkv_bias=qkv_bias,
                attn_drop=attn_drop_rate,
                proj_drop=proj_drop_rate,
                **dd,
            )
            for index, dim in enumerate(embed_dims)
        )
        self.apply(init_linear)
        self.apply(init_conv)

    def position(self, size: Size) -> Tensor:
        """Return the position embedding for a map of ``size`` tokens, [1, H, W, C]."""
        return resize_position(self.pos_embed.unflatten(1, self.pos_embed_size), size, self.pos_embed_size)

    def forward_stages(self, x: Tensor) -> Iterator[tuple[Tensor, ...]]:
        """Run the stages on images [B, 3, S, T] and yield each stage's normalized map [B, H, W, C]."""
        self.check_images(x)
        x = self.patch_embed(x)
        x = x + self.position(map_size(x))
        for stage in self.stages:
            x = stage(x)
            yield (x,)

    def final_features(self, *outputs: Tensor) -> Tensor:
        """Return the last stage's map [B, H, W, C], which its stage has normalized."""
        return outputs[0]

    def final_map(self, patches: Tensor) -> Tensor:
        """Return the map [B, H, W, C] itself."""
        return patches

    def prune_final_norm(self) -> None:
        """Remove nothing: the norms belong to the stages."""

    def no_weight_decay(self) -> set[str]:
        """Names of further parameters without weight decay: none, because the recipe decays the position embedding."""
        return set()

    def set_input_size(self, img_size: int | Size | None = None, window_size: int | Size | None = None) -> None:
        """Change the image size, with the position embedding resampled permanently, or the window size.

        Args:
            img_size: Height and width in pixels, or the side of a square.
            window_size: Height and width in tokens, or the side of a square.
        """
        if img_size is not None:
            self.img_size = to_2tuple(img_size)
            size = window_grid(self.img_size, (4, 4))
            resampled = resample_abs_pos_embed(
                self.pos_embed.detach(), list(size), list(self.pos_embed_size), num_prefix_tokens=0
            )
            self.pos_embed = nn.Parameter(resampled)
            self.pos_embed_size = size
            self.record_args(img_size=self.img_size)
        if window_size is not None:
            self.window_size = to_2tuple(window_size)
            self.record_args(window_size=self.window_size)
            for module in self.modules():
                if isinstance(module, HybridAttention):
                    module.window_size = self.window_size


@torch.fx.wrap
def resize_position(grid: Tensor, size: Size, grid_size: Size) -> Tensor:
    """Resample a position embedding.

    Args:
        grid: The embedding, [1, H, W, C].
        size: Height H' and width W' of the result.
        grid_size: Height H and width W of the embedding.

    Returns:
        Resampled embedding [1, H', W', C].
    """
    if not torch.compiler.is_compiling() and size == grid_size:
        return grid
    # Captured graphs resample even to the same size, which changes nothing, so that one graph supports all sizes.
    grid = F.interpolate(grid.permute(0, 3, 1, 2), size, mode="bicubic")
    return grid.permute(0, 2, 3, 1)


def check_choice(setting: str, name: str, known: Mapping[str, Any]) -> None:
    """Check that a name is known.

    Args:
        setting: Name of the setting.
        name: Its value.
        known: Known values.

    Raises:
        ValueError: Naming the setting, its value and the known names.
    """
    if name not in known:
        raise ValueError(f"unknown {setting} {name!r}, known: {', '.join(known)}{nearest(name, [*known])}")


def check_attention(dim: int, num_heads: int, reduction: int) -> None:
    """Check the sizes of a stage's attention.

    Args:
        dim: Channels C.
        num_heads: Attention heads.
        reduction: Reduction ratio r.

    Raises:
        ValueError: Naming the setting, its value and the accepted values.
    """
    if reduction != 1 and reduction not in MERGE_KINDS:
        raise ValueError(f"reductions must be 8, 4, 2 or 1, got {reduction}")
    if dim % num_heads:
        raise ValueError(
            f"a stage of {dim} channels can't have {num_heads} heads: embed_dims must be a multiple of num_heads"
        )
    if reduction != 1 and num_heads % 2:
        raise ValueError(f"a stage with reduction {reduction} needs an even number of heads, got num_heads {num_heads}")


def sincos_position(size: Size, dim: int) -> Tensor:
    """Compute the two-dimensional sine-cosine embedding of MAE; the first half of the channels encodes columns.

    Args:
        size: Height H and width W of the grid.
        dim: Channels C.

    Returns:
        Embedding [1, H * W, C].

    Raises:
        ValueError: The number of channels is not a multiple of 4.
    """
    if dim % 4:
        raise ValueError(f"the position embedding needs embed_dims[0] divisible by 4, got {dim}")
    frequencies = 10000.0 ** -(torch.arange(dim // 4, dtype=torch.float64) / (dim // 4))
    token = torch.arange(size[0] * size[1])
    parts = []
    for place in (token % size[1], token // size[1]):
        angles = place[:, None] * frequencies
        parts += [angles.sin(), angles.cos()]
    return torch.cat(parts, dim=1).float().unsqueeze(0)


def init_conv(module: nn.Module) -> None:
    """Initialize a convolution: normal weights with standard deviation sqrt(2 / fan_out), zero bias."""
    if isinstance(module, nn.Conv2d):
        fan_out = module.weight[0, 0].numel() * module.out_channels // module.groups
        nn.init.normal_(module.weight, std=(2.0 / fan_out) ** 0.5)
        if module.bias is not None:
            nn.init.zeros_(module.bias)


def _create(variant: str, pretrained: bool, **kwargs: Any) -> nn.Module:
    load_installed_plugins()
    return build_backbone(SgFormer, variant, pretrained, **kwargs)


def _cfg() -> dict[str, Any]:
    return pretrained_cfg(pool_size=(7, 7), crop_pct=0.9, first_conv="patch_embed.layers.0.conv")


default_cfgs = generate_default_cfgs({"sgformer_small": _cfg(), "sgformer_medium": _cfg(), "sgformer_base": _cfg()})


@register_model
def sgformer_small(pretrained: bool = False, **kwargs: Any) -> nn.Module:
    """SG-Former-S.

    Args:
        pretrained: Load weights, see `build_timm_model`.
        **kwargs: Arguments of `SgFormer` and of ``timm.create_model``.
    """
    args = dict(embed_dims=(64, 128, 256, 512), depths=(2, 4, 16, 1), num_heads=(2, 4, 8, 16), drop_path_rate=0.1)
    return _create("sgformer_small", pretrained, **{**args, **kwargs})


@register_model
def sgformer_medium(pretrained: bool = False, **kwargs: Any) -> nn.Module:
    """SG-Former-M.

    Args:
        pretrained: Load weights, see `build_timm_model`.
        **kwargs: Arguments of `SgFormer` and of ``timm.create_model``.
    """
    args = dict(embed_dims=(64, 128, 256, 512), depths=(2, 6, 28, 2), num_heads=(2, 4, 8, 16), drop_path_rate=0.2)
    return _create("sgformer_medium", pretrained, **{**args, **kwargs})


@register_model
def sgformer_base(pretrained: bool = False, **kwargs: Any) -> nn.Module:
    """SG-Former-B.

    Args:
        pretrained: Load weights, see `build_timm_model`.
        **kwargs: Arguments of `SgFormer` and of ``timm.create_model``.
    """
    args = dict(embed_dims=(96, 192, 384, 768), depths=(4, 6, 24, 2), num_heads=(4, 6, 12, 24), drop_path_rate=0.4)
    return _create("sgformer_base", pretrained, **{**args, **kwargs})


register_model_deprecations(__name__, {old: new for old, new in ALIASES.items() if new in default_cfgs})
