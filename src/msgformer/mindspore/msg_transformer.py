"""MSG-Transformer: attention in local windows, and messenger (MSG) tokens that exchange information between windows.

Fang et al., "MSG-Transformer: Exchanging Local Spatial Information by Manipulating Messenger Tokens", CVPR 2022, arXiv
2105.15168. Sections, figures, tables and equations refer to this paper. The PyTorch implementation,
`msgformer.models.msg_transformer`, has classes of the same names.

Shapes: B images; H x W patch tokens with C channels; windows of h x w tokens (7 x 7 in the paper) in a grid of nH x nW,
n = nH * nW; N = 1 + h * w tokens per window, of which token 0 is the MSG token. Between stages, patch tokens are a map
[B, H, W, C] and messengers are [B * n, C]. Inside a stage they are one tensor [B * n, N, C].

Input sizes and padding: the image is zero-padded at the bottom and right to a multiple of 4 pixels, and the map of each
stage to whole windows. Padded tokens are ordinary tokens inside the stage and are cropped at its end.
"""

from __future__ import annotations

from typing import Any

import mindspore as ms
from mindspore import Parameter, Tensor, nn, ops
from mindspore.common.initializer import TruncatedNormal, initializer

from msgformer.mindspore.backbone import Backbone
from msgformer.mindspore.exchange import CORNERS, Corner, create_exchange
from msgformer.mindspore.layers import Conv2d, DropPath, LayerNorm, Linear, Mlp, drop_path_rates
from msgformer.mindspore.window import (
    Grid,
    Size,
    from_sequences,
    map_size,
    pad_to_multiple,
    to_2tuple,
    to_map,
    to_rows,
    to_sequences,
    window_grid,
)
from msgformer.model_parts import check_stages, relative_position_index


class PatchEmbed(nn.Cell):
    """Projects an image to patch tokens of stride 4 (section 3.2).

    Args:
        in_chans: Channels of the image.
        dim: Channels C of a token.
        overlapping: Use overlapping 7 x 7 patches as in the paper; otherwise the 4 x 4 patches of the first version.
    """

    def __init__(self, in_chans: int, dim: int, overlapping: bool) -> None:
        super().__init__()
        kernel, padding = (7, 2) if overlapping else (4, 0)
        self.proj = Conv2d(in_chans, dim, kernel, stride=4, padding=padding)
        self.norm = LayerNorm(dim)

    def construct(self, image: Tensor) -> Tensor:
        """Project an image to patch tokens.

        Args:
            image: Images [B, 3, S, T].

        Returns:
            Patch tokens [B, ceil(S / 4), ceil(T / 4), C].
        """
        # Pad to whole patches first: with padding 2, no patch would cover the last rows of an image of height 4k + 3.
        return self.norm(self.proj(pad_to_multiple(image.transpose(0, 2, 3, 1), (4, 4))))


class OverlappingMerging(nn.Cell):
    """Merges tokens by an overlapped 3 x 3 convolution with stride 2, shared by patch and MSG tokens (section 3.2).

    Args:
        dim: Channels C of the input tokens; the output has 2C.
    """

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.reduction = Conv2d(dim, 2 * dim, 3, stride=2, padding=1)
        self.norm = LayerNorm(2 * dim)

    def construct(self, x: Tensor) -> Tensor:
        """Merge patch tokens or the grid of messengers.

        Args:
            x: Tokens [B, H, W, C].

        Returns:
            Merged tokens [B, ceil(H / 2), ceil(W / 2), 2C].
        """
        return self.norm(self.reduction(x))


