"""Trace the exchange routes and receptive fields of messengers (MSG-Transformer paper, sections 3.1 and 3.3).

An exchange is treated as a black box: numbered channels are passed through it, and if it does more than move them, its
derivatives are computed. This works for every exchange, including those registered by plug-ins.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from msgformer.models.exchange import Exchange
from msgformer.models.merging import OverlappingMerging
from msgformer.models.msg_transformer import MsgTransformer
from msgformer.models.window import Size, window_grid


@dataclass(frozen=True)
class Routes:
    """Source windows of the messengers of n windows in one exchange.

    Attributes:
        shares: Fraction of each messenger (row) that comes from each window (column), float64 [n, n]; rows sum to 1.
        sources: Source window of each channel [n, C]; None if the exchange does more than move channels. ``shares`` are
            then those of the squared derivatives.
    """

    shares: Tensor
    sources: Tensor | None


def trace_routes(exchange: Exchange, messengers: Tensor, plan: Any) -> Routes:
    """Trace the routes of an exchange.

    Args:
        exchange: Exchange of a block.
        messengers: Its input for one image [n, C].
        plan: Its plan for the window grid of the image.
    """
    sources = _moved_from(exchange, messengers, plan)
    if sources is None:
        return Routes(_mixed_shares(exchange, messengers, plan), None)
    count, channels = sources.shape
    fraction = torch.full(sources.shape, 1 / channels, dtype=torch.float64)
    shares = torch.zeros(count, count, dtype=torch.float64).scatter_add_(1, sources.cpu(), fraction)
    return Routes(shares, sources.cpu())


@torch.no_grad()
def _moved_from(exchange: Exchange, messengers: Tensor, plan: Any) -> Tensor | None:
    """Return the source window of each channel [n, C], or None if the exchange does more than move channels.

    Every channel is numbered, once in ascending and once in descending order. If the exchange only moves channels, both
    outputs are integers that identify the same source channel.
    """
    numbers = torch.arange(messengers.numel(), device=messengers.device, dtype=messengers.dtype).view_as(messengers)
    last = numbers.numel() - 1
    ascending: Tensor = exchange(numbers.clone(), plan)
    descending: Tensor = exchange(last - numbers, plan)
    is_index = (ascending == ascending.round()) & (ascending >= 0) & (ascending <= last)
    if not bool((is_index & (ascending + descending == last)).all()):
        return None
    return ascending.long() // messengers.shape[1]


def _mixed_shares(exchange: Exchange, messengers: Tensor, plan: Any) -> Tensor:
    """Return the shares of the squared derivatives of each output messenger by each input messenger [n, n].

    For each messenger, the sum of its channels with random signs is differentiated. Its expected squared derivative is
    the sum over all channels, and it is exactly zero if there is no dependence.
    """
    count = len(messengers)
    generator = torch.Generator().manual_seed(0)
    signs = (torch.randint(2, messengers.shape, generator=generator) * 2 - 1).to(messengers)
    shares = torch.zeros(count, count, dtype=torch.float64)  # squares of small float32 numbers do not underflow
    with torch.enable_grad():
        before = messengers.detach().clone().requires_grad_()
        after = exchange(before.clone(), plan)
        for window in range(count):
            (gradient,) = torch.autograd.grad(after[window] @ signs[window], before, retain_graph=True)
            shares[window] = gradient.cpu().double().square().sum(dim=1)
    return shares / shares.sum(dim=1, keepdim=True).clamp(min=torch.finfo(shares.dtype).tiny)


def receptive_fields(model: MsgTransformer, size: Size, routes: Sequence[Sequence[Routes]]) -> list[list[Tensor]]:
    """Compute the receptive field of each messenger after each block, by following all paths of information.

    Attention spreads information within a window, the exchange along its routes, and token merging within its kernel,
    which can cross window borders.

    Args:
        model: The model.
        size: Height and width of the token map in stage 1.
        routes: Routes of every block of every stage.

    Returns:
        For every block of every stage, the windows of stage 1 that can influence each messenger, bool [n, n of stage
        1].
    """
    first_grid = window_grid(size, model.stages[0].window_size)
    patches = torch.eye(first_grid[0] * first_grid[1], dtype=torch.bool)
    messengers = torch.zeros_like(patches)  # initial messengers are parameters, independent of the image
    fields: list[list[Tensor]] = []
    for stage, exchanges in zip(model.stages, routes, strict=True):
        if stage.downsample is not None:
            kernel = kernel_reach(stage.downsample)
            grid = window_grid(size, stage.window_size)
            patches = _union(_touched(size, stage.window_size, kernel), patches)
            messengers = _union(_touched(grid, (1, 1), kernel), messengers)
            size = window_grid(size, (2, 2))
        fields.append([])
        for exchange in exchanges:
            patches = patches | messengers
            messengers = _union(exchange.shares > 0, patches)
            fields[-1].append(messengers)
    return fields


def kernel_reach(merging: nn.Module) -> tuple[int, int]:
    """Return the first and last input token of a merged token, relative to twice its position."""
    return (-1, 1) if isinstance(merging, OverlappingMerging) else (0, 1)


def _union(selected: Tensor, reach: Tensor) -> Tensor:
    """Return the union of the rows of ``reach`` [n, k] that each row of ``selected`` [m, n] marks, bool [m, k]."""
    return selected.float() @ reach.float() > 0


def _touched(size: Size, window: Size, kernel: tuple[int, int]) -> Tensor:
    """Return which windows of a map the tokens of each window of the merged map come from, bool [n', n]."""
    rows, cols = (_touched_along(side, step, kernel) for side, step in zip(size, window, strict=True))
    return torch.kron(rows.float(), cols.float()) > 0


def _touched_along(side: int, step: int, kernel: tuple[int, int]) -> Tensor:
    """Return the same along one axis of ``side`` tokens, in windows of ``step`` tokens."""
    halved = (side + 1) // 2
    touched = torch.zeros((halved + step - 1) // step, (side + step - 1) // step, dtype=torch.bool)
    for window in range(len(touched)):
        last = min((window + 1) * step, halved) - 1
        low, high = max(0, 2 * window * step + kernel[0]), min(side - 1, 2 * last + kernel[1])
        touched[window, low // step : high // step + 1] = True
    return touched
