"""MSG-Transformer: attention in local windows, and messenger (MSG) tokens that exchange information between windows.

Fang et al., "MSG-Transformer: Exchanging Local Spatial Information by Manipulating Messenger Tokens", CVPR 2022, arXiv
2105.15168. Sections, figures, tables and equations refer to this paper.

Shapes: B images; H x W patch tokens with C channels; windows of h x w tokens (7 x 7 in the paper) in a grid of nH x nW,
n = nH * nW; N = 1 + h * w tokens per window, of which token 0 is the MSG token. Between stages, patch tokens are a map
[B, H, W, C] and messengers are [B * n, C]. Inside a stage they are one tensor [B * n, N, C].

Input sizes and padding: the image is zero-padded at the bottom and right to a multiple of 4 pixels, and the map of each
stage to whole windows. Padded tokens are ordinary tokens inside the stage and are cropped at its end.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from timm.layers import (
    DropPath,
    Mlp,
    calculate_drop_path_rates,
    to_2tuple,
    trunc_normal_,
)
from timm.models import generate_default_cfgs, register_model, register_model_deprecations
from torch import Tensor, nn

from msgformer.model_names import ALIASES
from msgformer.model_parts import check_stages
from msgformer.models.backbone import Backbone, Device, factory_args, init_linear
from msgformer.models.exchange import CORNERS, Corner, create_exchange
from msgformer.models.merging import NeighborMerging, OverlappingMerging, PatchEmbed
from msgformer.models.messenger_registry import messenger_class, register_messengers
from msgformer.models.recompute import run_block
from msgformer.models.registry import build_backbone, pretrained_cfg
from msgformer.models.stochastic_depth import sample_drop_path
from msgformer.models.window import (
    Grid,
    Size,
    assign_messengers,
    from_sequences,
    map_size,
    replace_messengers,
    to_map,
    to_repeated_map,
    to_sequences,
    window_grid,
)
from msgformer.models.window_attention import WindowAttention
from msgformer.plugins import load_installed_plugins


class Block(nn.Module):
    """MSG-Transformer block: local self-attention, exchange between messengers, MLP (Figure 1, eq. 2 to 4).

    Args:
        dim: Channels C.
        num_heads: Attention heads.
        window: Height h and width w of a window.
        exchange: Name of the exchange operator, see `msgformer.models.exchange`.
        region: Largest side R of the shuffle regions, in windows.
        corner: Corner at which regions are anchored.
        mlp_ratio: Hidden channels of the MLP relative to C.
        qkv_bias: Whether queries, keys and values have a bias.
        attn_drop: Dropout rate of attention weights.
        proj_drop: Dropout rate after projections.
        drop_path: Drop path rate of both residual branches.
        device: Device of the parameters.
        dtype: Type of the parameters.
    """

    attention_type = WindowAttention

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
        device: Device = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        dd = factory_args(device, dtype)
        super().__init__()
        self.corner = corner
        self.norm1 = nn.LayerNorm(dim, **dd)
        self.attn = self.attention_type(dim, num_heads, window, qkv_bias, attn_drop, proj_drop, **dd)
        self.drop_path1 = DropPath(drop_path) if drop_path else nn.Identity()
        self.exchange = create_exchange(exchange, dim, region, **dd)
        self.norm2 = nn.LayerNorm(dim, **dd)
        self.mlp = Mlp(dim, int(dim * mlp_ratio), drop=proj_drop, **dd)
        self.drop_path2 = DropPath(drop_path) if drop_path else nn.Identity()

    def forward(self, x: Tensor, batch: int, plan: Any, num_queries: int | None = None) -> Tensor:
        """Apply equations 2 to 4.

        Args:
            x: Window tokens X'_w [B * n, N, C].
            batch: Number of images B.
            plan: Plan of the exchange for this grid and corner.
            num_queries: Compute only the first tokens of each window (1 for the messenger); None for all of them.

        Returns:
            Updated tokens [B * n, N, C], or [B * n, num_queries, C].
        """
        # X'_w = Local-MSA(LN(X'_w)) + X'_w (eq. 2)
        mask = sample_drop_path(self.drop_path1, x, batch)
        x = mask.scatter_add(x[:, :num_queries], self.attn(self.norm1(mask.gather(x)), num_queries))
        # T_MSG = shuffle(T_MSG) (eq. 3)
        msg_tokens = self.exchange(x[:, 0].clone(), plan)
        x = replace_messengers(x, msg_tokens)
        # X'_w = MLP(LN(X'_w)) + X'_w (eq. 4)
        mask = sample_drop_path(self.drop_path2, x, batch)
        return mask.scatter_add(x, self.mlp(self.norm2(mask.gather(x))))


class Stage(nn.Module):
    """Token merging, then blocks at one resolution (Figure 2).

    Patch tokens are partitioned into windows once, and merged back to a map at the end.

    Args:
        downsample: Token merging before the first block; None in stage 1.
        dim: Channels C inside the stage.
        depth: Number of blocks.
        drop_path: Drop path rate of each block.
        **block_args: Arguments of `Block` shared by all blocks.
    """

    block_type = Block

    def __init__(self, downsample: Any, dim: int, depth: int, drop_path: list[float], **block_args: Any) -> None:
        super().__init__()
        self.window_size: Size = block_args["window"]
        self.num_recomputed = 0  # leading blocks whose activations are recomputed in the backward pass
        self.downsample = downsample
        # Alternate corners: regions of one corner cover the windows that the other corner leaves over (section 4.2).
        self.blocks: Any = nn.ModuleList(
            self.block_type(dim, corner=CORNERS[index % 2], drop_path=drop_path[index], **block_args)
            for index in range(depth)
        )

    def forward(self, patches: Tensor, messengers: Tensor, only_messengers: bool = False) -> tuple[Tensor, Tensor]:
        """Merge tokens, then run all blocks.

        Args:
            patches: Patch tokens of the previous stage, [B, H, W, C].
            messengers: Messengers of the previous stage, [B * n, C].
            only_messengers: In the last block, compute messengers only; the returned map is the input of the first
                block.

        Returns:
            Patch tokens [B, H', W', C'] and messengers [B * n', C'] of this stage. After stage 1, both sides of the map
            and of the window grid are halved (rounded up), and C doubles. ceil(ceil(H / 2) / h) equals ceil(ceil(H / h)
            / 2), so every window still has one messenger.
        """
        if self.downsample is not None:
            messengers = self.downsample.merge_messengers(messengers, self.grid(patches))
            patches = self.downsample(patches)
        grid = self.grid(patches)
        x = to_sequences(patches, messengers, self.window_size)
        if only_messengers:
            return patches, self.run_blocks(x, grid, num_queries=1).flatten(1)
        return from_sequences(self.run_blocks(x, grid), self.window_size, grid.batch, map_size(patches))

    def run_blocks(self, x: Tensor, grid: Grid, num_queries: int | None = None) -> Tensor:
        """Run all blocks.

        Args:
            x: Window tokens [B * n, N, C].
            grid: Sizes B, nH and nW.
            num_queries: Tokens per window that the last block computes, counted from the first; None for all N.

        Returns:
            Updated tokens [B * n, N, C], or [B * n, num_queries, C].
        """
        plans = {block.corner: block.exchange.plan(grid, block.corner, x.device) for block in self.blocks[:2]}
        last = len(self.blocks) - 1
        for index, block in enumerate(self.blocks):
            args = (x, grid.batch, plans[block.corner], num_queries if index == last else None)
            x = run_block(block, *args, recompute=index < self.num_recomputed)
        return x

    def grid(self, patches: Tensor) -> Grid:
        """Sizes B, nH and nW of the windows that cover a map [B, H, W, C]."""
        return Grid(patches.shape[0], *window_grid(map_size(patches), self.window_size))

    def set_window_size(self, window: Size) -> None:
        """Change the window size and resample the bias tables."""
        self.window_size = window
        for block in self.blocks:
            block.attn.set_window_size(window)


@register_messengers("learned")
class MsgTransformer(Backbone):
    """MSG-Transformer (section 3.2, Figure 2, Table 1), with the interface of a timm model.

    Images of any size work, and sizes may change between batches. For classification, the normalized messengers of the
    last stage are pooled (at 224 x 224 there is one). Dense tasks use the patch maps of all stages, from
    ``features_only=True`` or `forward_intermediates`.

    Args:
        img_size: Intended image size, a default for training and export; no parameter depends on it.
        in_chans: Channels of the image.
        num_classes: Number of classes; with 0, `forward` returns pooled messengers.
        global_pool: Pooling of the last stage's messengers: 'avg', 'max', ... or '' for none.
        embed_dim: Channels of stage 1; each later stage has twice as many.
        depths: Number of blocks per stage.
        num_heads: Attention heads per stage.
        window_size: Side of a window in tokens, or its height and width.
        shuffle_sizes: Largest side R of the shuffle regions per stage, in windows (Table 1).
        exchange: Name of the exchange operator, see `msgformer.models.exchange`.
        overlapping: Use overlapping patches and token merging as in the paper; otherwise those of the first version.
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

    stage_type = Stage

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
        device: Device = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        dd = factory_args(device, dtype)
        check_stages(depths=depths, num_heads=num_heads, shuffle_sizes=shuffle_sizes)
        dims = [embed_dim * 2**index for index in range(len(depths))]
        super().__init__(img_size, in_chans, num_classes, dims, global_pool, drop_rate, **dd)
        self.window_size: Size = to_2tuple(window_size)
        self.messenger_side = shuffle_sizes[0]
        self.patch_embed = PatchEmbed(in_chans, embed_dim, overlapping, **dd)
        self.msg_tokens = nn.Parameter(torch.empty(1, self.messenger_side**2, 1, embed_dim, **dd))
        merging = OverlappingMerging if overlapping else NeighborMerging
        drop_path: Any = calculate_drop_path_rates(drop_path_rate, list(depths), stagewise=True)
        self.stages = nn.ModuleList(
            self.stage_type(
                merging(dim // 2, **dd) if index else None,
                dim,
                depths[index],
                drop_path[index],
                num_heads=num_heads[index],
                window=self.window_size,
                exchange=exchange,
                region=shuffle_sizes[index],
                mlp_ratio=mlp_ratio,
                qkv_bias=qkv_bias,
                attn_drop=attn_drop_rate,
                proj_drop=proj_drop_rate,
                **dd,
            )
            for index, dim in enumerate(dims)
        )
        self.norm: nn.Module = nn.LayerNorm(self.num_features, **dd)
        trunc_normal_(self.msg_tokens, std=0.02)
        self.apply(init_linear)

    def input_messengers(self) -> Tensor:
        """Return the initial messengers, one entry per position in a region of stage 1: [1, R * R, 1, C]."""
        return self.msg_tokens

    def first_messengers(self, patches: Tensor) -> Tensor:
        """Assign an initial messenger to each window; all regions share the same R * R entries (section 3.1).

        Args:
            patches: Patch tokens of stage 1, [B, H, W, C].

        Returns:
            Messengers [B * nH * nW, C]: window (i, j) starts from entry (i mod R) * R + (j mod R), with R of stage 1.
        """
        grid, entries = self.stages[0].grid(patches), self.input_messengers()[0, :, 0]
        return assign_messengers(entries, grid, self.messenger_side, patches.device)

    def forward_stages(self, x: Tensor, only_messengers: bool = False) -> Iterator[tuple[Tensor, ...]]:
        """Run the stages and yield each stage's patch map [B, H, W, C] and messengers [B * nH * nW, C].

        Args:
            x: Images [B, 3, S, T].
            only_messengers: In the last block, compute messengers only; do not use the last map then.
        """
        self.check_images(x)
        patches = self.patch_embed(x)
        messengers = self.first_messengers(patches)
        for stage in self.stages:
            patches, messengers = stage(patches, messengers, only_messengers and stage is self.stages[-1])
            yield patches, messengers

    def messenger_grid(self, patches: Tensor, messengers: Tensor) -> Tensor:
        """Arrange messengers as a grid.

        Args:
            patches: Patch tokens [B, H, W, C]; only their shape is used.
            messengers: Messengers of the windows of this map, [B * nH * nW, C].

        Returns:
            Messengers [B, nH, nW, C].
        """
        return to_map(messengers, self.stages[0].grid(patches))

    def as_maps(self, *outputs: Tensor) -> tuple[Tensor, ...]:
        """Return a stage's patch map [B, H, W, C] and its messengers as a grid [B, nH, nW, C]."""
        patches, messengers = outputs
        return patches, self.messenger_grid(patches, messengers)

    def final_features(self, *outputs: Tensor) -> Tensor:
        """Return the normalized messengers of the last stage, [B, nH, nW, C]."""
        patches, messengers = outputs
        return self.messenger_grid(patches, self.norm(messengers))

    def forward(self, x: Tensor) -> Tensor:
        """Classify images [B, 3, S, T]; return logits [B, classes]."""
        *_, (patches, messengers) = self.forward_stages(x, only_messengers=self.skips_unused_tokens(x))
        return self.classify(patches, messengers)

    def classify(self, patches: Tensor, messengers: Tensor) -> Tensor:
        """Compute logits from the outputs of the last stage.

        Args:
            patches: Patch tokens [B, H, W, C]; only their shape is used.
            messengers: Messengers [B * nH * nW, C].

        Returns:
            Logits [B, classes].
        """
        if self.pools_repeated_tokens():
            return self.forward_head(to_repeated_map(self.norm(messengers), self.stages[0].grid(patches)))
        return self.forward_head(self.final_features(patches, messengers))

    def final_map(self, patches: Tensor) -> Tensor:
        """Return the normalized patch tokens of the last stage, [B, H, W, C]."""
        return self.norm(patches)

    def forward_intermediates(  # extends Backbone.forward_intermediates by return_messengers
        self,
        x: Tensor,
        indices: int | Sequence[int] | None = None,
        norm: bool = False,
        stop_early: bool = False,
        output_fmt: str = "NCHW",
        intermediates_only: bool = False,
        return_messengers: bool = False,
    ) -> Any:
        """Return the maps of several stages, as `Backbone.forward_intermediates` does.

        Args:
            x: Images [B, 3, S, T].
            indices: Stages to return; an int selects the last ones, None all.
            norm: Apply the final norm to the last stage's map.
            stop_early: Skip the stages after the last selected one.
            output_fmt: 'NCHW' or 'NHWC'.
            intermediates_only: Return only the maps.
            return_messengers: Return each map in a pair with its grid of messengers [B, C, nH, nW].

        Returns:
            Maps [B, C, H, W] per stage, or a pair of final features [B, nH, nW, C] and maps.
        """
        features, stages = self._run_stages(x, indices, norm, stop_early, output_fmt, all_outputs=return_messengers)
        intermediates = stages if return_messengers else [patches for (patches,) in stages]
        return intermediates if intermediates_only else (features, intermediates)

    def prune_final_norm(self) -> None:
        """Remove the norm before the classifier; stages do not need it."""
        self.norm = nn.Identity()

    def no_weight_decay(self) -> set[str]:
        """Names of the position biases, which the published recipe does not decay."""
        return {
            name
            for name, _ in self.named_parameters()
            if name.endswith(("relative_position_bias_table", "rel_pos_msg"))
        }

    def set_input_size(self, img_size: int | Size | None = None, window_size: int | Size | None = None) -> None:
        """Change the intended image size, or the window size with its bias tables resampled.

        Args:
            img_size: Height and width in pixels, or the side of a square.
            window_size: Height and width in tokens, or the side of a square.
        """
        if img_size is not None:
            self.img_size = to_2tuple(img_size)
            self.record_args(img_size=self.img_size)
        if window_size is not None:
            self.window_size = to_2tuple(window_size)
            self.record_args(window_size=self.window_size)
            for stage in self.stages:
                stage.set_window_size(self.window_size)


def _create(variant: str, pretrained: bool, messengers: str = "learned", **kwargs: Any) -> nn.Module:
    load_installed_plugins()  # first, because one may register these messengers
    return build_backbone(messenger_class(messengers), variant, pretrained, **kwargs)


def _cfg() -> dict[str, Any]:
    return pretrained_cfg(pool_size=(1, 1), crop_pct=0.875, first_conv="patch_embed.proj")


default_cfgs = generate_default_cfgs(
    {
        "msg_transformer_tiny": _cfg(),
        "msg_transformer_small": _cfg(),
        "msg_transformer_base": _cfg(),
        "msg_transformer_v1_tiny": _cfg(),
        "msg_transformer_v1_small": _cfg(),
        "msg_transformer_v1_base": _cfg(),
    }
)


@register_model
def msg_transformer_tiny(pretrained: bool = False, **kwargs: Any) -> nn.Module:
    """MSG-T of Table 1.

    Args:
        pretrained: Load weights, see `build_timm_model`.
        **kwargs: Arguments of `MsgTransformer` and of ``timm.create_model``.
    """
    args = dict(embed_dim=64, depths=(2, 4, 12, 4), num_heads=(2, 4, 8, 16), drop_path_rate=0.1)
    return _create("msg_transformer_tiny", pretrained, **{**args, **kwargs})


@register_model
def msg_transformer_small(pretrained: bool = False, **kwargs: Any) -> nn.Module:
    """MSG-S of Table 1.

    Args:
        pretrained: Load weights, see `build_timm_model`.
        **kwargs: Arguments of `MsgTransformer` and of ``timm.create_model``.
    """
    args = dict(embed_dim=96, depths=(2, 4, 12, 4), num_heads=(3, 6, 12, 24), drop_path_rate=0.3)
    return _create("msg_transformer_small", pretrained, **{**args, **kwargs})


@register_model
def msg_transformer_base(pretrained: bool = False, **kwargs: Any) -> nn.Module:
    """MSG-B of Table 1.

    Args:
        pretrained: Load weights, see `build_timm_model`.
        **kwargs: Arguments of `MsgTransformer` and of ``timm.create_model``.
    """
    args = dict(embed_dim=96, depths=(2, 4, 28, 4), num_heads=(3, 6, 12, 24), drop_path_rate=0.5)
    return _create("msg_transformer_base", pretrained, **{**args, **kwargs})


@register_model
def msg_transformer_v1_tiny(pretrained: bool = False, **kwargs: Any) -> nn.Module:
    """MSG-T as first released: the scale of Swin-T, without overlaps (the T of Table 4).

    Args:
        pretrained: Load weights, see `build_timm_model`.
        **kwargs: Arguments of `MsgTransformer` and of ``timm.create_model``.
    """
    args = dict(embed_dim=96, depths=(2, 2, 6, 2), num_heads=(3, 6, 12, 24), drop_path_rate=0.2)
    return _create("msg_transformer_v1_tiny", pretrained, **{**args, "overlapping": False, **kwargs})


@register_model
def msg_transformer_v1_small(pretrained: bool = False, **kwargs: Any) -> nn.Module:
    """MSG-S as first released: the scale of Swin-S, without overlaps (the S of Table 4).

    Args:
        pretrained: Load weights, see `build_timm_model`.
        **kwargs: Arguments of `MsgTransformer` and of ``timm.create_model``.
    """
    args = dict(embed_dim=96, depths=(2, 2, 18, 2), num_heads=(3, 6, 12, 24), drop_path_rate=0.3)
    return _create("msg_transformer_v1_small", pretrained, **{**args, "overlapping": False, **kwargs})


@register_model
def msg_transformer_v1_base(pretrained: bool = False, **kwargs: Any) -> nn.Module:
    """MSG-B as first released: the scale of Swin-B, without overlaps.

    Args:
        pretrained: Load weights, see `build_timm_model`.
        **kwargs: Arguments of `MsgTransformer` and of ``timm.create_model``.
    """
    args = dict(embed_dim=128, depths=(2, 2, 18, 2), num_heads=(4, 8, 16, 32), drop_path_rate=0.5)
    return _create("msg_transformer_v1_base", pretrained, **{**args, "overlapping": False, **kwargs})


register_model_deprecations(__name__, {old: new for old, new in ALIASES.items() if new in default_cfgs})
