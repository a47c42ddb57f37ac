"""Alternatives to the paper's messengers, by name: ``create_model(..., messengers="none")``.

Each is a subclass of `MsgTransformer`. This module has the ablations of Tables 4 and 5 of the paper. To add one,
register a subclass; in this example each messenger starts as the mean of its window:

    @register_messengers("mean")
    class MeanMessengers(MsgTransformer):
        def first_messengers(self, patches):  # [B, H, W, C] to [B * n, C]
            return to_windows(patches, self.window_size).mean(dim=1)
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
import torch.fx
from torch import Tensor, nn

from msgformer.models.backbone import Backbone, Device
from msgformer.models.messenger_registry import register_messengers
from msgformer.models.msg_transformer import (
    Block,
    MsgTransformer,
    Stage,
)
from msgformer.models.window import from_windows, map_size, to_windows
from msgformer.models.window_attention import WindowAttention, gather_entries

torch.fx.wrap("gather_entries")  # torch.fx looks up a wrapped name in the calling module

TOKEN_SEED = 2105
"""Seed of the random tokens in evaluation, so that every evaluation uses the same tokens."""


def draw_tokens(like: Tensor) -> Tensor:
    """Draw random tokens with the distribution of a new model's, truncated normal of std 0.02, from a fixed seed.

    Args:
        like: Tensor [...] with the shape, type and device of the result.
    """
    tokens = torch.empty(like.shape, device="cpu", dtype=torch.float32)
    nn.init.trunc_normal_(tokens, std=0.02, generator=torch.Generator().manual_seed(TOKEN_SEED))
    return tokens.to(like)


@register_messengers("random_eval")
class RandomInEvaluation(MsgTransformer):
    """Messengers start from learned tokens in training, and from random tokens in evaluation (Table 5, row 2).

    Its parameters are those of `MsgTransformer`, whose checkpoints it can load.

    Args:
        *args: Arguments of `MsgTransformer`.
        **kwargs: Arguments of `MsgTransformer`.
    """

    drawn: Tensor

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.register_buffer("drawn", draw_tokens(self.msg_tokens), persistent=False)

    def init_non_persistent_buffers(self) -> None:
        """Draw the same tokens again; timm's ``reinit_non_persistent_buffers`` calls this after ``to_empty``."""
        self.drawn = draw_tokens(self.drawn)

    def input_messengers(self) -> Tensor:
        """Return learned tokens in training and random tokens in evaluation: [1, R * R, 1, C]."""
        return self.msg_tokens if self.training else self.drawn


@register_messengers("random")
class RandomThroughout(RandomInEvaluation):
    """Messengers start from untrained random tokens, and from other random tokens in evaluation (Table 5, row 3).

    Args:
        *args: Arguments of `MsgTransformer`.
        **kwargs: Arguments of `MsgTransformer`.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.msg_tokens.requires_grad_(False)


class PatchAttention(WindowAttention):
    """Attention among the patch tokens of a window, without a messenger and its position biases.

    Args:
        *args: Arguments of `WindowAttention`.
        **kwargs: Arguments of `WindowAttention`.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.rel_pos_msg = None  # type: ignore[assignment]

    def make_bias_index(self, device: Device) -> Tensor:
        """Return the index of each pair of patch tokens into the bias table, [h * w, h * w]."""
        return super().make_bias_index(device)[1:, 1:]

    def position_bias(self) -> Tensor:
        """Return b^rel of eq. 6, [heads, h * w, h * w]; rows are queries."""
        return gather_entries(self.relative_position_bias_table.T, self.bias_index)


class PatchBlock(Block):
    """A block on windows of patch tokens only; its exchange leaves the first token unchanged."""

    attention_type = PatchAttention


class PatchStage(Stage):
    """Token merging, then blocks, on patch tokens only."""

    block_type = PatchBlock

    def forward(self, patches: Tensor) -> Tensor:  # type: ignore[override]
        """Run the stage on the previous map [B, H, W, C]; return this stage's map [B, H', W', C']."""
        if self.downsample is not None:
            patches = self.downsample(patches)
        grid = self.grid(patches)
        x = self.run_blocks(to_windows(patches, self.window_size), grid)  # [B * n, h * w, C]
        return from_windows(x, self.window_size, grid.batch, map_size(patches))


@register_messengers("none")
class NoMessengers(MsgTransformer):
    """Windows without messengers; patch tokens are pooled for classification (Table 4, rows 1 and 4).

    Windows exchange information only in token merging and pooling.

    Args:
        *args: Arguments of `MsgTransformer`.
        exchange: Only 'none' is accepted.
        **kwargs: Arguments of `MsgTransformer`.

    Raises:
        ValueError: An exchange is given.
    """

    stage_type = PatchStage

    def __init__(self, *args: Any, exchange: str = "none", **kwargs: Any) -> None:
        if exchange != "none":
            raise ValueError(f"without messengers there is nothing to exchange, got exchange={exchange!r}")
        super().__init__(*args, **{**kwargs, "exchange": "none"})
        self.msg_tokens = None  # type: ignore[assignment]

    def forward_stages(self, x: Tensor) -> Iterator[tuple[Tensor, ...]]:  # type: ignore[override]
        """Run the stages on images [B, 3, S, T] and yield each stage's patch map [B, H, W, C]."""
        self.check_images(x)
        patches = self.patch_embed(x)
        for stage in self.stages:
            patches = stage(patches)
            yield (patches,)

    def as_maps(self, *outputs: Tensor) -> tuple[Tensor, ...]:
        """Return the patch map [B, H, W, C] itself."""
        return outputs

    def final_features(self, *outputs: Tensor) -> Tensor:
        """Return the normalized patch tokens of the last stage, [B, H, W, C]."""
        return self.norm(outputs[0])

    forward = Backbone.forward
    forward_intermediates = Backbone.forward_intermediates  # type: ignore[assignment]
