"""Linear layers and convolutions for inference on CPUs: weights are packed once, and fused with subsequent operators.

Linear layers and depth-wise convolutions are C++ kernels of this package where available. Otherwise oneDNN stores
weights in a blocked layout, which PyTorch would recompute at every call of a convolution, and applies an activation or
adds a residual while the output is in the cache. PyTorch offers both to its own compiler only; here they are called
directly. Where neither applies (another device or type, a captured graph, no oneDNN), ordinary operators compute the
same.
"""

from __future__ import annotations

from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from msgformer.kernels.cpu.library import CHANNELS, is_loaded, is_plain
from msgformer.optimized import products
from msgformer.optimized.ops import add, layer_norm

Activation = Literal["none", "gelu"]


class Packed(nn.Module):
    """Weight and bias as buffers, and the weight in other layouts, which are computed at first use.

    Args:
        weight: Weight of a layer, [out, in, ...].
        bias: Bias [out], or None.
        activation: Activation of the output.
    """

    weight: Tensor
    bias: Tensor | None
    packed: Tensor | None
    panels: Tensor | None
    layouts: tuple[str, ...] = ("packed", "panels")
    is_matrix = True

    def __init__(self, weight: Tensor, bias: Tensor | None, activation: Activation) -> None:
        super().__init__()
        self.register_buffer("weight", weight.detach().contiguous())
        self.register_buffer("bias", None if bias is None else bias.detach().contiguous())
        self.activation = activation
        self._drop_layouts()

    def panels_for(self, x: Tensor) -> Tensor | None:
        """Return the weight in panels, if the layer is a matrix product and a kernel supports the input.

        Args:
            x: Input [...] of the layer.

        Returns:
            Panels [out * in], or None.
        """
        out_channels, in_channels = self.weight.shape[:2]
        if not self.is_matrix or in_channels % CHANNELS or out_channels % CHANNELS or not is_supported(x, self.weight):
            return None
        if self.panels is None and not torch.compiler.is_compiling():
            with torch.inference_mode(False):  # otherwise a graph that is compiled later could not use them
                self.panels = products.pack(self.weight.view(out_channels, in_channels))
        return self.panels

    def __getstate__(self) -> dict[str, object]:
        # A tensor in oneDNN's layout can neither be copied nor stored, and other machines need other layouts.
        return {**self.__dict__, **dict.fromkeys(self.layouts)}

    def _apply(self, *args: Any, **kwargs: Any) -> Any:
        # Private, but the only method that to(), half(), cuda() and calls on a parent module have in common.
        before = self.weight
        super()._apply(*args, **kwargs)  # type: ignore[no-untyped-call]  # mypy excludes no calls of super()
        if self.weight is not before:  # the layouts have the old type and device
            self._drop_layouts()
        return self

    def _load_from_state_dict(self, *args: Any, **kwargs: Any) -> None:
        super()._load_from_state_dict(*args, **kwargs)
        self._drop_layouts()  # they hold the old weight

    def _drop_layouts(self) -> None:
        vars(self).update(dict.fromkeys(self.layouts))


