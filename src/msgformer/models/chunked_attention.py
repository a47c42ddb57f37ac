"""Attention that measures how much attention each key receives, in chunks of queries that bound its memory."""

from __future__ import annotations

import torch
import torch.fx
import torch.nn.functional as F
from timm.models import checkpoint as run_checkpointed
from torch import Tensor

MAX_SCORES_PER_CHUNK = 2**22
"""Largest number of attention scores per image that are stored at once: 16 MiB in float32."""


def attend_and_measure(
    query: Tensor, key: Tensor, value: Tensor, num_heads: int, dropout: float = 0.0
) -> tuple[Tensor, Tensor]:
    """Attend and measure the attention that keys receive, in chunks of queries where there are many scores.

    Args:
        query: Queries [B', n, D].
        key: Keys [B', m, D].
        value: Values [B', m, D].
        num_heads: Attention heads among the D channels.
        dropout: Dropout rate of attention weights.

    Returns:
        Output [B', n, D], and the attention per key, averaged over heads and queries, [B', m], without gradient.
    """
    query, key, value = (split_heads(t, num_heads) for t in (query, key, value))
    total, chunk_size = query.shape[2], MAX_SCORES_PER_CHUNK // (num_heads * key.shape[2])
    if torch.compiler.is_compiling() or total <= chunk_size:  # no branch on sizes in a graph
        out, received = attend_chunk(query, key, value, dropout)
    else:
        # Scores grow with the square of the image's area: store those of one chunk of queries, also in training.
        chunks = query.split(max(1, chunk_size), dim=2)
        parts = [run_checkpointed(attend_chunk, chunk, key, value, dropout) for chunk in chunks]
        outs, sums = zip(*parts, strict=True)
        out, received = torch.cat(outs, dim=2), torch.stack(sums).sum(0)
    return out.transpose(1, 2).flatten(2), received / (num_heads * total)


def attend_chunk(query: Tensor, key: Tensor, value: Tensor, dropout: float) -> tuple[Tensor, Tensor]:
    """Attend from a chunk of queries.

    Args:
        query: Queries [B', h, q, d].
        key: Keys [B', h, m, d].
        value: Values [B', h, m, d].
        dropout: Dropout rate of attention weights.

    Returns:
        Output [B', h, q, d], and the attention per key, summed over heads and queries, [B', m], without gradient.
    """
    scores = query * query.shape[-1] ** -0.5 @ key.transpose(-2, -1)  # [B', h, q, m]
    weights = scores.softmax(dim=-1)
    return F.dropout(weights, dropout) @ value, weights.detach().sum(dim=(1, 2))


def split_heads(x: Tensor, num_heads: int) -> Tensor:
    """Split channels into heads.

    Args:
        x: Tokens [..., n, C].
        num_heads: Attention heads.

    Returns:
        Heads [..., heads, n, C / heads].
    """
    return x.unflatten(-1, (num_heads, -1)).transpose(-3, -2)
