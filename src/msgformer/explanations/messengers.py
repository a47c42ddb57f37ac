"""Trace the MSG tokens (messengers) of an MSG-Transformer: their attention, exchange routes and receptive fields."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from torch.utils.hooks import RemovableHandle

from msgformer.explanations.hooks import evaluation_mode
from msgformer.explanations.routes import Routes, receptive_fields, trace_routes
from msgformer.models.exchange import Exchange
from msgformer.models.msg_transformer import Block, MsgTransformer
from msgformer.models.window import Size, map_size, window_grid
from msgformer.models.window_attention import WindowAttention


@dataclass(frozen=True)
class MessengerBlock:
    """Traced values of one block; windows are in raster order.

    Attributes:
        stage: Number of the stage, counted from 1.
        block: Number of the block in its stage, counted from 1.
        grid: Rows nH and columns nW of windows.
        first_grid: Rows and columns of windows in stage 1.
        window: Height h and width w of a window in tokens.
        stride: Side of a token in pixels.
        exchange: Class name of the exchange.
        attention: Attention of each messenger [heads, nH * nW, 1 + h * w]; rows sum to 1. The first column is the
            messenger itself, the others are the patches of its window in raster order, including padding.
        routes: Source windows of the messengers in the exchange after the attention.
        reach: Receptive field by routes: the windows of stage 1 whose patches can influence each messenger after the
            block, bool [nH * nW, n of stage 1].
        gradients: Receptive field by gradients, by window: the gradient norm of half the squared norm of its messenger
            after the block, for each token of the stem [H, W].
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
    """Run a model on an image, and trace the messengers in each block.

    Args:
        model: The model, or the backbone of a detector or segmenter; its mode is restored.
        image: Normalized image [1, C, H, W].
        gradients: Maximum number of messengers per block whose receptive field is also measured by gradients; they are
            distributed over the grid. Each takes one backward pass; 0 also saves the memory for the graph.

    Returns:
        Traced values of all blocks.
    """
    records = [[_Record(block.exchange) for block in stage.blocks] for stage in model.stages]
    tokens = _run(model, image, records, with_graph=gradients > 0)
    routes = [[trace_routes(record.exchange, record.before, record.plan) for record in stage] for stage in records]
    fields = receptive_fields(model, map_size(tokens), routes)
    traced, size = [], map_size(tokens)
    for index, stage in enumerate(model.stages):
        grid = window_grid(size, stage.window_size)
        for block_index, record in enumerate(records[index]):
            traced.append(
                MessengerBlock(
                    stage=index + 1,
                    block=block_index + 1,
                    grid=grid,
                    first_grid=window_grid(map_size(tokens), model.stages[0].window_size),
                    window=stage.window_size,
                    stride=4 * 2**index,
                    exchange=type(record.exchange).__name__,
                    attention=record.attention.transpose(0, 1).cpu(),
                    routes=routes[index][block_index],
                    reach=fields[index][block_index],
                    gradients={
                        window: _gradient_norms(record.after[window], tokens)
                        for window in choose_windows(grid, gradients)
                    },
                )
            )
        size = window_grid(size, (2, 2))
    return traced


@dataclass
class _Record:
    """Values recorded by the hooks of a block: the attention and the messengers before and after the exchange."""

    exchange: Exchange
    attention: Tensor = field(default_factory=lambda: torch.empty(0))
    before: Tensor = field(default_factory=lambda: torch.empty(0))
    after: Tensor = field(default_factory=lambda: torch.empty(0))
    plan: Any = None


def _run(model: MsgTransformer, image: Tensor, records: Sequence[Sequence[_Record]], *, with_graph: bool) -> Tensor:
    """Fill the records of all blocks; return the tokens of the stem [1, H, W, C], for gradients."""
    stem: list[Tensor] = []

    def record_stem(module: Any, inputs: Any, output: Tensor) -> Tensor:  # noqa: ARG001
        stem.append(output.detach().requires_grad_(with_graph))
        return stem[0]

    hooks = [model.patch_embed.register_forward_hook(record_stem)]
    for stage, stage_records in zip(model.stages, records, strict=True):
        for block, record in zip(stage.blocks, stage_records, strict=True):
            hooks += _register_hooks(block, record)
    with evaluation_mode(model, hooks), torch.set_grad_enabled(with_graph):
        for _ in model.forward_stages(image):
            pass
    return stem[0]


def _register_hooks(block: Block, record: _Record) -> list[RemovableHandle]:
    def record_attention(module: WindowAttention, inputs: tuple[Tensor]) -> None:
        record.attention = attention_weights(module, inputs[0])[:, :, 0]

    def record_exchange(module: Any, inputs: tuple[Tensor, Any]) -> None:  # noqa: ARG001
        record.before, record.plan = inputs[0].detach().clone(), inputs[1]

    def record_output(module: Any, inputs: Any, output: Tensor) -> None:  # noqa: ARG001
        record.after = output[:, 0]

    return [
        block.attn.register_forward_pre_hook(record_attention),
        block.exchange.register_forward_pre_hook(record_exchange),
        block.register_forward_hook(record_output),
    ]


@torch.no_grad()
def attention_weights(attention: WindowAttention, x: Tensor) -> Tensor:
    """Compute the attention weights of a window attention (softmax in equation 5 of the MSG-Transformer paper).

    Args:
        attention: Attention of a block.
        x: Window tokens [B * n, N, C]; token 0 is the messenger.

    Returns:
        Attention weights [B * n, heads, N, N]; rows are queries and sum to 1.
    """
    qkv = attention.qkv(x).unflatten(-1, (3, attention.num_heads, -1)).permute(2, 0, 3, 1, 4)
    query, key, _ = qkv.unbind(0)  # each [B * n, heads, N, C / heads]
    scores = query @ key.transpose(-2, -1) * query.shape[-1] ** -0.5
    weights: Tensor = (scores + attention.position_bias()).softmax(dim=-1)
    return weights


def choose_windows(grid: Size, count: int) -> list[int]:
    """Choose windows that are evenly distributed over a grid.

    Args:
        grid: Rows and columns of windows.
        count: Maximum number of windows.

    Returns:
        Indices of the windows in raster order.
    """
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


def _gradient_norms(messenger: Tensor, tokens: Tensor) -> Tensor:
    """Return the gradient norm of half the squared norm of a messenger [C], for each token [1, H, W, C]: [H, W]."""
    (gradient,) = torch.autograd.grad(messenger.square().sum() / 2, tokens, retain_graph=True)
    norms: Tensor = gradient[0].norm(dim=-1)
    return norms.cpu()
