"""SG-Former for inference: the same numbers as `msgformer.models.sg_former`, in fewer and larger steps.

Linear layers with the same input are joined, residuals and local positional terms are added inside the products and
convolutions, both orders of a self-guided block are merged at once, and the reduced map is a matrix product.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from msgformer.models import conv_layers, guided_attention
from msgformer.models import sg_former as sg
from msgformer.models.window import (
    Grid,
    Size,
    from_windows,
    gather_neighbors,
    map_grid,
    map_size,
    to_map,
    to_rows,
    to_windows,
    window_grid,
)
from msgformer.optimized.ops import (
    add,
    attend,
    attend_and_measure,
    attend_and_measure_unfused,
    norm_by_means,
    norm_gelu,
    norm_tokens,
    pad_keys,
    padding_bias,
)
from msgformer.optimized.packed import PackedConv2d, PackedLinear, conv_between, fold_norm
from msgformer.optimized.ranking import merge_both_orders


class FastConvMlp(nn.Module):
    """Norm, `ConvMlp` and residual.

    y + conv(y) is one convolution, whose kernel has 1 added at its center.

    Args:
        norm: Norm before the MLP.
        source: MLP to optimize.
    """

    def __init__(self, norm: nn.LayerNorm, source: sg.ConvMlp) -> None:
        super().__init__()
        with torch.no_grad():
            source.dwconv.weight[:, 0, 1, 1] += 1
        self.fc1 = PackedLinear(*fold_norm(norm, source.fc1), eps=norm.eps)
        self.dwconv = PackedConv2d(source.dwconv, activation="gelu")
        self.fc2: Any = PackedLinear(source.fc2.weight, source.fc2.bias)

    def forward(self, x: Tensor) -> Tensor:
        """Apply norm, MLP and residual to a map [B, H, W, C]; same shape."""
        out = conv_between(x, self.fc1, self.dwconv, self.fc2, residual=x, added=None)
        return self.fc2(self.hidden(x).permute(0, 2, 3, 1), x) if out is None else out

    def hidden(self, x: Tensor) -> Tensor:
        """Compute the input of fc2, [B, 4C, H, W], channels-last."""
        return self.dwconv(self.fc1(x).permute(0, 3, 1, 2))


class QuantizableConvMlp(FastConvMlp):
    """`FastConvMlp` in the form that is fast after quantization: fc2 is a 1 x 1 convolution.

    The transposition between both layers is free in the layout of convolutions. A linear layer is quantized after the
    transposition, with a scale per channel, and the transposition would be computed.
    """

    def forward(self, x: Tensor) -> Tensor:
        """Apply norm, MLP and residual to a map [B, H, W, C]; same shape."""
        return add(x, self.fc2(self.hidden(x)).permute(0, 2, 3, 1))


class FastConvNorm(nn.Module):
    """`ConvNorm` and the GELU after it.

    Args:
        source: Convolution and norm to optimize.
    """

    def __init__(self, source: Any) -> None:
        super().__init__()
        self.conv, self.norm = PackedConv2d(source.conv), source.norm

    def forward(self, x: Tensor) -> Tensor:
        """Convolve, normalize and activate a map [B, C, H, W]; return [B, C', H', W']."""
        return norm_gelu(self.norm, self.conv(x), activate=True)


class FastConvStack(nn.Module):
    """`ConvStack` for inference.

    Args:
        source: Stack to optimize.
    """

    def __init__(self, source: conv_layers.ConvStack) -> None:
        super().__init__()
        *inner, last = source.layers
        self.layers = nn.Sequential(*map(FastConvNorm, inner))
        self.last: Any = last

    def forward(self, x: Tensor) -> Tensor:
        """Apply the layers to a map [B, H, W, C]; return [B, H', W', C']."""
        x = self.last.conv(self.layers(x.permute(0, 3, 1, 2)))
        norm = self.last.norm
        if not torch.compiler.is_exporting():
            return norm_gelu(norm, x, activate=False).permute(0, 2, 3, 1)
        x = x.permute(0, 2, 3, 1)
        return norm_by_means(x.flatten(1, 2), norm.weight, norm.bias, norm.eps).view(x.shape)


class FastPatchEmbed(FastConvStack):
    """`PatchEmbed` for inference.

    Args:
        source: Patch embedding to optimize.
    """

    def __init__(self, source: conv_layers.PatchEmbed) -> None:
        super().__init__(source)
        self.norm = source.norm

    def forward(self, x: Tensor) -> Tensor:
        """Project images [B, 3, S, T] to tokens [B, ceil(S / 4), ceil(T / 4), C]."""
        return norm_tokens(self.norm, super().forward(x.permute(0, 2, 3, 1)))


class FastAttention(nn.Module):
    """Base of the three kinds of attention: norm, local positional term and residual.

    Args:
        norm: Norm before the attention.
        source: Attention to optimize.
    """

    def __init__(self, norm: nn.LayerNorm, source: guided_attention.Attention) -> None:
        super().__init__()
        self.norm = norm
        self.num_heads = source.num_heads
        self.linear = self.conv = None
        if source.lepe is not None:
            self.linear, self.conv = _pack(source.lepe.linear), PackedConv2d(source.lepe.conv)
        self.proj = _pack(source.proj)

    def project(self, attended: Tensor, normed: Tensor, x: Tensor) -> Tensor:
        """Add the local positional term, project the sum and add the residual.

        Args:
            attended: Output of the attention [B, H, W, C].
            normed: Normalized input [B, H, W, C].
            x: Residual [B, H, W, C].

        Returns:
            Map [B, H, W, C].
        """
        if self.linear is None or self.conv is None:
            return self.proj(attended, x)
        out = conv_between(normed, self.linear, self.conv, self.proj, residual=x, added=attended)
        if out is not None:
            return out
        return self.proj(self._add_local(attended, self.linear(normed).permute(0, 3, 1, 2)), x)

    def _add_local(self, attended: Tensor, local: Tensor) -> Tensor:
        assert self.conv is not None
        if not torch.compiler.is_compiling():
            return self.conv(local, attended.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
        return add(attended, self.conv(local).permute(0, 2, 3, 1))


class FastHybrid(FastAttention):
    """`HybridAttention` for inference; queries, keys and values of a window are one product.

    Args:
        norm: Norm before the attention.
        source: Attention to optimize.
    """

    is_for_openvino = False

    def __init__(self, norm: nn.LayerNorm, source: guided_attention.HybridAttention) -> None:
        super().__init__(norm, source)
        self.ratio, self.window_size, self.half_heads = source.ratio, source.window_size, source.half_heads
        self.q_global, self.kv_global = _pack(source.q_global), _pack(source.kv_global)
        weight = source.reduction.weight.permute(0, 2, 3, 1).flatten(1)  # channels of a token are contiguous
        self.reduction = PackedLinear(weight, source.reduction.bias)
        self.reduction_norm = source.reduction_norm
        self.local = _pack(source.q_local, source.kv_local)

    def forward(self, x: Tensor, significance: Tensor | None) -> tuple[Tensor, Tensor | None]:  # noqa: ARG002
        """Attend at both scales.

        Args:
            x: Map [B, H, W, C].
            significance: Not used, [B, H, W].

        Returns:
            Map [B, H, W, C] and significance map [B, H, W].
        """
        normed = norm_tokens(self.norm, x)
        global_out, global_received = self._attend_globally(normed)
        local_out, local_received = self._attend_locally(normed)
        return self.project(torch.cat([global_out, local_out], dim=-1), normed, x), local_received + global_received

    def _attend_globally(self, x: Tensor) -> tuple[Tensor, Tensor]:
        batch, height, width = grid = map_grid(x)
        reduced = gather_neighbors(to_rows(x), grid, self.ratio, self.ratio).flatten(1)  # [B * m, r * r * C]
        reduced = norm_tokens(self.reduction_norm, self.reduction(reduced), activate=True)
        reduced_grid = Grid(batch, *window_grid((height, width), (self.ratio, self.ratio)))
        key_value = [
            to_map(part, reduced_grid).flatten(1, 2) for part in self.kv_global.sections(reduced, 2)
        ]  # [B, m, C]
        out, received = self._attend_and_measure([self.q_global(x).flatten(1, 2), *key_value])
        nearest_key = guided_attention.reduced_index(grid, self.ratio, x.device)
        return out.view(batch, height, width, -1), received.index_select(1, nearest_key).view(batch, height, width)

    def _attend_locally(self, x: Tensor) -> tuple[Tensor, Tensor]:
        batch, size = x.shape[0], map_size(x)
        qkv = self.local.sections(to_windows(x, self.window_size), 3)  # [B * nH * nW, w * w, 3C / 2]
        out, received = self._attend_and_measure(qkv)
        out = from_windows(out, self.window_size, batch, size)
        return out, from_windows(received.unsqueeze(-1), self.window_size, batch, size).squeeze(-1)

    def _attend_and_measure(self, qkv: list[Tensor]) -> tuple[Tensor, Tensor]:
        if self.is_for_openvino:
            return attend_and_measure_unfused(qkv, self.half_heads)
        return attend_and_measure(qkv, self.half_heads)


class FastGuided(FastAttention):
    """`SelfGuidedAttention` for inference; both orders are merged at once.

    Args:
        norm: Norm before the attention.
        source: Attention to optimize.
    """

    is_for_openvino = False

    def __init__(self, norm: nn.LayerNorm, source: guided_attention.SelfGuidedAttention) -> None:
        super().__init__(norm, source)
        self.q, self.kv_row, self.kv_column = _pack(source.q), _pack(source.kv_row), _pack(source.kv_column)
        self.kinds, self.merge = source.kinds, source.merge

    def forward(self, x: Tensor, significance: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """Attend to merged tokens.

        Args:
            x: Map [B, H, W, C].
            significance: Significance map of the preceding hybrid block, [B, H, W].

        Returns:
            Map [B, H, W, C] and the given significance map [B, H, W].
        """
        assert significance is not None  # every stage begins with a hybrid block
        normed = norm_tokens(self.norm, x)
        merged, bias = merge_both_orders(normed, significance, self.kinds, self.merge), None
        if self.is_for_openvino:
            count, merged = merged.shape[1], pad_keys(merged)
            bias = padding_bias(merged, count)
        # `chunk` would specialize a captured graph to the number of images.
        by_row, by_column = merged.unflatten(0, (2, x.shape[0])).unbind()
        halves = self.kv_row.sections(by_row, 2), self.kv_column.sections(by_column, 2)
        out = attend([self.q(normed).flatten(1, 2), *_join_halves(*halves)], self.num_heads, bias)
        return self.project(out.view(x.shape), normed, x), significance


class FastPlain(FastAttention):
    """`PlainAttention` for inference; queries, keys and values are one product.

    Args:
        norm: Norm before the attention.
        source: Attention to optimize.
    """

    def __init__(self, norm: nn.LayerNorm, source: guided_attention.PlainAttention) -> None:
        super().__init__(norm, source)
        self.qkv = _pack(source.q, source.kv)

    def forward(self, x: Tensor, significance: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """Attend over all tokens.

        Args:
            x: Map [B, H, W, C].
            significance: Returned unchanged, [B, H, W].

        Returns:
            Map [B, H, W, C] and the given significance map [B, H, W].
        """
        normed = norm_tokens(self.norm, x)
        out = attend(self.qkv.sections(normed.flatten(1, 2), 3), self.num_heads)
        return self.project(out.view(x.shape), normed, x), significance


class FallbackAttention(nn.Module):
    """Any other attention, unchanged, between the norm and the residual; used for ablations.

    Args:
        norm: Norm before the attention.
        source: The attention.
    """

    def __init__(self, norm: nn.LayerNorm, source: guided_attention.Attention) -> None:
        super().__init__()
        self.norm, self.attn = norm, source

    def forward(self, x: Tensor, significance: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """Apply norm, attention and residual.

        Args:
            x: Map [B, H, W, C].
            significance: Latest significance map [B, H, W].

        Returns:
            Map [B, H, W, C] and the latest significance map [B, H, W].
        """
        attended, significance = sg.run_attention(self.attn, self.norm(x), significance)
        return x + attended, significance


_FASTER: dict[type[guided_attention.Attention], Any] = {
    guided_attention.HybridAttention: FastHybrid,
    guided_attention.SelfGuidedAttention: FastGuided,
    guided_attention.PlainAttention: FastPlain,
}


class FastBlock(nn.Module):
    """`Block` for inference."""

    def __init__(self, source: sg.Block) -> None:
        super().__init__()
        self.attn = _FASTER.get(type(source.attn), FallbackAttention)(source.norm1, source.attn)
        self.mlp = FastConvMlp(source.norm2, source.mlp)

    def forward(self, x: Tensor, significance: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """Apply attention and MLP.

        Args:
            x: Map [B, H, W, C].
            significance: Latest significance map [B, H, W].

        Returns:
            Map [B, H, W, C] and the latest significance map [B, H, W].
        """
        x, significance = self.attn(x, significance)
        return self.mlp(x), significance


class FastSgFormer(sg.SgFormer):
    """`SgFormer` for inference; the position embedding is resampled only for sizes other than its own.

    A compiled model has one graph for the size of the embedding, and one for all other sizes.
    """

    def position(self, size: Size) -> Tensor:
        """Return the position embedding for a map of ``size`` tokens, [1, H, W, C]."""
        if torch.compiler.is_exporting() or size != self.pos_embed_size:
            return super().position(size)
        return self.pos_embed.unflatten(1, self.pos_embed_size)


def _join_halves(by_row: list[Tensor], by_column: list[Tensor]) -> list[Tensor]:
    """Join keys and values of both halves of the heads, each [B, m, C] or separate, to [B, m, 2C] or separate."""
    if len(by_row) > 1:
        return [torch.cat(halves, dim=-1) for halves in zip(by_row, by_column, strict=True)]
    halves = by_row[0].chunk(2, dim=-1), by_column[0].chunk(2, dim=-1)
    return [torch.cat([half[part] for part in (0, 1) for half in halves], dim=-1)]


def _pack(*linears: nn.Linear) -> PackedLinear:
    """Join linear layers with the same input to one layer."""
    biases = tuple(linear.bias for linear in linears)
    bias = None if any(one is None for one in biases) else torch.cat(biases)
    return PackedLinear(torch.cat(tuple(linear.weight for linear in linears)), bias)
