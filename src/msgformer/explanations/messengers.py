"""What the messengers of an MSG-Transformer do with an image: whom they attend to, and where they carry it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from torch.utils.hooks import RemovableHandle

from msgformer.explanations.hooks import watched
from msgformer.explanations.routes import Routes, receptive_fields, trace_routes
from msgformer.models.exchange import Exchange
from msgformer.models.msg_transformer import Block, MsgTransformer, WindowAttention
from msgformer.models.window import Size, map_size, window_grid


@dataclass(frozen=True)
class MessengerBlock:
    """What the messengers of one block did with an image; windows are in raster order.

    Attributes:
        stage: Number of the stage, from 1 on.
        block: Number of the block in its stage, from 1 on.
        grid: Rows nH and columns nW of windows.
        first_grid: The same of stage 1.
        window: Height h and width w of a window in tokens.
        stride: Pixels of a token's side.
        exchange: What the exchange is called.
        attention: Attention of each messenger, [heads, nH * nW, 1 + h * w], rows summing to 1: to itself first, then
            to the patches of its window in raster order, padded ones included.
        routes: Where messengers came from in the exchange after the attention.
        reach: Windows of stage 1 whose patches each messenger knows of after the block, bool [nH * nW, n of stage 1].
        gradients: By window, how much its messenger after the block depends on each token that the stem makes of the
            image: norm of the gradient of half its squared norm, [H, W] of stage 1.
    """

    stage: int
    block: int
    grid: Size
    first_grid: Size
    window: Size
    stride: int
    exchange: str
    attention: Tensor
    routes: Routes
    reach: Tensor
    gradients: dict[int, Tensor] = field(default_factory=dict)


def trace_messengers(model: MsgTransformer, image: Tensor, gradients: int = 0) -> list[MessengerBlock]:
    """Runs an image through a model and tells what the messengers did in each block.

    Args:
        model: The model, or the body of a detector or segmenter; its mode is left as it is.
        image: Normalized image [1, channels, S, T].
        gradients: Messengers of each block, at most, whose receptive field is measured by gradients as well; they are
            spread over the grid. Each takes a backward pass; 0 also saves the memory that those need.
    """
    records = [[_Record(block.exchange) for block in stage.blocks] for stage in model.stages]
    tokens = _run(model, image, records, with_graph=gradients > 0)
    routes = [[trace_routes(record.exchange, record.before, record.plan) for record in stage] for stage in records]
    fields = receptive_fields(model, map_size(tokens), routes)
    traced, size = [], map_size(tokens)
    for index, stage in enumerate(model.stages):
        grid = window_grid(size, stage.window_size)
        for place, record in enumerate(records[index]):
            traced.append(
                MessengerBlock(
                    stage=index + 1,
                    block=place + 1,
                    grid=grid,
                    first_grid=window_grid(map_size(tokens), model.stages[0].window_size),
                    window=stage.window_size,
                    stride=4 * 2**index,
                    exchange=type(record.exchange).__name__,
                    attention=record.attention.transpose(0, 1).cpu(),
                    routes=routes[index][place],
                    reach=fields[index][place],
                    gradients={at: _dependence(record.after[at], tokens) for at in spread_over(grid, gradients)},
                )
            )
        size = window_grid(size, (2, 2))
    return traced


@dataclass
class _Record:
    """What hooks note of a block: its messengers' attention, and the messengers before the exchange and at its end."""

    exchange: Exchange
    attention: Tensor = field(default_factory=lambda: torch.empty(0))
    before: Tensor = field(default_factory=lambda: torch.empty(0))
    after: Tensor = field(default_factory=lambda: torch.empty(0))
    plan: Any = None


def _run(model: MsgTransformer, image: Tensor, records: Sequence[Sequence[_Record]], *, with_graph: bool) -> Tensor:
    """Fills the records of all blocks; gives the stem's tokens [1, H, W, C], by which gradients can be taken."""
    stem: list[Tensor] = []

    def begins(module: Any, inputs: Any, output: Tensor) -> Tensor:  # noqa: ARG001
        stem.append(output.detach().requires_grad_(with_graph))
        return stem[0]

    hooks = [model.patch_embed.register_forward_hook(begins)]
    for stage, of_stage in zip(model.stages, records, strict=True):
        for block, record in zip(stage.blocks, of_stage, strict=True):
            hooks += _watch(block, record)
    with watched(model, hooks), torch.set_grad_enabled(with_graph):
        for _ in model.forward_stages(image):
            pass
    return stem[0]


def _watch(block: Block, record: _Record) -> list[RemovableHandle]:
    def attends(module: WindowAttention, inputs: tuple[Tensor]) -> None:
        record.attention = attention_weights(module, inputs[0])[:, :, 0]

    def exchanges(module: Any, inputs: tuple[Tensor, Any]) -> None:  # noqa: ARG001
        record.before, record.plan = inputs[0].detach().clone(), inputs[1]

    def ends(module: Any, inputs: Any, output: Tensor) -> None:  # noqa: ARG001
        record.after = output[:, 0]

    return [
        block.attn.register_forward_pre_hook(attends),
        block.exchange.register_forward_pre_hook(exchanges),
        block.register_forward_hook(ends),
    ]


@torch.no_grad()
def attention_weights(attention: WindowAttention, x: Tensor) -> Tensor:
    """The weights that a window attention gives to tokens, by its own parameters (equation 5).

    Args:
        attention: The attention of a block.
        x: Its input [B * n, N, C].

    Returns:
        [B * n, heads, N, N]; rows are queries and sum to 1, the messenger is token 0.
    """
    qkv = attention.qkv(x).unflatten(-1, (3, attention.num_heads, -1)).permute(2, 0, 3, 1, 4)
    query, key, _ = qkv.unbind(0)  # each [B * n, heads, N, C / heads]
    scores = query @ key.transpose(-2, -1) * query.shape[-1] ** -0.5
    return (scores + attention.position_bias()).softmax(dim=-1)


def spread_over(grid: Size, count: int) -> list[int]:
    """At most ``count`` windows of a grid, spread evenly over it; one is in the middle."""
    rows, cols = grid
    if not count:
        return []
    along = min(rows, max(1, round((count * rows / cols) ** 0.5)), count)
    across = min(cols, count // along)
    return [
        int((row + 0.5) * rows / along) * cols + int((col + 0.5) * cols / across)
        for row in range(along)
        for col in range(across)
    ]


def _dependence(messenger: Tensor, tokens: Tensor) -> Tensor:
    """Norm of the gradient of half a messenger's squared norm by each token: [C] and [1, H, W, C] to [H, W]."""
    (gradient,) = torch.autograd.grad(messenger.square().sum() / 2, tokens, retain_graph=True)
    return gradient[0].norm(dim=-1).cpu()
