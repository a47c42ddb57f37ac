"""SG-Former: global self-attention over tokens that are merged more coarsely where their significance is low.

Ren et al., "SG-Former: Self-guided Transformer with Evolving Token Reallocation", ICCV 2023, arXiv 2308.12216. The
PyTorch implementation, `msgformer.models.sg_former`, has classes of the same names.

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

from typing import Any

import mindspore as ms
import numpy as np
from mindspore import Parameter, Tensor, nn, ops
from mindspore.common.initializer import Normal

from msgformer.mindspore.backbone import Backbone, check_stages
from msgformer.mindspore.layers import Conv2d, DropPath, LayerNorm, Linear, drop_path_rates
from msgformer.mindspore.reallocation import MERGE_KINDS, merge_groups, rank_by_column, rank_by_row
from msgformer.mindspore.resampling import resample_bicubic
from msgformer.mindspore.window import (
    Size,
    from_windows,
    map_size,
    pad_to_multiple,
    to_2tuple,
    to_rows,
    to_windows,
    window_grid,
)


def convolution(inputs: int, outputs: int, kernel: int, **settings: Any) -> Conv2d:
    """Create a convolution with weights of standard deviation sqrt(2 / fan_out) and zero bias.

    Args:
        inputs: Channels of the input.
        outputs: Channels of the output.
        kernel: Side of the kernel.
        **settings: Further arguments of `Conv2d`.
    """
    fan_out = kernel**2 * (1 if settings.get("depthwise") else outputs)
    init = dict(weight_init=Normal((2.0 / fan_out) ** 0.5), bias_init="zeros")
    return Conv2d(inputs, outputs, kernel, **settings, **init)


def depthwise(dim: int, stride: int = 1, bias: bool = True) -> Conv2d:
    """Create a depth-wise 3 x 3 convolution.

    Args:
        dim: Channels C.
        stride: Stride of the kernel.
        bias: Whether there is a bias.
    """
    return convolution(dim, dim, 3, stride=stride, padding=1, depthwise=True, bias=bias)


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


class ConvNorm(nn.Cell):
    """Convolution without bias, then a GroupNorm of one group."""

    def __init__(self, conv: Conv2d) -> None:
        super().__init__()
        self.conv = conv
        self.norm = LayerNorm(conv.out_channels, whole=True)

    def construct(self, x: Tensor) -> Tensor:
        """Convolve and normalize a map [B, H, W, C]; return [B, H', W', C']."""
        return self.norm(self.conv(x))


class ConvStack(nn.Cell):
    """Three `ConvNorm` with GELU between them."""

    def __init__(self, *convs: Conv2d) -> None:
        super().__init__()
        self.layers = nn.CellList([ConvNorm(conv) for conv in convs])
        self.act = nn.GELU(approximate=False)

    def construct(self, x: Tensor) -> Tensor:
        """Apply the layers to a map [B, H, W, C]; return [B, H', W', C']."""
        for index, layer in enumerate(self.layers):  # slicing would create a new list, and rename its parameters
            x = layer(self.act(x) if index else x)
        return x


class PatchEmbed(ConvStack):
    """Projects an image to tokens of stride 4 by three 3 x 3 convolutions.

    Args:
        in_chans: Channels of the image.
        dim: Channels C of a token.
    """

    def __init__(self, in_chans: int, dim: int) -> None:
        super().__init__(
            convolution(in_chans, dim, 3, stride=2, padding=1, bias=False),
            convolution(dim, dim, 3, padding=1, bias=False),
            convolution(dim, dim, 3, stride=2, padding=1, bias=False),
        )
        self.norm = LayerNorm(dim)

    def construct(self, image: Tensor) -> Tensor:
        """Project images [B, 3, S, T] to tokens [B, ceil(S / 4), ceil(T / 4), C]."""
        return self.norm(super().construct(image.transpose(0, 2, 3, 1)))


class Downsample(ConvStack):
    """Halves the resolution between two stages.

    Args:
        dim: Channels C of the input tokens.
        out_dim: Channels of the output tokens.
    """

    def __init__(self, dim: int, out_dim: int) -> None:
        super().__init__(
            convolution(dim, out_dim, 1, bias=False),
            depthwise(out_dim, stride=2, bias=False),
            convolution(out_dim, out_dim, 1, bias=False),
        )


class LocalPosition(nn.Cell):
    """Local positional term of every attention: a linear layer, then a depth-wise convolution.

    Args:
        dim: Channels C.
    """

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.linear = Linear(dim, dim)
        self.conv = depthwise(dim)

    def construct(self, x: Tensor) -> Tensor:
        """Compute the positional term of a map [B, H, W, C]; same shape."""
        return self.conv(self.linear(x))


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


class ConvMlp(nn.Cell):
    """MLP with a depth-wise convolution: y = fc1(x), y = GELU(y + conv(y)), fc2(y).

    Args:
        dim: Channels C.
        hidden: Channels between the two linear layers.
        drop: Dropout rate after each linear layer.
    """

    def __init__(self, dim: int, hidden: int, drop: float) -> None:
        super().__init__()
        self.fc1 = Linear(dim, hidden)
        self.dwconv = depthwise(hidden)
        self.act = nn.GELU(approximate=False)
        self.fc2 = Linear(hidden, dim)
        self.drop = nn.Dropout(p=drop)

    def construct(self, x: Tensor) -> Tensor:
        """Apply the MLP to a map [B, H, W, C]; same shape."""
        x = self.fc1(x)
        x = self.drop(self.act(x + self.dwconv(x)))
        return self.drop(self.fc2(x))


class Block(nn.Cell):
    """Attention and MLP with residuals; hybrid blocks compute a significance map, self-guided blocks use it.

    Args:
        dim: Channels C.
        attn: The attention.
        mlp_ratio: Hidden channels of the MLP relative to C.
        proj_drop: Dropout rate inside the MLP.
        drop_path: Drop path rate of both residual branches.
    """

    def __init__(self, dim: int, attn: Attention, mlp_ratio: float, proj_drop: float, drop_path: float) -> None:
        super().__init__()
        self.is_hybrid = isinstance(attn, HybridAttention)  # graphs do not support isinstance
        self.is_self_guided = isinstance(attn, SelfGuidedAttention)
        self.norm1 = LayerNorm(dim, eps=1e-6)
        self.attn = attn
        self.drop_path1 = DropPath(drop_path)
        self.norm2 = LayerNorm(dim, eps=1e-6)
        self.mlp = ConvMlp(dim, int(dim * mlp_ratio), proj_drop)
        self.drop_path2 = DropPath(drop_path)

    def construct(self, x: Tensor, significance: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """Apply attention and MLP.

        Args:
            x: Map [B, H, W, C].
            significance: Latest significance map [B, H, W]; None before the first hybrid block.

        Returns:
            Updated map [B, H, W, C] and the latest significance map [B, H, W].
        """
        normed, batch = self.norm1(x), x.shape[0]
        if self.is_hybrid:
            attended, significance = self.attn(normed)
        elif self.is_self_guided:
            attended = self.attn(normed, significance)
        else:
            attended = self.attn(normed)
        x = x + self.drop_path1(attended, batch)
        return x + self.drop_path2(self.mlp(self.norm2(x)), batch), significance


class Stage(nn.Cell):
    """Downsampling, blocks at one resolution, and a norm.

    Args:
        downsample: Halves the resolution before the first block; the identity in stage 1.
        dim: Channels C.
        drop_path: Drop path rate of each block.
        reduction: Reduction ratio r; 1 for plain attention in all blocks.
        window: Height and width of a window.
        mlp_ratio: Hidden channels of the MLPs relative to C.
        **attention_args: Arguments of `Attention`.
    """

    def __init__(
        self,
        downsample: nn.Cell,
        dim: int,
        drop_path: list[float],
        reduction: int,
        window: Size,
        mlp_ratio: float,
        **attention_args: Any,
    ) -> None:
        super().__init__()
        self.downsample = downsample
        self.blocks = nn.CellList()
        for index, rate in enumerate(drop_path):
            attn: Attention
            if reduction == 1:
                attn = PlainAttention(dim, **attention_args)
            elif index % 2 == 0:
                attn = HybridAttention(dim, reduction=reduction, window=window, **attention_args)
            else:
                attn = SelfGuidedAttention(dim, reduction=reduction, **attention_args)
            self.blocks.append(Block(dim, attn, mlp_ratio, attention_args["proj_drop"], rate))
        self.norm = LayerNorm(dim, eps=1e-6)

    def construct(self, x: Tensor) -> Tensor:
        """Run the stage on the previous map [B, H, W, C]; return this stage's map [B, H', W', C']."""
        x = self.downsample(x)
        significance = None
        for block in self.blocks:
            x, significance = block(x, significance)
        return self.norm(x)


class SgFormer(Backbone):
    """SG-Former.

    Images of any size work; MindSpore compiles one graph per size. Every stage ends with its own LayerNorm, so the maps
    of `forward_stages` are normalized.

    Args:
        img_size: Image size of the position embedding, which is resampled for every other size.
        in_chans: Channels of the image.
        num_classes: Number of classes; with 0, `construct` returns pooled tokens.
        global_pool: Pooling of the last stage's tokens: 'avg', 'max', or '' for none.
        embed_dims: Channels per stage.
        depths: Number of blocks per stage.
        num_heads: Attention heads per stage.
        reductions: Reduction ratio r per stage: 8, 4 or 2, or 1 for plain attention.
        window_size: Side of a window in tokens, or its height and width.
        attention: 'hybrid'; MindSpore does not have the ablations of the PyTorch model.
        reallocation: 'significance', likewise.
        local_position: True, likewise.
        mlp_ratio: Hidden channels of the MLPs relative to C.
        qkv_bias: Whether queries, keys and values have a bias.
        drop_rate: Dropout rate before the classifier.
        proj_drop_rate: Dropout rate after projections.
        attn_drop_rate: Dropout rate of attention weights.
        drop_path_rate: Drop path rate of the last block; it rises linearly from 0 at the first block.

    Raises:
        ValueError: Settings contradict each other or are not available; the message names them.
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
    ) -> None:
        check_supported("attention", attention, "hybrid")
        check_supported("reallocation", reallocation, "significance")
        check_supported("local_position", local_position, True)
        check_stages(embed_dims=embed_dims, depths=depths, num_heads=num_heads, reductions=reductions)
        for dim, heads, ratio in zip(embed_dims, num_heads, reductions, strict=True):
            check_attention(dim, heads, ratio)
        super().__init__(img_size, in_chans, num_classes, list(embed_dims), global_pool, drop_rate)
        self.pos_embed_size: Size = window_grid(self.img_size, (4, 4))
        self.patch_embed = PatchEmbed(in_chans, embed_dims[0])
        self.pos_embed = Parameter(Tensor(sincos_position(self.pos_embed_size, embed_dims[0])))
        drop_path = drop_path_rates(drop_path_rate, depths)
        self.stages = nn.CellList(
            [
                Stage(
                    Downsample(embed_dims[index - 1], dim) if index else nn.Identity(),
                    dim,
                    drop_path[index],
                    reductions[index],
                    to_2tuple(window_size),
                    mlp_ratio,
                    num_heads=num_heads[index],
                    qkv_bias=qkv_bias,
                    attn_drop=attn_drop_rate,
                    proj_drop=proj_drop_rate,
                )
                for index, dim in enumerate(embed_dims)
            ]
        )

    def position(self, size: Size) -> Tensor:
        """Return the position embedding for a map of ``size`` tokens, [1, H, W, C]."""
        height, width = self.pos_embed_size
        grid = self.pos_embed.reshape(1, height, width, -1)
        return grid if size == self.pos_embed_size else resample_bicubic(grid, size)

    def forward_stages(self, x: Tensor) -> list[Tensor]:
        """Run the stages on images [B, 3, S, T]; return each stage's normalized map [B, H, W, C]."""
        x = self.patch_embed(x)
        x = x + self.position(map_size(x))
        outputs = []
        for stage in self.stages:
            x = stage(x)
            outputs.append(x)
        return outputs

    def final_features(self, outputs: Tensor) -> Tensor:
        """Return the last stage's map [B, H, W, C], which its stage has normalized."""
        return outputs


def check_supported(setting: str, value: str | bool, supported: str | bool) -> None:
    """Check that MindSpore supports a setting; the PyTorch model has more.

    Args:
        setting: Name of the setting.
        value: Its value.
        supported: The only supported value.

    Raises:
        ValueError: Naming the setting and both values.
    """
    if value != supported:
        raise ValueError(f"no {setting} {value!r} for MindSpore, known: {supported!r}")


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


def sincos_position(size: Size, dim: int) -> np.ndarray:
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
    frequencies = 10000.0 ** -(np.arange(dim // 4) / (dim // 4))
    token = np.arange(size[0] * size[1])
    parts = []
    for place in (token % size[1], token // size[1]):
        angles = place[:, None] * frequencies
        parts += [np.sin(angles), np.cos(angles)]
    return np.concatenate(parts, axis=1).astype(np.float32)[None]


def sgformer_small(**kwargs: Any) -> SgFormer:
    """SG-Former-S."""
    args = dict(embed_dims=(64, 128, 256, 512), depths=(2, 4, 16, 1), num_heads=(2, 4, 8, 16), drop_path_rate=0.1)
    return SgFormer(**{**args, **kwargs})


def sgformer_medium(**kwargs: Any) -> SgFormer:
    """SG-Former-M."""
    args = dict(embed_dims=(64, 128, 256, 512), depths=(2, 6, 28, 2), num_heads=(2, 4, 8, 16), drop_path_rate=0.2)
    return SgFormer(**{**args, **kwargs})


def sgformer_base(**kwargs: Any) -> SgFormer:
    """SG-Former-B."""
    args = dict(embed_dims=(96, 192, 384, 768), depths=(4, 6, 24, 2), num_heads=(4, 6, 12, 24), drop_path_rate=0.4)
    return SgFormer(**{**args, **kwargs})
