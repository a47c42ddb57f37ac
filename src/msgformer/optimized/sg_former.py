"""SG-Former for inference: the same numbers as `msgformer.models.sg_former`, in fewer and larger steps.

Linear layers that read the same tokens are one, residuals and local positional terms are added inside the products and
convolutions, both orders of a self-guided block are merged at once, and the reduced map is a product whose weight
takes the tokens under it one after the other.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from msgformer.models import sg_former as sg
from msgformer.models.window import (
    Grid,
    Size,
    from_windows,
    map_grid,
    map_size,
    gather_neighbors,
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
    pad_keys,
    hide,
    norm_by_means,
    norm_gelu,
    norm_tokens,
)
from msgformer.optimized.packed import PackedConv2d, PackedLinear, conv_between, fold_norm
from msgformer.optimized.ranking import merge_both_orders


class FastConvMlp(nn.Module):
    """The norm before a `ConvMlp`, the MLP, and the residual.

    y + conv(y) is one convolution, whose kernel has 1 added at its centre.

    Args:
        norm: The norm.
        slow: The MLP.
    """

    def __init__(self, norm: nn.LayerNorm, slow: sg.ConvMlp) -> None:
        super().__init__()
        with torch.no_grad():
            slow.dwconv.weight[:, 0, 1, 1] += 1
        self.fc1 = PackedLinear(*fold_norm(norm, slow.fc1), eps=norm.eps)
        self.dwconv = PackedConv2d(slow.dwconv, activation="gelu")
        self.fc2: Any = PackedLinear(slow.fc2.weight, slow.fc2.bias)

    def forward(self, x: Tensor) -> Tensor:
        """[B, H, W, C] to the same."""
        out = conv_between(x, self.fc1, self.dwconv, self.fc2, residual=x, added=None)
        return self.fc2(self.hidden(x).permute(0, 2, 3, 1), x) if out is None else out

    def hidden(self, x: Tensor) -> Tensor:
        """What fc2 reads, [B, 4C, H, W], channels-last."""
        return self.dwconv(self.fc1(x).permute(0, 3, 1, 2))


class QuantizableConvMlp(FastConvMlp):
    """`FastConvMlp` in the form that is fast once it is quantised: fc2 is a 1 x 1 convolution.

    The transposition between both layers costs nothing in the layout that convolutions like. A linear layer is
    quantised on its far side, after a scale for each channel, and it would have to be carried out.
    """

    def forward(self, x: Tensor) -> Tensor:
        """[B, H, W, C] to the same."""
        return add(x, self.fc2(self.hidden(x)).permute(0, 2, 3, 1))


class FastConvNorm(nn.Module):
    """`ConvNorm`, and the GELU that follows it.

    Args:
        slow: Convolution and norm.
    """

    def __init__(self, slow: Any) -> None:
        super().__init__()
        self.conv, self.norm = PackedConv2d(slow.conv), slow.norm

    def forward(self, x: Tensor) -> Tensor:
        """[B, C, H, W] to [B, C', H', W']."""
        return norm_gelu(self.norm, self.conv(x), activate=True)


class FastConvStack(nn.Module):
    """`ConvStack`.

    Args:
        slow: The stack.
    """

    def __init__(self, slow: sg.ConvStack) -> None:
        super().__init__()
        *inner, last = slow.layers
        self.layers = nn.Sequential(*map(FastConvNorm, inner))
        self.last: Any = last

    def forward(self, x: Tensor) -> Tensor:
        """[B, H, W, C] to [B, H', W', C']."""
        x = self.last.conv(self.layers(x.permute(0, 3, 1, 2)))
        norm = self.last.norm
        if not torch.compiler.is_exporting():
            return norm_gelu(norm, x, activate=False).permute(0, 2, 3, 1)
        x = x.permute(0, 2, 3, 1)
        return norm_by_means(x.flatten(1, 2), norm.weight, norm.bias, norm.eps).view(x.shape)


class FastPatchEmbed(FastConvStack):
    """`PatchEmbed`.

    Args:
        slow: The embedding.
    """

    def __init__(self, slow: sg.PatchEmbed) -> None:
        super().__init__(slow)
        self.norm = slow.norm

    def forward(self, x: Tensor) -> Tensor:
        """Image [B, 3, S, T] to tokens [B, ceil(S / 4), ceil(T / 4), C]."""
        return norm_tokens(self.norm, super().forward(x.permute(0, 2, 3, 1)))


class FastAttention(nn.Module):
    """What the three kinds of attention share: the norm before them, the local positional term, and the residual.

    Args:
        norm: The norm.
        slow: The attention.
    """

    def __init__(self, norm: nn.LayerNorm, slow: sg.Attention) -> None:
        super().__init__()
        self.norm = norm
        self.num_heads = slow.num_heads
        self.linear = self.conv = None
        if slow.lepe is not None:
            self.linear, self.conv = _pack(slow.lepe.linear), PackedConv2d(slow.lepe.conv)
        self.proj = _pack(slow.proj)

    def project(self, attended: Tensor, normed: Tensor, x: Tensor) -> Tensor:
        """Local positional term and projection of an attention, added to x, [B, H, W, C] all of them."""
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
    """`HybridAttention`; queries, keys and values of a window are one product."""

    is_for_openvino = False

    def __init__(self, norm: nn.LayerNorm, slow: sg.HybridAttention) -> None:
        super().__init__(norm, slow)
        self.ratio, self.window_size, self.half_heads = slow.ratio, slow.window_size, slow.half_heads
        self.q_global, self.kv_global = _pack(slow.q_global), _pack(slow.kv_global)
        weight = slow.reduction.weight.permute(0, 2, 3, 1).flatten(1)  # a token's channels side by side
        self.reduction = PackedLinear(weight, slow.reduction.bias)
        self.reduction_norm = slow.reduction_norm
        self.local = _pack(slow.q_local, slow.kv_local)

    def forward(self, x: Tensor, significance: Tensor | None) -> tuple[Tensor, Tensor | None]:  # noqa: ARG002
        """[B, H, W, C] to the same, and a significance map [B, H, W]."""
        normed = norm_tokens(self.norm, x)
        wide, received_from_afar = self._attend_globally(normed)
        near, received_nearby = self._attend_locally(normed)
        return self.project(torch.cat([wide, near], dim=-1), normed, x), received_nearby + received_from_afar

    def _attend_globally(self, x: Tensor) -> tuple[Tensor, Tensor]:
        batch, height, width = grid = map_grid(x)
        reduced = gather_neighbors(to_rows(x), grid, self.ratio, self.ratio).flatten(1)  # [B * m, r * r * C]
        reduced = norm_tokens(self.reduction_norm, self.reduction(reduced), activate=True)
        small = Grid(batch, *window_grid((height, width), (self.ratio, self.ratio)))
        key_value = [to_map(part, small).flatten(1, 2) for part in self.kv_global.sections(reduced, 2)]  # [B, m, C]
        out, received = self._attend_and_measure([self.q_global(x).flatten(1, 2), *key_value])
        above = sg.reduced_index(grid, self.ratio, x.device)
        return out.view(batch, height, width, -1), received.index_select(1, above).view(batch, height, width)

    def _attend_locally(self, x: Tensor) -> tuple[Tensor, Tensor]:
        batch, size = x.shape[0], map_size(x)
        qkv = self.local.sections(to_windows(x, self.window_size), 3)  # [B * nH * nW, w * w, 3C / 2]
        out, received = self._attend_and_measure(qkv)
        out = from_windows(out, self.window_size, batch, size)
        return out, from_windows(received.unsqueeze(-1), self.window_size, batch, size).squeeze(-1)

    def _attend_and_measure(self, given: list[Tensor]) -> tuple[Tensor, Tensor]:
        if self.is_for_openvino:
            return attend_and_measure_unfused(given, self.half_heads)
        return attend_and_measure(given, self.half_heads)


class FastGuided(FastAttention):
    """`SelfGuidedAttention`; tokens in both orders are merged at once."""

    is_for_openvino = False

    def __init__(self, norm: nn.LayerNorm, slow: sg.SelfGuidedAttention) -> None:
        super().__init__(norm, slow)
        self.q, self.kv_row, self.kv_column = _pack(slow.q), _pack(slow.kv_row), _pack(slow.kv_column)
        self.kinds, self.merge = slow.kinds, slow.merge

    def forward(self, x: Tensor, significance: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """[B, H, W, C] and the map [B, H, W] of the hybrid block before to the same."""
        assert significance is not None  # blocks of a stage begin with a hybrid one
        normed = norm_tokens(self.norm, x)
        merged, bias = merge_both_orders(normed, significance, self.kinds, self.merge), None
        if self.is_for_openvino:
            count, merged = merged.shape[1], pad_keys(merged)
            bias = hide(merged, count)
        # `chunk` would specialize a captured graph to the number of images.
        by_row, by_column = merged.unflatten(0, (2, x.shape[0])).unbind()
        halves = self.kv_row.sections(by_row, 2), self.kv_column.sections(by_column, 2)
        out = attend([self.q(normed).flatten(1, 2), *_join_halves(*halves)], self.num_heads, bias)
        return self.project(out.view(x.shape), normed, x), significance


class FastPlain(FastAttention):
    """`PlainAttention`; queries, keys and values are one product."""

    def __init__(self, norm: nn.LayerNorm, slow: sg.PlainAttention) -> None:
        super().__init__(norm, slow)
        self.qkv = _pack(slow.q, slow.kv)

    def forward(self, x: Tensor, significance: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """[B, H, W, C] to the same."""
        normed = norm_tokens(self.norm, x)
        out = attend(self.qkv.sections(normed.flatten(1, 2), 3), self.num_heads)
        return self.project(out.view(x.shape), normed, x), significance


class FallbackAttention(nn.Module):
    """Any other attention, of a model to compare with: as it is, between the norm and the residual.

    Args:
        norm: The norm.
        slow: The attention.
    """

    def __init__(self, norm: nn.LayerNorm, slow: sg.Attention) -> None:
        super().__init__()
        self.norm, self.attn = norm, slow

    def forward(self, x: Tensor, significance: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """[B, H, W, C] and the latest significance map to the next of both."""
        attended, significance = sg.run_attention(self.attn, self.norm(x), significance)
        return x + attended, significance


_FASTER: dict[type[sg.Attention], Any] = {
    sg.HybridAttention: FastHybrid,
    sg.SelfGuidedAttention: FastGuided,
    sg.PlainAttention: FastPlain,
}


class FastBlock(nn.Module):
    """`Block` without what only training needs."""

    def __init__(self, slow: sg.Block) -> None:
        super().__init__()
        self.attn = _FASTER.get(type(slow.attn), FallbackAttention)(slow.norm1, slow.attn)
        self.mlp = FastConvMlp(slow.norm2, slow.mlp)

    def forward(self, x: Tensor, significance: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """[B, H, W, C] and the latest significance map to the next of both."""
        x, significance = self.attn(x, significance)
        return self.mlp(x), significance


class FastSgFormer(sg.SgFormer):
    """`SgFormer` for inference; its position embedding is resampled only where the size asks for it.

    A compiled model has a graph for the size that the embedding has, and one for all others.
    """

    def position(self, size: Size) -> Tensor:
        """Position embedding for a map of ``size`` tokens, [1, H, W, C]."""
        if torch.compiler.is_exporting() or size != self.pos_embed_size:
            return super().position(size)
        return self.pos_embed.unflatten(1, self.pos_embed_size)


def _join_halves(by_row: list[Tensor], by_column: list[Tensor]) -> list[Tensor]:
    """Keys and values of half of the heads each, [B, m, C] or apart, to those of all, [B, m, 2C] or apart."""
    if len(by_row) > 1:
        return [torch.cat(halves, dim=-1) for halves in zip(by_row, by_column, strict=True)]
    halves = by_row[0].chunk(2, dim=-1), by_column[0].chunk(2, dim=-1)
    return [torch.cat([half[part] for part in (0, 1) for half in halves], dim=-1)]


def _pack(*linears: nn.Linear) -> PackedLinear:
    """Linear layers that read the same tokens, as one."""
    biases = tuple(linear.bias for linear in linears)
    bias = None if any(one is None for one in biases) else torch.cat(biases)
    return PackedLinear(torch.cat(tuple(linear.weight for linear in linears)), bias)
