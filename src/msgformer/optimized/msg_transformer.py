"""MSG-Transformer for inference: the same numbers as `msgformer.models.msg_transformer`, in fewer and larger steps.

These optimizations are exact, but not suited to a model that is still trained: the weights of norms are folded into the
layers that follow them, position biases are gathered once, residuals are added inside the products, and in a classifier
the last block computes messengers only.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from msgformer.kernels.cpu.attention import pad_bias
from msgformer.kernels.graph_capture import are_fixed
from msgformer.models import msg_transformer as msg
from msgformer.models.exchange import Corner
from msgformer.models.merging import OverlappingMerging, PatchEmbed
from msgformer.models.window import (
    Grid,
    Size,
    from_sequences,
    gather_neighbors,
    map_grid,
    map_size,
    replace_messengers,
    to_map,
    to_rows,
    to_sequences,
    window_grid,
)
from msgformer.models.window_attention import WindowAttention
from msgformer.optimized import products
from msgformer.optimized.ops import attend, norm_tokens, pad_keys
from msgformer.optimized.packed import PackedConv2d, PackedLinear, fold_norm, is_packable


class FastAttention(nn.Module):
    """Norm, window attention and residual (eq. 2).

    Args:
        norm: Norm before the attention.
        source: Attention to optimize.
    """

    bias: Tensor
    is_for_openvino = False

    def __init__(self, norm: nn.LayerNorm, source: WindowAttention) -> None:
        super().__init__()
        self.num_heads = source.num_heads
        weight, bias = fold_norm(norm, source.qkv)
        dim = source.proj.out_features
        self.qkv = PackedLinear(weight, bias, eps=norm.eps)
        self.messenger_query = PackedLinear(weight[:dim], bias[:dim], eps=norm.eps)
        self.key_value = PackedLinear(weight[dim:], bias[dim:], eps=norm.eps)
        self.proj = PackedLinear(source.proj.weight, source.proj.bias)
        self.register_buffer("bias", pad_bias(source.position_bias().detach().unsqueeze(0)))

    def forward(self, x: Tensor) -> Tensor:
        """Apply norm, attention and residual to window tokens [B * n, N, C]; same shape."""
        qkv, proj = self.qkv.panels_for(x), self.proj.panels_for(x)
        if qkv is None or proj is None or not products.is_window_supported(x, self.num_heads):
            return self.proj(self.attended(x), x)
        layers = qkv, self.qkv.bias, proj, self.proj.bias
        return products.window_attention(x, *layers, self.bias, self.num_heads, self.qkv.kernel_eps)

    def attended(self, x: Tensor) -> Tensor:
        """Compute the input of the output projection, [B * n, N, C]."""
        qkv = self.qkv.sections(x, 3)
        if self.is_for_openvino:
            query, *key_value = qkv
            qkv = [query, *map(pad_keys, key_value)]  # the bias masks the added keys
        return attend(qkv, self.num_heads, self.bias)

    def messengers(self, x: Tensor) -> Tensor:
        """Compute the messengers [B * n, C] only, of window tokens [B * n, N, C]."""
        qkv = [self.messenger_query(x[:, :1]), *self.key_value.sections(x, 2)]
        return self.proj(attend(qkv, self.num_heads, self.bias[:, :, :1]).flatten(1), x[:, 0])


class FastMlp(nn.Module):
    """Norm, MLP and residual (eq. 4).

    Args:
        norm: Norm before the MLP.
        source: MLP to optimize.
    """

    def __init__(self, norm: nn.LayerNorm, source: Any) -> None:
        super().__init__()
        self.fc1 = PackedLinear(*fold_norm(norm, source.fc1), activation="gelu", eps=norm.eps)
        self.fc2 = PackedLinear(source.fc2.weight, source.fc2.bias)

    def forward(self, x: Tensor) -> Tensor:
        """Apply norm, MLP and residual to tokens [..., C]; same shape."""
        first, second = self.fc1.panels_for(x), self.fc2.panels_for(x)
        if first is None or second is None:
            return self.fc2(self.fc1(x), x)
        return products.mlp(x, first, self.fc1.bias, second, self.fc2.bias, self.fc1.kernel_eps)


class FastBlock(nn.Module):
    """`Block` for inference (eq. 2 to 4)."""

    def __init__(self, source: msg.Block) -> None:
        super().__init__()
        self.corner: Corner = source.corner
        self.attn = FastAttention(source.norm1, source.attn)
        self.exchange = source.exchange
        self.mlp = FastMlp(source.norm2, source.mlp)

    def forward(self, x: Tensor, plan: Any) -> Tensor:
        """Apply equations 2 to 4.

        Args:
            x: Window tokens [B * n, N, C].
            plan: Plan of the exchange for this grid and corner.

        Returns:
            Updated tokens [B * n, N, C].
        """
        if torch.compiler.is_exporting():
            return self.mlp(self._attend_and_exchange(x, plan))
        x = self.attn(x)
        return self.mlp(replace_messengers(x, self.exchange(x[:, 0].clone(), plan)))

    def _attend_and_exchange(self, x: Tensor, plan: Any) -> Tensor:
        """Add the residual and replace messengers in one step; runtimes of exported files would copy all tokens."""
        update = self.attn.proj(self.attn.attended(x))
        messengers = self.exchange(x[:, 0] + update[:, 0], plan)
        is_messenger = torch.arange(x.shape[1], device=x.device).unsqueeze(1) == 0  # [N, 1]
        return torch.where(is_messenger, messengers.unsqueeze(1), x + update)

    def messengers(self, x: Tensor, plan: Any) -> Tensor:
        """Compute the messengers only.

        Args:
            x: Window tokens [B * n, N, C].
            plan: Plan of the exchange for this grid and corner.

        Returns:
            Messengers [B * n, C].
        """
        return self.mlp(self.exchange(self.attn.messengers(x), plan))


class TokenNorm(nn.Module):
    """A norm of tokens or maps of tokens.

    Args:
        norm: Norm to optimize.
    """

    def __init__(self, norm: nn.LayerNorm) -> None:
        super().__init__()
        self.norm = norm

    def forward(self, x: Tensor) -> Tensor:
        """Normalize tokens [..., C]; same shape."""
        return norm_tokens(self.norm, x)


def fast_patch_embed(source: PatchEmbed) -> PatchEmbed:
    """Optimize a `PatchEmbed` in place."""
    source.norm = TokenNorm(source.norm)  # type: ignore[assignment]
    return source


class FastMerging(nn.Module):
    """`OverlappingMerging` as a matrix product where neither oneDNN nor a runtime computes the convolution.

    The weight of the product is laid out token by token: in the convolution's layout the channels of a token are nine
    numbers apart.

    Args:
        source: Token merging to optimize.
    """

    def __init__(self, source: OverlappingMerging) -> None:
        super().__init__()
        weight = source.reduction.weight
        self.conv = PackedConv2d(source.reduction)
        self.product = PackedLinear(weight.permute(0, 2, 3, 1).flatten(1), source.reduction.bias)
        self.norm = TokenNorm(source.norm)

    def forward(self, x: Tensor) -> Tensor:
        """Merge patch tokens [B, H, W, C] to [B, ceil(H / 2), ceil(W / 2), 2C]."""
        if is_packable(x, self.conv.weight) or torch.compiler.is_exporting():
            return self._merge_map(x)
        merged = Grid(x.shape[0], *window_grid(map_size(x), (2, 2)))
        return to_map(self.merge_messengers(to_rows(x), map_grid(x)), merged)

    def merge_messengers(self, x: Tensor, grid: Grid) -> Tensor:
        """Merge messengers.

        Args:
            x: Messengers [B * nH * nW, C].
            grid: Sizes B, nH and nW.

        Returns:
            Merged messengers [B * ceil(nH / 2) * ceil(nW / 2), 2C].
        """
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

    def __init__(self, source: msg.Stage) -> None:
        super().__init__()
        self.window_size: Size = source.window_size
        self.downsample = source.downsample
        self.blocks: Any = nn.ModuleList(FastBlock(block) for block in source.blocks)

    def forward(self, patches: Tensor, messengers: Tensor, only_messengers: bool = False) -> tuple[Tensor, Tensor]:
        """Merge tokens, then run all blocks.

        Args:
            patches: Patch tokens of the previous stage, [B, H, W, C].
            messengers: Messengers of the previous stage, [B * n, C].
            only_messengers: In the last block, compute messengers only; the returned map is the input of the first
                block.

        Returns:
            Patch tokens [B, H', W', C'] and messengers [B * n', C'] of this stage.
        """
        x, plans, patches = self._enter(patches, messengers)
        *blocks, last = self.blocks
        for block in blocks:
            x = block(x, plans[block.corner])
        if only_messengers:
            return patches, last.messengers(x, plans[last.corner])
        x = last(x, plans[last.corner])
        return from_sequences(x, self.window_size, patches.shape[0], map_size(patches))

    def grid(self, patches: Tensor) -> Grid:
        """Sizes B, nH and nW of the windows that cover a map [B, H, W, C]."""
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
    """`MsgTransformer` for inference; as a classifier, its last block computes messengers only."""

    def forward(self, x: Tensor) -> Tensor:
        """Classify images [B, 3, S, T]; return logits [B, classes]."""
        *_, (patches, messengers) = self.forward_stages(x, only_messengers=True)
        return self.classify(patches, messengers)


def join_windows(patches: Tensor, messengers: Tensor, window: Size) -> Tensor:
    """Compute `to_sequences` in one copy where the map consists of whole windows (eq. 1).

    Args:
        patches: Patch tokens [B, H, W, C].
        messengers: Messengers [B * nH * nW, C].
        window: Height h and width w of a window.

    Returns:
        Window tokens [B * nH * nW, 1 + h * w, C].
    """
    batch, height, width, dim = patches.shape
    (rows, cols), (tall, wide) = window_grid((height, width), window), window
    if torch.compiler.is_compiling() or (rows * tall, cols * wide) != (height, width):
        return to_sequences(patches, messengers, window)
    x = patches.new_empty(batch * rows * cols, 1 + tall * wide, dim)
    x[:, 0] = messengers
    windows = patches.view(batch, rows, tall, cols, wide, dim).transpose(2, 3)
    x[:, 1:].view(batch, rows, cols, tall, wide, dim).copy_(windows)
    return x