class NeighborMerging(nn.Cell):
    """Merges tokens as in the first version and in Swin: four neighbors are concatenated, normalized and reduced.

    Zeros complete an odd number of rows or columns.

    Args:
        dim: Channels C of the input tokens; the output has 2C.
    """

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.norm = LayerNorm(4 * dim)
        self.reduction = Linear(4 * dim, 2 * dim, bias=False)

    def construct(self, x: Tensor) -> Tensor:
        """Merge patch tokens or the grid of messengers.

        Args:
            x: Tokens [B, H, W, C].

        Returns:
            Merged tokens [B, ceil(H / 2), ceil(W / 2), 2C].
        """
        batch, rows, cols = x.shape[0], (x.shape[1] + 1) // 2, (x.shape[2] + 1) // 2
        x = pad_to_multiple(x, (2, 2)).reshape(batch, rows, 2, cols, 2, -1)
        x = x.transpose(0, 1, 3, 4, 2, 5)  # Swin's linear layer reads column by column
        return self.reduction(self.norm(x.reshape(batch, rows, cols, -1)))


class WindowAttention(nn.Cell):
    """Multi-head self-attention within each window, over its patch tokens and its MSG token (section 3.1, eq. 5 and 6).

    Args:
        dim: Channels C.
        num_heads: Attention heads.
        window: Height h and width w of a window.
        qkv_bias: Whether queries, keys and values have a bias.
        attn_drop: Dropout rate of attention weights.
        proj_drop: Dropout rate after the output projection.
    """

    def __init__(
        self, dim: int, num_heads: int, window: Size, qkv_bias: bool, attn_drop: float, proj_drop: float
    ) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.scale = Tensor(
            (dim // num_heads) ** -0.5, ms.float64
        )  # MindSpore converts Python numbers to single precision
        # Eq. 6: b^rel for pairs of patch tokens; theta_2 and theta_1, in this order, for pairs with the MSG token.
        table = ((2 * window[0] - 1) * (2 * window[1] - 1), num_heads)
        self.relative_position_bias_table = Parameter(initializer(TruncatedNormal(0.02), table))
        self.rel_pos_msg = Parameter(initializer(TruncatedNormal(0.02), (num_heads, 2, 1, 1)))
        self.bias_index = Tensor(relative_position_index(window).reshape(-1), ms.int32)
        self.qkv = Linear(dim, 3 * dim, bias=qkv_bias)
        self.matmul_qk, self.matmul_av = (
            ops.BatchMatMul(transpose_b=True),
            ops.BatchMatMul(),
        )  # far faster than ops.matmul
        self.attn_drop = nn.Dropout(p=attn_drop)
        self.proj = Linear(dim, dim)
        self.proj_drop = nn.Dropout(p=proj_drop)

    def position_bias(self) -> Tensor:
        """Return the position bias B of eq. 6, flattened [heads, N * N]; rows are queries."""
        messenger = self.rel_pos_msg.reshape(self.num_heads, 2)
        entries = ops.cat((self.relative_position_bias_table.transpose(1, 0), messenger), 1)
        return ops.gather(entries, self.bias_index, 1)

    def construct(self, x: Tensor) -> Tensor:
        """Attend within windows (eq. 5).

        Args:
            x: Window tokens [B * n, 1 + h * w, C]; token 0 is the MSG token.

        Returns:
            Updated tokens, same shape as `x`.
        """
        windows, tokens, dim = x.shape
        qkv = self.qkv(x).reshape(windows, tokens, 3, self.num_heads, dim // self.num_heads)
        qkv = qkv.transpose(2, 0, 3, 1, 4)
        query, key, value = qkv[0], qkv[1], qkv[2]  # each [B * n, heads, N, C / heads]
        scores = self.matmul_qk(query * self.scale.astype(x.dtype), key)
        scores = scores + self.position_bias().reshape(self.num_heads, tokens, tokens)
        out = self.matmul_av(self.attn_drop(ops.softmax(scores, -1)), value)
        out = out.swapaxes(1, 2).reshape(windows, tokens, dim)
        return self.proj_drop(self.proj(out))


class Block(nn.Cell):
    """MSG-Transformer block: local self-attention, exchange between messengers, MLP (Figure 1, eq. 2 to 4).

    Args:
        dim: Channels C.
        num_heads: Attention heads.
        window: Height h and width w of a window.
        exchange: Name of the exchange operator, see `msgformer.mindspore.exchange`.
        region: Largest side R of the shuffle regions, in windows.
        corner: Corner at which regions are anchored.
        mlp_ratio: Hidden channels of the MLP relative to C.
        qkv_bias: Whether queries, keys and values have a bias.
        attn_drop: Dropout rate of attention weights.
        proj_drop: Dropout rate after projections.
        drop_path: Drop path rate of both residual branches.
    """

    def __init__(
        self,
        dim: int,
        num_heads: int,
        window: Size,
        exchange: str,
        region: int,
        corner: Corner,
        mlp_ratio: float,
        qkv_bias: bool,
        attn_drop: float,
        proj_drop: float,
        drop_path: float,
    ) -> None:
        super().__init__()
        self.norm1 = LayerNorm(dim)
        self.attn = WindowAttention(dim, num_heads, window, qkv_bias, attn_drop, proj_drop)
        self.drop_path1 = DropPath(drop_path)
        self.exchange = create_exchange(exchange, dim, region, corner)
        self.norm2 = LayerNorm(dim)
        self.mlp = Mlp(dim, int(dim * mlp_ratio), proj_drop)
        self.drop_path2 = DropPath(drop_path)

    def construct(self, x: Tensor, grid: Grid) -> Tensor:
        """Apply equations 2 to 4.

        Args:
            x: Window tokens X'_w [B * n, N, C].
            grid: Sizes B, nH and nW.

        Returns:
            Updated tokens [B * n, N, C].
        """
        # X'_w = Local-MSA(LN(X'_w)) + X'_w (eq. 2)
        x = x + self.drop_path1(self.attn(self.norm1(x)), grid[0])
        # T_MSG = shuffle(T_MSG) (eq. 3)
        msg_tokens = self.exchange(x[:, 0], grid)
        x = ops.cat((msg_tokens.expand_dims(1), x[:, 1:]), 1)
        # X'_w = MLP(LN(X'_w)) + X'_w (eq. 4)
        return x + self.drop_path2(self.mlp(self.norm2(x)), grid[0])


class Stage(nn.Cell):
    """Token merging, then blocks at one resolution (Figure 2).

    Patch tokens are partitioned into windows once, and merged back to a map at the end.

    Args:
        downsample: Token merging before the first block; None in stage 1.
        dim: Channels C inside the stage.
        depth: Number of blocks.
        drop_path: Drop path rate of each block.
        **block_args: Arguments of `Block` shared by all blocks.
    """

    def __init__(self, downsample: Any, dim: int, depth: int, drop_path: list[float], **block_args: Any) -> None:
        super().__init__()
        self.window_size: Size = block_args["window"]
        self.downsample = downsample
        # Alternate corners: regions of one corner cover the windows that the other corner leaves over (section 4.2).
        self.blocks = nn.CellList(
            [Block(dim, corner=CORNERS[index % 2], drop_path=drop_path[index], **block_args) for index in range(depth)]
        )

    def construct(self, patches: Tensor, messengers: Tensor) -> tuple[Tensor, Tensor]:
        """Merge tokens, then run all blocks.

        Args:
            patches: Patch tokens of the previous stage, [B, H, W, C].
            messengers: Messengers of the previous stage, [B * n, C].

        Returns:
            Patch tokens [B, H', W', C'] and messengers [B * n', C'] of this stage. After stage 1, both sides of the map
            and of the window grid are halved (rounded up), and C doubles. ceil(ceil(H / 2) / h) equals ceil(ceil(H / h)
            / 2), so every window still has one messenger.
        """
        if self.downsample is not None:
            messengers = to_rows(self.downsample(to_map(messengers, self.grid(patches))))
            patches = self.downsample(patches)
        grid = self.grid(patches)
        x = to_sequences(patches, messengers, self.window_size)
        for block in self.blocks:
            x = block(x, grid)
        return from_sequences(x, self.window_size, grid[0], map_size(patches))

    def grid(self, patches: Tensor) -> Grid:
        """Sizes B, nH and nW of the windows that cover a map [B, H, W, C]."""
        rows, cols = window_grid(map_size(patches), self.window_size)
        return patches.shape[0], rows, cols


class MsgTransformer(Backbone):
    """MSG-Transformer (section 3.2, Figure 2, Table 1).

    Images of any size work; MindSpore compiles one graph per size. For classification, the normalized messengers of the
    last stage are pooled (at 224 x 224 there is one). `forward_stages` returns the patch maps of all stages.

    Args:
        img_size: Intended image size; no parameter depends on it.
        in_chans: Channels of the image.
        num_classes: Number of classes; with 0, `construct` returns pooled messengers.
        global_pool: Pooling of the last stage's messengers: 'avg', 'max', or '' for none.
        embed_dim: Channels of stage 1; each later stage has twice as many.
        depths: Number of blocks per stage.
        num_heads: Attention heads per stage.
        window_size: Side of a window in tokens, or its height and width.
        shuffle_sizes: Largest side R of the shuffle regions per stage, in windows (Table 1).
        exchange: Name of the exchange operator, see `msgformer.mindspore.exchange`.
        overlapping: Use overlapping patches and token merging as in the paper; otherwise those of the first version.
        mlp_ratio: Hidden channels of the MLPs relative to C.
        qkv_bias: Whether queries, keys and values have a bias.
        drop_rate: Dropout rate before the classifier.
        proj_drop_rate: Dropout rate after projections.
        attn_drop_rate: Dropout rate of attention weights.
        drop_path_rate: Drop path rate of the last block; it rises linearly from 0 at the first block.

    Raises:
        ValueError: Settings contradict each other; the message names them.
    """

    def __init__(
        self,
        img_size: int | Size = 224,
        in_chans: int = 3,
        num_classes: int = 1000,
        global_pool: str = "avg",
        embed_dim: int = 64,
        depths: tuple[int, ...] = (2, 4, 12, 4),
        num_heads: tuple[int, ...] = (2, 4, 8, 16),
        window_size: int | Size = 7,
        shuffle_sizes: tuple[int, ...] = (4, 4, 8, 4),
        exchange: str = "shuffle",
        overlapping: bool = True,
        mlp_ratio: float = 4.0,
        qkv_bias: bool = True,
        drop_rate: float = 0.0,
        proj_drop_rate: float = 0.0,
        attn_drop_rate: float = 0.0,
        drop_path_rate: float = 0.0,
    ) -> None:
        check_stages(depths=depths, num_heads=num_heads, shuffle_sizes=shuffle_sizes)
        dims = [embed_dim * 2**index for index in range(len(depths))]
        super().__init__(img_size, in_chans, num_classes, dims, global_pool, drop_rate)
        self.messenger_side = shuffle_sizes[0]
        self.patch_embed = PatchEmbed(in_chans, embed_dim, overlapping)
        self.msg_tokens = Parameter(initializer(TruncatedNormal(0.02), (1, self.messenger_side**2, 1, embed_dim)))
        merging = OverlappingMerging if overlapping else NeighborMerging
        drop_path = drop_path_rates(drop_path_rate, depths)
        self.stages = nn.CellList(
            [
                Stage(
                    merging(dim // 2) if index else None,
                    dim,
                    depths[index],
                    drop_path[index],
                    num_heads=num_heads[index],
                    window=to_2tuple(window_size),
                    exchange=exchange,
                    region=shuffle_sizes[index],
                    mlp_ratio=mlp_ratio,
                    qkv_bias=qkv_bias,
                    attn_drop=attn_drop_rate,
                    proj_drop=proj_drop_rate,
                )
                for index, dim in enumerate(dims)
            ]
        )
        self.norm = LayerNorm(self.num_features)

    def first_messengers(self, patches: Tensor) -> Tensor:
        """Assign an initial messenger to each window; all regions share the same R * R entries (section 3.1).

        Args:
            patches: Patch tokens of stage 1, [B, H, W, C].

        Returns:
            Messengers [B * nH * nW, C]: window (i, j) starts from entry (i mod R) * R + (j mod R), with R of stage 1.
        """
        batch, rows, cols = self.stages[0].grid(patches)
        side = self.messenger_side
        region = self.msg_tokens.reshape(1, side, side, -1)
        grid = ops.tile(region, (batch, (rows + side - 1) // side, (cols + side - 1) // side, 1))
        return to_rows(grid[:, :rows, :cols])

    def forward_stages(self, x: Tensor) -> list[tuple[Tensor, Tensor]]:
        """Run the stages on images [B, 3, S, T].

        Returns:
            Patch map [B, H, W, C] and messengers [B * nH * nW, C] per stage.
        """
        patches = self.patch_embed(x)
        messengers = self.first_messengers(patches)
        outputs = []
        for stage in self.stages:
            patches, messengers = stage(patches, messengers)
            outputs.append((patches, messengers))
        return outputs

    def messenger_grid(self, patches: Tensor, messengers: Tensor) -> Tensor:
        """Arrange messengers as a grid.

        Args:
            patches: Patch tokens [B, H, W, C]; only their shape is used.
            messengers: Messengers of the windows of this map, [B * nH * nW, C].

        Returns:
            Messengers [B, nH, nW, C].
        """
        return to_map(messengers, self.stages[0].grid(patches))

    def final_features(self, outputs: tuple[Tensor, Tensor]) -> Tensor:
        """Return the normalized messengers of the last stage, [B, nH, nW, C]."""
        patches, messengers = outputs
        return self.messenger_grid(patches, self.norm(messengers))


def msg_transformer_tiny(**kwargs: Any) -> MsgTransformer:
    """MSG-T of Table 1."""
    args = dict(embed_dim=64, depths=(2, 4, 12, 4), num_heads=(2, 4, 8, 16), drop_path_rate=0.1)
    return MsgTransformer(**{**args, **kwargs})


def msg_transformer_small(**kwargs: Any) -> MsgTransformer:
    """MSG-S of Table 1."""
    args = dict(embed_dim=96, depths=(2, 4, 12, 4), num_heads=(3, 6, 12, 24), drop_path_rate=0.3)
    return MsgTransformer(**{**args, **kwargs})


def msg_transformer_base(**kwargs: Any) -> MsgTransformer:
    """MSG-B of Table 1."""
    args = dict(embed_dim=96, depths=(2, 4, 28, 4), num_heads=(3, 6, 12, 24), drop_path_rate=0.5)
    return MsgTransformer(**{**args, **kwargs})


def msg_transformer_v1_tiny(**kwargs: Any) -> MsgTransformer:
    """MSG-T as first released: the scale of Swin-T, without overlaps (the T of Table 4)."""
    args = dict(embed_dim=96, depths=(2, 2, 6, 2), num_heads=(3, 6, 12, 24), drop_path_rate=0.2)
    return MsgTransformer(**{**args, "overlapping": False, **kwargs})


def msg_transformer_v1_small(**kwargs: Any) -> MsgTransformer:
    """MSG-S as first released: the scale of Swin-S, without overlaps (the S of Table 4)."""
    args = dict(embed_dim=96, depths=(2, 2, 18, 2), num_heads=(3, 6, 12, 24), drop_path_rate=0.3)
    return MsgTransformer(**{**args, "overlapping": False, **kwargs})


def msg_transformer_v1_base(**kwargs: Any) -> MsgTransformer:
    """MSG-B as first released: the scale of Swin-B, without overlaps."""
    args = dict(embed_dim=128, depths=(2, 2, 18, 2), num_heads=(4, 8, 16, 32), drop_path_rate=0.5)
    return MsgTransformer(**{**args, "overlapping": False, **kwargs})
