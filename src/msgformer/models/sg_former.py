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

from collections.abc import Iterator
from typing import Any

import torch
import torch.nn.functional as F
from timm.layers import DropPath, calculate_drop_path_rates, resample_abs_pos_embed, to_2tuple
from timm.models import generate_default_cfgs, register_model, register_model_deprecations
from torch import Tensor, nn

from msgformer.model_names import ALIASES
from msgformer.model_parts import check_attention, check_choice, check_stages, sincos_position
from msgformer.models.backbone import Backbone, Device, factory_args, init_linear
from msgformer.models.conv_layers import (
    Downsample,
    PatchEmbed,
    conv_map,
    depthwise,
    init_conv,
)
from msgformer.models.guided_attention import (
    GUIDED,
    HYBRID,
    Attention,
    HybridAttention,
    PlainAttention,
    SelfGuidedAttention,
)
from msgformer.models.position_embedding import position_map
from msgformer.models.recompute import run_block
from msgformer.models.registry import build_backbone, pretrained_cfg
from msgformer.models.stochastic_depth import sample_drop_path
from msgformer.models.window import (
    Size,
    map_size,
    window_grid,
)
from msgformer.plugins import load_installed_plugins


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
            x, significance = run_block(block, x, significance, recompute=index < self.num_recomputed)
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
        position = sincos_position(self.pos_embed_size, embed_dims[0])
        self.pos_embed = nn.Parameter(torch.tensor(position, **dd))
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
        return position_map(self.pos_embed, self.pos_embed_size, size)

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
