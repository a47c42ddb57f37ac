"""Attention with a learned bias, by whichever way is the fastest where it is computed."""

import torch
import torch.nn.functional as F
from torch import Tensor


def biased_attention(query: Tensor, key: Tensor, value: Tensor, bias: Tensor, dropout: float = 0.0) -> Tensor:
    """softmax(Q K^T / sqrt(d) + B) V (equation 5 of the MSG-Transformer paper).

    Args:
        query: [..., heads, N, d].
        key: [..., heads, M, d].
        value: [..., heads, M, d].
        bias: B, [1, heads, N, M]: of four dimensions, which the fused kernel for CPUs asks for.
        dropout: drop rate of the attention weights.

    Returns:
        [..., heads, N, d].
    """
    learned = torch.is_grad_enabled() and bias.requires_grad
    if query.device.type == "cpu" and (learned or dropout):
        # PyTorch has no fused kernel for this on CPUs, and its general one scales, masks and converts more than needed.
        scores = (query * query.shape[-1] ** -0.5) @ key.transpose(-2, -1) + bias
        return F.dropout(scores.softmax(-1), dropout) @ value
    return F.scaled_dot_product_attention(query, key, value, bias, dropout)
