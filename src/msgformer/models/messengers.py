"""Ways to construct messengers other than the paper's, by name: ``create_model(..., messengers="none")``.

Each is a subclass of `MsgTransformer` that says what differs. Those here are the ablations of the paper's Tables 4 and
5. To add one, register a subclass; here each messenger starts as the mean of its window:

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
from msgformer.models.msg_transformer import (
    Block,
    MsgTransformer,
    Stage,
    WindowAttention,
    register_messengers,
    take_entries,
)
from msgformer.models.window import from_windows, map_size, to_windows

torch.fx.wrap("take_entries")  # again, because a wrapped name is looked up in the module that calls it

DRAW = 2105
"""What the random tokens of an evaluation are drawn by, so that every evaluation has the same."""


def draw_tokens(like: Tensor) -> Tensor:
    """Random tokens as a new model has them, but always the same: truncated normal, standard deviation 0.02.

    Args:
        like: Tensor of the same shape, type and device.
    """
    tokens = torch.empty(like.shape, device="cpu", dtype=torch.float32)
    nn.init.trunc_normal_(tokens, std=0.02, generator=torch.Generator().manual_seed(DRAW))
    return tokens.to(like)


@register_messengers("random_eval")
class RandomInEvaluation(MsgTransformer):
    """Messengers learn what to start from, and in evaluation start from random numbers (Table 5, row 2).

    Its parameters are those of an ordinary model, whose checkpoints it can read.
    """

    drawn: Tensor

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.register_buffer("drawn", draw_tokens(self.msg_tokens), persistent=False)

    def init_non_persistent_buffers(self) -> None:
        """Draw the same tokens again; timm's ``reinit_non_persistent_buffers`` calls this after ``to_empty``."""
        self.drawn = draw_tokens(self.drawn)

    def input_messengers(self) -> Tensor:
        """The learned entries in training, random ones in evaluation: [1, R * R, 1, C]."""
        return self.msg_tokens if self.training else self.drawn


@register_messengers("random")
class RandomThroughout(RandomInEvaluation):
    """Messengers start from random numbers that are never trained, and from others in evaluation (Table 5, row 3)."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.msg_tokens.requires_grad_(False)


class PatchAttention(WindowAttention):
    """Attention among the patches of a window, without a messenger and the biases that belong to it."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.rel_pos_msg = None  # type: ignore[assignment]

    def make_bias_index(self, device: Device) -> Tensor:
        """Return the index of each pair of patches in the bias table, [h * w, h * w]."""
        return super().make_bias_index(device)[1:, 1:]

    def position_bias(self) -> Tensor:
        """b^rel of equation 6: [heads, h * w, h * w], rows are queries."""
        return take_entries(self.relative_position_bias_table.T, self.bias_index)


class PatchBlock(Block):
    """A block on sequences of patches alone; without exchange it has nothing to do with the first of them."""

    attention_type = PatchAttention


class PatchStage(Stage):
    """Token merging, then blocks, on patches alone."""

    block_type = PatchBlock

    def forward(self, patches: Tensor) -> Tensor:  # type: ignore[override]
        """Map [B, H, W, C] of the stage before to this stage's."""
        if self.downsample is not None:
            patches = self.downsample(patches)
        grid = self.grid(patches)
        x = self.run_blocks(to_windows(patches, self.window_size), grid)  # [B * n, h * w, C]
        return from_windows(x, self.window_size, grid.batch, map_size(patches))


@register_messengers("none")
class NoMessengers(MsgTransformer):
    """Windows without messengers, whose patches are pooled for classification (Table 4, rows 1 and 4).

    Windows don't meet but in token merging and at the pooling.

    Raises:
        ValueError: an exchange is asked for.
    """

    stage_type = PatchStage

    def __init__(self, *args: Any, exchange: str = "none", **kwargs: Any) -> None:
        if exchange != "none":
            raise ValueError(f"without messengers there is nothing to exchange, got exchange={exchange!r}")
        super().__init__(*args, **{**kwargs, "exchange": "none"})
        self.msg_tokens = None  # type: ignore[assignment]

    def forward_stages(self, x: Tensor) -> Iterator[tuple[Tensor, ...]]:  # type: ignore[override]
        """Image [B, 3, S, T] to each stage's patch map [B, H, W, C] in turn."""
        self.check_images(x)
        patches = self.patch_embed(x)
        for stage in self.stages:
            patches = stage(patches)
            yield (patches,)

    def as_maps(self, *outputs: Tensor) -> tuple[Tensor, ...]:
        """The patch map itself."""
        return outputs

    def final_features(self, *outputs: Tensor) -> Tensor:
        """The normalised patch tokens of the last stage, [B, H, W, C]."""
        return self.norm(outputs[0])

    forward = Backbone.forward
    forward_intermediates = Backbone.forward_intermediates  # type: ignore[assignment]