class PackedLinear(Packed):
    """A linear layer for inference, with a preceding norm, and an activation or a residual.

    Args:
        weight: Weight [out, in].
        bias: Bias [out].
        activation: Activation of the output; not together with a residual.
        eps: Epsilon of a preceding LayerNorm without weights; None for no norm.
    """

    def __init__(
        self, weight: Tensor, bias: Tensor | None, activation: Activation = "none", eps: float | None = None
    ) -> None:
        super().__init__(weight, bias, activation)
        self.out_features, self.in_features = weight.shape
        self.eps = eps

    @property
    def kernel_eps(self) -> float:
        """`eps` in the encoding of the kernels."""
        return products.NO_NORM if self.eps is None else self.eps

    def sections(self, x: Tensor, count: int) -> list[Tensor]:
        """Compute the inputs of `attend`: one tensor or, during export, several.

        Runtimes of exported files copy parts out of one tensor, which takes longer than separate products.

        Args:
            x: Tokens [..., in].
            count: Number of equal parts.

        Returns:
            One tensor [..., out], or `count` tensors [..., out / count].
        """
        if not torch.compiler.is_exporting():
            return [self(x)]
        x, size = self.normed(x), self.out_features // count
        parts = [slice(start, start + size) for start in range(0, self.out_features, size)]
        return [self._product(x, self.weight[part], None if self.bias is None else self.bias[part]) for part in parts]

    def _product(self, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        is_exporting = torch.compiler.is_exporting()  # export a matrix product: runtimes fuse it with the bias
        out = F.linear(x.flatten(0, -2) if is_exporting else x, weight, bias)
        out = F.gelu(out) if self.activation == "gelu" else out
        return out.view(*x.shape[:-1], len(weight)) if is_exporting else out

    def normed(self, x: Tensor) -> Tensor:
        """Apply the norm, if there is one, to tokens [..., in]; same shape."""
        return x if self.eps is None else layer_norm(x, None, None, self.eps)

    def forward(self, x: Tensor, residual: Tensor | None = None) -> Tensor:
        """Apply norm, linear layer, and activation or residual.

        Args:
            x: Tokens [..., in].
            residual: Added to the output, [..., out].

        Returns:
            Tokens [..., out].
        """
        panels = self.panels_for(x)
        if panels is not None:
            return products.linear(x, panels, self.bias, residual, self.kernel_eps, self.activation == "gelu")
        x = self.normed(x)
        if not is_packable(x, self.weight):
            out = self._product(x, self.weight, self.bias)
            return out if residual is None else add(residual, out)
        # oneDNN's fused operators have no public names; Inductor's graphs call them like this.
        if self.packed is None:
            self.packed = torch.ops.mkldnn._reorder_linear_weight(self.weight, None)
        if residual is None:
            return torch.ops.mkldnn._linear_pointwise(x, self.packed, self.bias, self.activation, [], "none")
        return torch.ops.mkldnn._linear_pointwise.binary(x, residual, self.packed, self.bias, "add")


class PackedConv2d(Packed):
    """A convolution for inference, with an activation or a residual; maps are channels-last.

    Args:
        conv: The convolution, padded with zeros by a number of pixels per side.
        activation: Activation of the output; not together with a residual.
    """

    taps: Tensor | None
    layouts = ("packed", "panels", "taps")

    def __init__(self, conv: nn.Conv2d, activation: Activation = "none") -> None:
        super().__init__(conv.weight, conv.bias, activation)
        self.conv_args: Any = ([*conv.padding], [*conv.stride], [*conv.dilation], conv.groups)
        size, channels = tuple(self.weight.shape[2:]), self.weight.shape[0]
        self.is_matrix = size == (1, 1) and self.conv_args == ([0, 0], [1, 1], [1, 1], 1)
        self.is_depthwise = size == (3, 3) and self.conv_args == ([1, 1], [1, 1], [1, 1], channels)
        self.packed_shape: torch.Size | None = None

    def taps_for(self, x: Tensor) -> Tensor | None:
        """Return the weight as [9, C], if it is a depth-wise 3 x 3 kernel and a C++ kernel supports the input.

        Args:
            x: Input [B, C, H, W].

        Returns:
            Weight [9, C], or None.
        """
        if not (self.is_depthwise and self.weight.shape[0] % CHANNELS == 0 and is_supported(x, self.weight)):
            return None
        if self.taps is None and not torch.compiler.is_compiling():
            with torch.inference_mode(False):
                self.taps = self.weight.flatten(1).T.contiguous()
        return self.taps

    def forward(self, x: Tensor, residual: Tensor | None = None) -> Tensor:
        """Apply the convolution, and activation or residual.

        Args:
            x: Map [B, C, H, W].
            residual: Added to the output, [B, C', H', W'].

        Returns:
            Map [B, C', H', W'].
        """
        if (panels := self.panels_for(x)) is not None:
            added = None if residual is None else residual.permute(0, 2, 3, 1)
            return products.linear(
                x.permute(0, 2, 3, 1), panels, self.bias, added, products.NO_NORM, self.activation == "gelu"
            ).permute(0, 3, 1, 2)
        if not is_packable(x, self.weight):
            if torch.compiler.is_compiling() and not torch.compiler.is_exporting():
                x = x.contiguous(memory_format=torch.channels_last)  # the compiler does this implicitly
            padding, stride, dilation, groups = self.conv_args
            out = F.conv2d(x, self.weight, self.bias, stride, padding, dilation, groups)
            out = F.gelu(out) if self.activation == "gelu" else out
            return out if residual is None else residual + out
        if self.packed is None or self.packed_shape != x.shape:
            # Reorder for the current size: a layout for oneDNN's default size can be ten times slower.
            reorder: Any = torch._C._nn.mkldnn_reorder_conv2d_weight  # its type stub lacks an argument
            self.packed, self.packed_shape = reorder(self.weight.to_mkldnn(), *self.conv_args, list(x.shape)), x.shape
        x = x.contiguous(memory_format=torch.channels_last)
        if residual is None:
            return torch.ops.mkldnn._convolution_pointwise(
                x, self.packed, self.bias, *self.conv_args, self.activation, [], "none"
            )
        return torch.ops.mkldnn._convolution_pointwise.binary(
            x, residual, self.packed, self.bias, *self.conv_args, "add", 1, None, [], None
        )


def fast_conv(source: nn.Conv2d) -> nn.Conv2d | PackedConv2d:
    """Optimize a convolution; one with a named or non-zero padding is returned unchanged."""
    return PackedConv2d(source) if source.padding_mode == "zeros" and isinstance(source.padding, tuple) else source


def is_supported(x: Tensor, weight: Tensor) -> bool:
    """Return whether the C++ kernels support this input here and now.

    Args:
        x: Input [...].
        weight: Weight [out, in, ...].
    """
    if torch.is_autocast_enabled("cpu") or x.numel() == 0:
        return False
    return is_plain(x) and is_plain(weight) and is_loaded()


def conv_between(
    x: Tensor, first: PackedLinear, conv: PackedConv2d, second: PackedLinear, residual: Tensor, added: Tensor | None
) -> Tensor | None:
    """Compute residual + second(conv(first(x)) + added) in one kernel, with conv's activation.

    Args:
        x: Map [B, H, W, in].
        first: First layer, with its norm.
        conv: Depth-wise convolution; with an activation, ``added`` is None.
        second: Second layer, without activation or norm.
        residual: Map [B, H, W, out].
        added: Map [B, H, W, C], or None.

    Returns:
        Map [B, H, W, out], or None if there is no kernel.
    """
    panels1, taps, panels2 = first.panels_for(x), conv.taps_for(x), second.panels_for(x)
    if panels1 is None or taps is None or panels2 is None:
        return None
    layers = panels1, first.bias, taps, conv.bias, panels2, second.bias
    return products.conv_between(x, *layers, added, residual, first.kernel_eps, conv.activation == "gelu")


def is_packable(x: Tensor, weight: Tensor) -> bool:
    """Return whether oneDNN's layout can be used for this input here and now.

    Args:
        x: Input [...].
        weight: Weight [out, in, ...].
    """
    if torch.compiler.is_compiling() or torch.jit.is_tracing() or torch.is_autocast_enabled("cpu"):
        return False
    if not (torch.backends.mkldnn.is_available() and torch.backends.mkldnn.enabled):
        return False
    return is_plain(x) and is_plain(weight) and x.numel() > 0


def fold_norm(norm: nn.LayerNorm, linear: nn.Linear) -> tuple[Tensor, Tensor]:
    """Fold the weight and bias of a norm into the linear layer after it.

    Args:
        norm: The norm.
        linear: The linear layer.

    Returns:
        Weight [out, in] and bias [out].
    """
    weight = linear.weight * norm.weight
    bias = linear.weight @ norm.bias
    return weight, bias if linear.bias is None else bias + linear.bias


def prepare_layouts(model: nn.Module) -> None:
    """Pack the weights of all layers; a compiled graph can't do this, and would not use the kernels."""
    for module in model.modules():
        if isinstance(module, Packed):
            module.panels_for(module.weight)
        if isinstance(module, PackedConv2d):
            module.taps_for(module.weight)
