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

from mindspore import Parameter, Tensor, nn

from msgformer.mindspore.backbone import Backbone
from msgformer.mindspore.conv_layers import Downsample, PatchEmbed, depthwise
from msgformer.mindspore.guided_attention import (
    Attention,
    HybridAttention,
    PlainAttention,
    SelfGuidedAttention,
)
from msgformer.mindspore.layers import DropPath, LayerNorm, Linear, drop_path_rates
from msgformer.mindspore.resampling import resample_bicubic
from msgformer.mindspore.window import (
    Size,
    map_size,
    to_2tuple,
    window_grid,
)
from msgformer.model_parts import check_attention, check_stages, sincos_position


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
