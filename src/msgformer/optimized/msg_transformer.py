"""MSG-Transformer for inference: the same numbers as `msgformer.models.msg_transformer`, in fewer and larger steps.

What is exact but does not belong in a model that is still trained: norms' weights folded into the layers that follow
them, position biases gathered once, residuals added inside the products, and, for a classifier, only the messengers'
half of the last block.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from msgformer.kernels.cpu.attention import padded
from msgformer.models import msg_transformer as msg
from msgformer.models.exchange import Corner
from msgformer.models.window import (
    Grid,
    Size,
    are_fixed,
    map_grid,
    map_size,
    gather_neighbors,
    to_map,
    to_rows,
    window_grid,
)
from msgformer.optimized import products
from msgformer.optimized.ops import attend, pad_keys, norm_tokens
from msgformer.optimized.packed import PackedConv2d, PackedLinear, fold_norm, is_packable


class FastAttention(nn.Module):
    """The norm before the attention, the attention, and the residual.

    Args:
        norm: The norm.
        slow: The attention.
    """

    bias: Tensor
    is_for_openvino = False

    def __init__(self, norm: nn.LayerNorm, slow: msg.WindowAttention) -> None:
        super().__init__()
        self.num_heads = slow.num_heads
        weight, bias = fold_norm(norm, slow.qkv)
        dim = slow.proj.out_features
        self.qkv = PackedLinear(weight, bias, eps=norm.eps)
        self.messenger_query = PackedLinear(weight[:dim], bias[:dim], eps=norm.eps)
        self.key_value = PackedLinear(weight[dim:], bias[dim:], eps=norm.eps)
        self.proj = PackedLinear(slow.proj.weight, slow.proj.bias)
        self.register_buffer("bias", padded(slow.position_bias().detach().unsqueeze(0)))

    def forward(self, x: Tensor) -> Tensor:
        """Sequences [B * n, N, C] to the same."""
        qkv, proj = self.qkv.panels_for(x), self.proj.panels_for(x)
        if qkv is None or proj is None or not products.is_window_supported(x, self.num_heads):
            return self.proj(self.attended(x), x)
        layers = qkv, self.qkv.bias, proj, self.proj.bias
        return products.window_attention(x, *layers, self.bias, self.num_heads, self.qkv.kernel_eps)

    def attended(self, x: Tensor) -> Tensor:
        """What the projection reads, [B * n, N, C]."""
        given = self.qkv.sections(x, 3)
        if self.is_for_openvino:
            query, *key_value = given
            given = [query, *map(pad_keys, key_value)]  # the bias hides what was added
        return attend(given, self.num_heads, self.bias)

    def messengers(self, x: Tensor) -> Tensor:
        """Sequences [B * n, N, C] to their messengers alone, [B * n, C]."""
        given = [self.messenger_query(x[:, :1]), *self.key_value.sections(x, 2)]
        return self.proj(attend(given, self.num_heads, self.bias[:, :, :1]).flatten(1), x[:, 0])


class FastMlp(nn.Module):
    """The norm before the MLP, the MLP, and the residual.

    Args:
        norm: The norm.
        slow: The MLP.
    """

    def __init__(self, norm: nn.LayerNorm, slow: Any) -> None:
        super().__init__()
        self.fc1 = PackedLinear(*fold_norm(norm, slow.fc1), activation="gelu", eps=norm.eps)
        self.fc2 = PackedLinear(slow.fc2.weight, slow.fc2.bias)

    def forward(self, x: Tensor) -> Tensor:
        """[..., C] to the same."""
        first, second = self.fc1.panels_for(x), self.fc2.panels_for(x)
        if first is None or second is None:
            return self.fc2(self.fc1(x), x)
        return products.mlp(x, first, self.fc1.bias, second, self.fc2.bias, self.fc1.kernel_eps)


class FastBlock(nn.Module):
    """`Block` without what only training needs."""

    def __init__(self, slow: msg.Block) -> None:
        super().__init__()
        self.corner: Corner = slow.corner
        self.attn = FastAttention(slow.norm1, slow.attn)
        self.exchange = slow.exchange
        self.mlp = FastMlp(slow.norm2, slow.mlp)

    def forward(self, x: Tensor, plan: Any) -> Tensor:
        """Sequences [B * n, N, C] to the same."""
        if torch.compiler.is_exporting():
            return self.mlp(self._attend_and_exchange(x, plan))
        x = self.attn(x)
        return self.mlp(msg.replace_messengers(x, self.exchange(x[:, 0].clone(), plan)))

    def _attend_and_exchange(self, x: Tensor, plan: Any) -> Tensor:
        """Residual and other messengers chosen in one step: what runs files would copy all tokens behind messengers."""
        change = self.attn.proj(self.attn.attended(x))
        messengers = self.exchange(x[:, 0] + change[:, 0], plan)
        is_messenger = torch.arange(x.shape[1], device=x.device).unsqueeze(1) == 0  # [N, 1]
        return torch.where(is_messenger, messengers.unsqueeze(1), x + change)

    def messengers(self, x: Tensor, plan: Any) -> Tensor:
        """Sequences [B * n, N, C] to their messengers alone, [B * n, C]."""
        return self.mlp(self.exchange(self.attn.messengers(x), plan))


class TokenNorm(nn.Module):
    """A norm of tokens, which may be those of a map.

    Args:
        norm: The norm.
    """

    def __init__(self, norm: nn.LayerNorm) -> None:
        super().__init__()
        self.norm = norm

    def forward(self, x: Tensor) -> Tensor:
        """[..., C] to the same."""
        return norm_tokens(self.norm, x)


def fast_patch_embed(slow: msg.PatchEmbed) -> msg.PatchEmbed:
    """`PatchEmbed`, changed in place."""
    slow.norm = TokenNorm(slow.norm)  # type: ignore[assignment]
    return slow


class FastMerging(nn.Module):
    """`OverlappingMerging`, as a product where neither oneDNN nor what runs a file computes the convolution.

    The product's weight takes the tokens under the kernel one after the other: as the convolution has it, a token's
    channels are nine numbers apart, and would be gathered one by one.

    Args:
        slow: The merging.
    """

    def __init__(self, slow: msg.OverlappingMerging) -> None:
        super().__init__()
        weight = slow.reduction.weight
        self.conv = PackedConv2d(slow.reduction)
        self.product = PackedLinear(weight.permute(0, 2, 3, 1).flatten(1), slow.reduction.bias)
        self.norm = TokenNorm(slow.norm)

    def forward(self, x: Tensor) -> Tensor:
        """Patches [B, H, W, C] to [B, ceil(H / 2), ceil(W / 2), 2C]."""
        if is_packable(x, self.conv.weight) or torch.compiler.is_exporting():
            return self._merge_map(x)
        merged = Grid(x.shape[0], *window_grid(map_size(x), (2, 2)))
        return to_map(self.merge_messengers(to_rows(x), map_grid(x)), merged)

    def merge_messengers(self, x: Tensor, grid: Grid) -> Tensor:
        """Messengers [B * nH * nW, C] to [B * ceil(nH / 2) * ceil(nW / 2), 2C]."""
        is_exporting = torch.compiler.is_exporting()
        if is_exporting and are_fixed(grid.height, grid.width):
            return self._merge_map(to_map(x, grid)).flatten(0, 2)
        x = gather_neighbors(x, grid, stride=2, side=3, first=-1)  # [B * n, 9, C]
        if not is_exporting:
            return self.norm(self.product(x.flatten(1)))
        # A convolution would specialize the graph to grids of one window, or of several. The product uses the weight
        # of the convolution, because a file would otherwise hold it twice.
        return self.norm(F.linear(x.transpose(1, 2).flatten(1), self.conv.weight.flatten(1), self.conv.bias))

    def _merge_map(self, x: Tensor) -> Tensor:
        return self.norm(self.conv(x.permute(0, 3, 1, 2)).permute(0, 2, 3, 1))


class FastStage(nn.Module):
    """`Stage` for inference."""

    def __init__(self, slow: msg.Stage) -> None:
        super().__init__()
        self.window_size: Size = slow.window_size
        self.downsample = slow.downsample
        self.blocks: Any = nn.ModuleList(FastBlock(block) for block in slow.blocks)

    def forward(self, patches: Tensor, messengers: Tensor, only_messengers: bool = False) -> tuple[Tensor, Tensor]:
        """Map [B, H, W, C] and messengers [B * n, C] of the stage before to this stage's.

        With ``only_messengers`` the map is the one that the blocks began with.
        """
        x, plans, patches = self._enter(patches, messengers)
        *blocks, last = self.blocks
        for block in blocks:
            x = block(x, plans[block.corner])
        if only_messengers:
            return patches, last.messengers(x, plans[last.corner])
        x = last(x, plans[last.corner])
        return msg.from_sequences(x, self.window_size, patches.shape[0], map_size(patches))

    def grid(self, patches: Tensor) -> Grid:
        """B, nH and nW of the windows that cover a map."""
        return Grid(patches.shape[0], *window_grid(map_size(patches), self.window_size))

    def _enter(self, patches: Tensor, messengers: Tensor) -> tuple[Tensor, dict[Corner, Any], Tensor]:
        if self.downsample is not None:
            messengers = self.downsample.merge_messengers(messengers, self.grid(patches))
            patches = self.downsample(patches)
        x = join_windows(patches, messengers, self.window_size)
        grid = self.grid(patches)
        plans = {block.corner: block.exchange.plan(grid, block.corner, x.device) for block in self.blocks[:2]}
        return x, plans, patches


class FastMsgTransformer(msg.MsgTransformer):
    """`MsgTransformer` for inference; its last block computes messengers alone where only they are asked for."""

    def forward(self, x: Tensor) -> Tensor:
        """Image [B, 3, S, T] to logits [B, classes]."""
        *_, (patches, messengers) = self.forward_stages(x, only_messengers=True)
        return self.classify(patches, messengers)


def join_windows(patches: Tensor, messengers: Tensor, window: Size) -> Tensor:
    """`to_sequences`, in one copy where the map is made of whole windows."""
    batch, height, width, dim = patches.shape
    (rows, cols), (tall, wide) = window_grid((height, width), window), window
    if torch.compiler.is_compiling() or (rows * tall, cols * wide) != (height, width):
        return msg.to_sequences(patches, messengers, window)
    x = patches.new_empty(batch * rows * cols, 1 + tall * wide, dim)
    x[:, 0] = messengers
    windows = patches.view(batch, rows, tall, cols, wide, dim).transpose(2, 3)
    x[:, 1:].view(batch, rows, cols, tall, wide, dim).copy_(windows)
    return x
