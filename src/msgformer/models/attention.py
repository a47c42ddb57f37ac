"""Attention with a learned bias, by whichever way is the fastest where it is computed."""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.util import find_spec

import torch
import torch.nn.functional as F
from timm.layers import use_fused_attn
from torch import Tensor, nn

from msgformer.kernels.cpu import attention as native_attention
from msgformer.kernels.index_cache import is_traced

_KERNEL_DEVICE = "cuda"
_has_triton = torch.version.cuda is not None and find_spec("triton") is not None
_kernel_wanted = os.environ.get("MSGFORMER_WINDOW_KERNEL") != "0"


class SoftmaxAttention(nn.Module):
    """Base of attention modules whose weights can be observed, as those of timm's models can.

    The weights pass through ``softmax`` and ``attn_drop`` where they are computed explicitly: while `torch.fx` traces
    the model, while a hook is registered on one of the two, and with ``fused_attn`` off, as
    ``timm.layers.set_fused_attn(False)`` sets it in models created afterwards. Otherwise a fused kernel computes the
    attention, and the weights never exist. Both methods of ``timm.utils.AttentionExtract`` work.

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
        """Whether attention weights have to be computed explicitly for the input ``x``."""
        if not self.fused_attn or is_traced(x):
            return True
        if torch.compiler.is_compiling():
            return False  # looking at hooks would add guards to every graph
        return any(part._forward_hooks or part._forward_pre_hooks for part in (self.softmax, self.attn_drop))

    def attention_weights(self, query: Tensor, key: Tensor, bias: Tensor | None = None) -> Tensor:
        """softmax(Q K^T / sqrt(d) + B) before dropout.

        Args:
            query: [..., heads, N, d].
            key: [..., heads, M, d].
            bias: B, broadcastable to [..., heads, N, M].

        Returns:
            [..., heads, N, M]; rows sum to 1.
        """
        scores = query * query.shape[-1] ** -0.5 @ key.transpose(-2, -1)
        return self.softmax(scores if bias is None else scores + bias)


@contextmanager
def plain_attention() -> Iterator[None]:
    """Leaves attention to PyTorch's operators meanwhile, as ``MSGFORMER_WINDOW_KERNEL=0`` does in the whole process."""
    global _kernel_wanted
    before, _kernel_wanted = _kernel_wanted, False
    try:
        yield
    finally:
        _kernel_wanted = before


def has_kernel(heads: Sequence[Tensor], bias: Tensor, dropout: float = 0.0) -> bool:
    """Whether one kernel of this package computes an attention: on newer NVIDIA GPUs, and not in files to be exported.

    Args:
        heads: Queries, keys and values, or a tensor of them all, as `msgformer.kernels.triton_attention` takes them.
        bias: [1, heads, N, M].
        dropout: Drop rate of the attention weights.
    """
    if bias.device.type != _KERNEL_DEVICE or dropout or torch.jit.is_tracing():
        return False
    if not (_has_triton and _kernel_wanted):
        return False
    from msgformer.kernels import triton_attention as window_kernel

    return window_kernel.supports(heads, bias)


def packed_attention(qkv: Tensor, bias: Tensor, dropout: float = 0.0, queries: int | None = None) -> Tensor:
    """`biased_attention` of queries, keys and values as one linear layer leaves them, for the next to read.

    Args:
        qkv: [W, N, 3, heads, d].
        bias: B, [1, heads, N, N].
        dropout: drop rate of the attention weights.
        queries: M, how many tokens attend, from the first; None: all N.

    Returns:
        [W, M, heads * d].
    """
    if queries is None and has_kernel([qkv], bias, dropout):
        return torch.ops.msgformer.window_attention([qkv], bias).flatten(2)
    if queries is None and not dropout and _are_learned(qkv, bias) and native_attention.serves(qkv, bias):
        return native_attention.WindowAttention.apply(qkv, bias).flatten(2)
    query, key, value = qkv.permute(2, 0, 3, 1, 4).unbind(0)  # each [W, heads, N, d]
    query, bias = query[:, :, :queries], bias[:, :, :queries]
    return biased_attention(query, key, value, bias, dropout).transpose(1, 2).flatten(2)


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
    if query.dim() == 4 and has_kernel([query, key, value], bias, dropout):
        return torch.ops.msgformer.window_attention([query, key, value], bias).transpose(1, 2)
    if query.device.type == "cpu" and (_are_learned(bias) or dropout):
        # PyTorch has no fused kernel for this on CPUs, and its general one scales, masks and converts more than needed.
        return native_attention.attend_by_operators(query, key, value, bias, dropout)
    return F.scaled_dot_product_attention(query, key, value, bias, dropout)


def _are_learned(*tensors: Tensor) -> bool:
    """Whether gradients of all are wanted; for that of a bias PyTorch has no fused kernel on CPUs."""
    return torch.is_grad_enabled() and all(tensor.requires_grad for tensor in tensors)
