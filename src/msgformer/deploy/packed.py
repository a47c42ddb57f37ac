"""Linear layers and convolutions for inference on CPUs: weights laid out once, and what follows them in the same call.

oneDNN keeps weights in blocks of its own, which PyTorch lays out anew at every call of a convolution, and applies an
activation or adds a residual while a product is still in the cache. PyTorch offers both to its own compiler; they are
called here directly. Where they don't apply (another device or type, a graph being captured, no oneDNN) the same is
computed by ordinary operators.
"""

from __future__ import annotations

from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

Activation = Literal["none", "gelu"]


class Packed(nn.Module):
    """Weight and bias as buffers, and the weight in oneDNN's layout, which is made when it is first used.

    Args:
        weight: The weight.
        bias: The bias, if there is one.
        activation: Applied to the outcome.
    """

    weight: Tensor
    bias: Tensor | None
    packed: Tensor | None

    def __init__(self, weight: Tensor, bias: Tensor | None, activation: Activation) -> None:
        super().__init__()
        self.register_buffer("weight", weight.detach().contiguous())
        self.register_buffer("bias", None if bias is None else bias.detach().contiguous())
        self.activation = activation
        object.__setattr__(self, "packed", None)

    def __getstate__(self) -> dict[str, object]:
        # A tensor in oneDNN's layout can neither be copied nor stored.
        return {**self.__dict__, "packed": None}

    def _apply(self, *args: Any, **kwargs: Any) -> Any:
        self.packed = None  # it is of the old type and device
        return super()._apply(*args, **kwargs)


class PackedLinear(Packed):
    """A linear layer for inference, with an activation or a residual.

    Args:
        weight: [out, in]
        bias: [out]
        activation: Applied to the outcome; not together with a residual.
    """

    def __init__(self, weight: Tensor, bias: Tensor | None, activation: Activation = "none") -> None:
        super().__init__(weight, bias, activation)
        self.out_features, self.in_features = weight.shape

    def forward(self, x: Tensor, residual: Tensor | None = None) -> Tensor:
        """Tokens [..., in] to [..., out], to which ``residual`` of that shape is added."""
        if not is_packable(x, self.weight):
            out = F.linear(x, self.weight, self.bias)
            out = F.gelu(out) if self.activation == "gelu" else out
            return out if residual is None else residual + out
        if self.packed is None:
            self.packed = torch.ops.mkldnn._reorder_linear_weight(self.weight, None)
        if residual is None:
            return torch.ops.mkldnn._linear_pointwise(x, self.packed, self.bias, self.activation, [], "none")
        return torch.ops.mkldnn._linear_pointwise.binary(x, residual, self.packed, self.bias, "add")


class PackedConv2d(Packed):
    """A convolution for inference, with an activation or a residual; maps come and go channels-last.

    Args:
        conv: The convolution, with zeros as padding.
        activation: Applied to the outcome; not together with a residual.
    """

    def __init__(self, conv: nn.Conv2d, activation: Activation = "none") -> None:
        super().__init__(conv.weight, conv.bias, activation)
        self.where: Any = ([*conv.padding], [*conv.stride], [*conv.dilation], conv.groups)
        self.packed_for: torch.Size | None = None

    def forward(self, x: Tensor, residual: Tensor | None = None) -> Tensor:
        """[B, C, H, W] to [B, C', H', W'], to which ``residual`` of that shape is added."""
        if not is_packable(x, self.weight):
            padding, stride, dilation, groups = self.where
            out = F.conv2d(x, self.weight, self.bias, stride, padding, dilation, groups)
            out = F.gelu(out) if self.activation == "gelu" else out
            return out if residual is None else residual + out
        if self.packed is None or self.packed_for != x.shape:
            # For the size at hand: what suits the size that oneDNN else supposes can be ten times slower at this one.
            reorder: Any = torch._C._nn.mkldnn_reorder_conv2d_weight  # whose published type lacks an argument
            self.packed, self.packed_for = reorder(self.weight.to_mkldnn(), *self.where, list(x.shape)), x.shape
        x = x.contiguous(memory_format=torch.channels_last)
        if residual is None:
            return torch.ops.mkldnn._convolution_pointwise(
                x, self.packed, self.bias, *self.where, self.activation, [], "none"
            )
        return torch.ops.mkldnn._convolution_pointwise.binary(
            x, residual, self.packed, self.bias, *self.where, "add", 1, None, [], None
        )


def is_packable(x: Tensor, weight: Tensor) -> bool:
    """Whether oneDNN's layout can be used for this input, here and now."""
    if torch.compiler.is_compiling() or torch.jit.is_tracing() or torch.is_autocast_enabled("cpu"):
        return False
    if not (torch.backends.mkldnn.is_available() and torch.backends.mkldnn.enabled):
        return False
    return x.device.type == "cpu" and x.dtype == weight.dtype == torch.float32 and x.numel() > 0


def fold_norm(norm: nn.LayerNorm, linear: nn.Linear) -> tuple[Tensor, Tensor]:
    """Weight and bias of a linear layer that takes the weight and bias of the norm before it upon itself."""
    weight = linear.weight * norm.weight
    bias = linear.weight @ norm.bias
    return weight, bias if linear.bias is None else bias + linear.bias
