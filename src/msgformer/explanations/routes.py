"""Where messengers get what they hold, and how much of the image has reached them (sections 3.1 and 3.3).

An exchange is asked, not read: numbered channels are sent through it, and where it does more than move them, its
derivatives are taken. What holds for the shuffle so holds for every exchange, registered ones of others included.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from msgformer.models.exchange import Exchange
from msgformer.models.msg_transformer import MsgTransformer, OverlappingMerging
from msgformer.models.window import Size, window_grid


@dataclass(frozen=True)
class Routes:
    """Which windows the messengers of n windows come from in one exchange.

    Attributes:
        shares: Part of each messenger (row) that comes from each window (column), float64 [n, n]; rows sum to 1.
        sources: Window that each channel comes from, [n, C]; None where the exchange doesn't only move channels, so
            that ``shares`` are those of the squared derivatives.
    """

    shares: Tensor
    sources: Tensor | None


def trace_routes(exchange: Exchange, messengers: Tensor, plan: Any) -> Routes:
    """Finds out what an exchange does.

    Args:
        exchange: The exchange of a block.
        messengers: What it is given, [n, C], for one image.
        plan: Its plan for that image's grid of windows.
    """
    sources = _moved_from(exchange, messengers, plan)
    if sources is None:
        return Routes(_mixed_shares(exchange, messengers, plan), None)
    count, channels = sources.shape
    part = torch.full(sources.shape, 1 / channels, dtype=torch.float64)
    shares = torch.zeros(count, count, dtype=torch.float64).scatter_add_(1, sources.cpu(), part)
    return Routes(shares, sources.cpu())


@torch.no_grad()
def _moved_from(exchange: Exchange, messengers: Tensor, plan: Any) -> Tensor | None:
    """The window that each channel comes from, [n, C], or None if channels aren't only moved.

    Every channel is marked with its own whole number, once upwards and once downwards: what comes out of moves alone
    are whole numbers of the same place both times.
    """
    marks = torch.arange(messengers.numel(), device=messengers.device, dtype=messengers.dtype).view_as(messengers)
    last = marks.numel() - 1
    upwards, downwards = exchange(marks.clone(), plan), exchange(last - marks, plan)
    whole = (upwards == upwards.round()) & (upwards >= 0) & (upwards <= last)
    if not bool((whole & (upwards + downwards == last)).all()):
        return None
    return upwards.long() // messengers.shape[1]


def _mixed_shares(exchange: Exchange, messengers: Tensor, plan: Any) -> Tensor:
    """Parts of the squared derivative of each messenger by each messenger before, [n, n].

    Of a messenger's channels one sum with random signs is differentiated, whose square is that of all of them on
    average; where there is no dependence it is exactly zero.
    """
    count = len(messengers)
    generator = torch.Generator().manual_seed(0)
    signs = (torch.randint(2, messengers.shape, generator=generator) * 2 - 1).to(messengers)
    shares = torch.zeros(count, count, dtype=torch.float64)  # in which no square of a small number becomes zero
    with torch.enable_grad():
        before = messengers.detach().clone().requires_grad_()
        after = exchange(before.clone(), plan)
        for window in range(count):
            (slope,) = torch.autograd.grad(after[window] @ signs[window], before, retain_graph=True)
            shares[window] = slope.cpu().double().square().sum(dim=1)
    return shares / shares.sum(dim=1, keepdim=True).clamp(min=torch.finfo(shares.dtype).tiny)


def receptive_fields(model: MsgTransformer, size: Size, routes: Sequence[Sequence[Routes]]) -> list[list[Tensor]]:
    """How far each messenger's knowledge reaches after each block, by following every way that tokens take.

    Attention makes a window's tokens know what any of them knew; the exchange carries it along its routes; token
    merging reaches over borders as its kernel does.

    Args:
        model: The model.
        size: Height and width of the map of stage 1.
        routes: Of every block of every stage.

    Returns:
        For every block of every stage, which windows of stage 1 each messenger knows of, bool [n, n of stage 1].
    """
    first_grid = window_grid(size, model.stages[0].window_size)
    patches = torch.eye(first_grid[0] * first_grid[1], dtype=torch.bool)
    messengers = torch.zeros_like(patches)  # learned: at first they know nothing of the image
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
    """First and last token that a token merging sees, counted from twice the place of the one it makes."""
    return (-1, 1) if isinstance(merging, OverlappingMerging) else (0, 1)


def _union(chosen: Tensor, known: Tensor) -> Tensor:
    """For each row of ``chosen`` [m, n] the union of the rows of ``known`` [n, k] that it marks, bool [m, k]."""
    return chosen.float() @ known.float() > 0


def _touched(size: Size, window: Size, kernel: tuple[int, int]) -> Tensor:
    """Which windows of a map the tokens of each window of the halved map are merged from, bool [n', n]."""
    rows, cols = (_touched_along(side, step, kernel) for side, step in zip(size, window, strict=True))
    return torch.kron(rows.float(), cols.float()) > 0


def _touched_along(side: int, step: int, kernel: tuple[int, int]) -> Tensor:
    """The same along one side of ``side`` tokens, in windows of ``step``."""
    halved = (side + 1) // 2
    touched = torch.zeros((halved + step - 1) // step, (side + step - 1) // step, dtype=torch.bool)
    for window in range(len(touched)):
        last = min((window + 1) * step, halved) - 1
        low, high = max(0, 2 * window * step + kernel[0]), min(side - 1, 2 * last + kernel[1])
        touched[window, low // step : high // step + 1] = True
    return touched
