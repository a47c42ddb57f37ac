"""Attention with a learned bias, computed by the fastest implementation for the device at hand."""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.util import find_spec

import torch
import torch.nn.functional as F
from timm.layers import use_fused_attn
from torch import Tensor, nn

from msgformer.kernels.cpu import attention as cpu_attention
from msgformer.kernels.graph_capture import is_traced

_KERNEL_DEVICE = "cuda"
_has_triton = torch.version.cuda is not None and find_spec("triton") is not None
_kernel_wanted = os.environ.get("MSGFORMER_WINDOW_KERNEL") != "0"


class SoftmaxAttention(nn.Module):
    """Base of attention modules whose weights can be observed, like those of timm's models.

    The weights pass through ``softmax`` and ``attn_drop`` where they are computed explicitly: while `torch.fx` traces
    the model, while a hook is registered on one of the two, and with ``fused_attn`` off, which
    ``timm.layers.set_fused_attn(False)`` sets in models created afterwards. Otherwise a fused kernel computes the
    attention, and the weights are never stored. Both methods of ``timm.utils.AttentionExtract`` work.

    Args:
        attn_drop: Dropout rate of attention weights.
    """

    def __init__(self, attn_drop: float) -> None:
        super().__init__()
        self.fused_attn = use_fused_attn()
        self.softmax = nn.Softmax(dim=-1)
        self.attn_drop = nn.Dropout(attn_drop)

    @property
    def dropout(self) -> float:
        """Current dropout rate of attention weights: 0 in evaluation."""
        return self.attn_drop.p if self.training else 0.0

    def needs_weights(self, x: Tensor) -> bool:
        """Whether attention weights have to be computed explicitly.

        Args:
            x: Input tokens of the attention, [..., N, C].
        """
        if not self.fused_attn or is_traced(x):
            return True
        if torch.compiler.is_compiling():
            return False  # reading hooks would add guards to every graph
        # nn.Module has no public query for its hooks.
        return any(part._forward_hooks or part._forward_pre_hooks for part in (self.softmax, self.attn_drop))

    def attention_weights(self, query: Tensor, key: Tensor, bias: Tensor | None = None) -> Tensor:
        """Compute softmax(Q K^T / sqrt(d) + B) before dropout (eq. 5 of the MSG-Transformer paper).

        Args:
            query: Queries Q [..., heads, N, d].
            key: Keys K [..., heads, M, d].
            bias: Position bias B, broadcastable to [..., heads, N, M].

        Returns:
            Attention weights [..., heads, N, M]; each row sums to 1.
        """
        scores = query * query.shape[-1] ** -0.5 @ key.transpose(-2, -1)
        return self.softmax(scores if bias is None else scores + bias)


@contextmanager
def plain_attention() -> Iterator[None]:
    """Compute attention with PyTorch's operators in this context, like ``MSGFORMER_WINDOW_KERNEL=0`` per process."""
    global _kernel_wanted
    before, _kernel_wanted = _kernel_wanted, False
    try:
        yield
    finally:
        _kernel_wanted = before


def has_kernel(heads: Sequence[Tensor], bias: Tensor, dropout: float = 0.0) -> bool:
    """Whether the Triton kernel of this package computes an attention: on recent NVIDIA GPUs, outside exported files.

    Args:
        heads: Queries, keys and values, each [W, heads, N or M, d], or one packed tensor [W, N, 3, heads, d].
        bias: Position bias [1, heads, N, M].
        dropout: Dropout rate of the attention weights.
    """
    if bias.device.type != _KERNEL_DEVICE or dropout or torch.jit.is_tracing():
        return False
    if not (_has_triton and _kernel_wanted):
        return False
    from msgformer.kernels import triton_attention as window_kernel

    return window_kernel.is_supported(heads, bias)


def packed_attention(qkv: Tensor, bias: Tensor, dropout: float = 0.0, num_queries: int | None = None) -> Tensor:
    """Compute `biased_attention` on the packed output of one linear layer.

    Args:
        qkv: Queries, keys and values [W, N, 3, heads, d].
        bias: Position bias B [1, heads, N, N].
        dropout: Dropout rate of the attention weights.
        num_queries: Number M of tokens that attend, counted from the first; None for all N.

    Returns:
        Tokens [W, M, heads * d].
    """
    if num_queries is None and has_kernel([qkv], bias, dropout):
        return torch.ops.msgformer.window_attention([qkv], bias).flatten(2)
    if num_queries is None and not dropout and _require_grad(qkv, bias) and cpu_attention.is_supported(qkv, bias):
        return cpu_attention.WindowAttention.apply(qkv, bias).flatten(2)
    query, key, value = qkv.permute(2, 0, 3, 1, 4).unbind(0)  # each [W, heads, N, d]
    query, bias = query[:, :, :num_queries], bias[:, :, :num_queries]
    return biased_attention(query, key, value, bias, dropout).transpose(1, 2).flatten(2)


def biased_attention(query: Tensor, key: Tensor, value: Tensor, bias: Tensor, dropout: float = 0.0) -> Tensor:
    """Compute softmax(Q K^T / sqrt(d) + B) V (eq. 5 of the MSG-Transformer paper).

    Args:
        query: Queries Q [..., heads, N, d].
        key: Keys K [..., heads, M, d].
        value: Values V [..., heads, M, d].
        bias: Position bias B [1, heads, N, M]; the fused kernel for CPUs requires four dimensions.
        dropout: Dropout rate of the attention weights.

    Returns:
        Updated heads [..., heads, N, d].
    """
    if query.dim() == 4 and has_kernel([query, key, value], bias, dropout):
        return torch.ops.msgformer.window_attention([query, key, value], bias).transpose(1, 2)
    if query.device.type == "cpu" and (_require_grad(bias) or dropout):
        # PyTorch has no fused kernel for this on CPUs, and its general one scales, masks and converts more than needed.
        return cpu_attention.attend_by_operators(query, key, value, bias, dropout)
    return F.scaled_dot_product_attention(query, key, value, bias, dropout)


def _require_grad(*tensors: Tensor) -> bool:
    """Whether all tensors need gradients; PyTorch has no fused CPU kernel for the gradient of the bias."""
    return torch.is_grad_enabled() and all(tensor.requires_grad for tensor in tensors)
