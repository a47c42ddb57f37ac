"""Layers of both families: MindSpore's own where they are suitable, and replacements elsewhere.

On CPUs MindSpore's convolution does not support float64 and is many times slower than a matrix product, and its
LayerNorm computes float64 with seven digits.
"""

from __future__ import annotations

from typing import Any

import mindspore as ms
from mindspore import Tensor, nn, ops
from mindspore.common.initializer import TruncatedNormal

from msgformer.mindspore.window import gather_neighbors


class Linear(nn.Dense):
    """Linear layer with weights of standard deviation 0.02 and zero bias.

    Args:
        inputs: Channels of the input.
        outputs: Channels of the output.
        bias: Whether there is a bias.
    """

    def __init__(self, inputs: int, outputs: int, bias: bool = True) -> None:
        super().__init__(inputs, outputs, TruncatedNormal(0.02), "zeros", has_bias=bias)


class LayerNorm(nn.LayerNorm):
    """Normalization over the channels of each token, or over a whole map; weights are per channel.

    Args:
        dim: Channels C.
        eps: Added to the variance.
        whole: Normalize over a map [B, H, W, C], as a GroupNorm with one group.
    """

    def __init__(self, dim: int, eps: float = 1e-5, whole: bool = False) -> None:
        super().__init__((dim,), begin_norm_axis=1 if whole else -1, epsilon=eps)
        self.axes = (1, 2, 3) if whole else (-1,)
        self.eps = Tensor(eps, ms.float64)  # MindSpore converts Python numbers to single precision

    def construct(self, x: Tensor) -> Tensor:
        """Normalize tokens [..., C]; same shape."""
        if x.dtype != ms.float64:
            return self.layer_norm(x, self.gamma, self.beta)[0]
        centered = x - ops.mean(x, self.axes, keep_dims=True)
        variance = ops.mean(centered * centered, self.axes, keep_dims=True)
        return centered / ops.sqrt(variance + self.eps) * self.gamma + self.beta


class Conv2d(nn.Conv2d):
    """Convolution of a map [B, H, W, C], standard or depth-wise, as a matrix product.

    Args:
        inputs: Channels of the input.
        outputs: Channels of the output.
        kernel: Side of the kernel.
        stride: Stride of the kernel.
        padding: Zeros at each border.
        depthwise: Whether every channel has its own kernel.
        bias: Whether there is a bias.
        **init: Initialization arguments of `mindspore.nn.Conv2d`.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        kernel: int,
        stride: int = 1,
        padding: int = 0,
        depthwise: bool = False,
        bias: bool = True,
        **init: Any,
    ) -> None:
        groups = inputs if depthwise else 1
        super().__init__(inputs, outputs, kernel, stride, "pad", padding, group=groups, has_bias=bias, **init)
        self.side, self.step, self.zeros, self.depthwise = kernel, stride, padding, depthwise

    def construct(self, x: Tensor) -> Tensor:
        """Convolve a map [B, H, W, C]; return [B, H', W', C']."""
        x = x if self.side == 1 else gather_neighbors(x, self.step, self.side, self.zeros)  # [B, H', W', k * k * C]
        if self.depthwise:
            kernels = self.weight.reshape(self.out_channels, self.side**2).swapaxes(0, 1)
            batch, height, width, _ = x.shape
            x = ops.sum(x.reshape(batch, height, width, self.side**2, self.out_channels) * kernels, 3)
        else:
            x = ops.dense(x, self.weight.transpose(0, 2, 3, 1).reshape(self.out_channels, -1))
        return x if self.bias is None else x + self.bias


class Mlp(nn.Cell):
    """Two linear layers with GELU between them.

    Args:
        dim: Channels C.
        hidden: Channels between the two layers.
        drop: Dropout rate after each layer.
    """

    def __init__(self, dim: int, hidden: int, drop: float) -> None:
        super().__init__()
        self.fc1 = Linear(dim, hidden)
        self.act = nn.GELU(approximate=False)
        self.fc2 = Linear(hidden, dim)
        self.drop = nn.Dropout(p=drop)

    def construct(self, x: Tensor) -> Tensor:
        """Apply the MLP to tokens [..., C]; same shape."""
        return self.drop(self.fc2(self.drop(self.act(self.fc1(x)))))


class DropPath(nn.Cell):
    """Drops a residual branch for some images, and scales it for the others.

    Args:
        rate: Probability that an image is dropped.
    """

    def __init__(self, rate: float) -> None:
        super().__init__()
        self.rate = rate
        self.keep = nn.Dropout(p=rate)

    def construct(self, x: Tensor, batch: int) -> Tensor:
        """Drop or keep all rows of an image together.

        Args:
            x: Output of the branch [B * n, ...].
            batch: Number of images B.

        Returns:
            Scaled output [B * n, ...].
        """
        if not self.training or self.rate == 0.0:
            return x
        mask = self.keep(ops.ones((batch, 1), x.dtype))
        return (x.reshape(batch, -1) * mask).reshape(x.shape)


class ClassifierHead(nn.Cell):
    """Pooling, then a linear layer.

    Args:
        dim: Channels C.
        num_classes: Number of classes; 0 for none.
        global_pool: 'avg', 'max', or '' for none.
        drop_rate: Dropout rate before the linear layer.

    Raises:
        ValueError: Unknown pooling, or no pooling with classes.
    """

    def __init__(self, dim: int, num_classes: int, global_pool: str, drop_rate: float) -> None:
        super().__init__()
        if global_pool not in ("avg", "max", "") or (num_classes and not global_pool):
            raise ValueError(f"global_pool must be 'avg' or 'max', or '' without classes, got {global_pool!r}")
        self.global_pool = global_pool
        self.drop = nn.Dropout(p=drop_rate)
        self.fc = Linear(dim, num_classes) if num_classes else nn.Identity()

    def construct(self, x: Tensor) -> Tensor:
        """Classify features [B, H, W, C]; return logits [B, classes], or without classes pooled features [B, C]."""
        if self.global_pool == "avg":
            x = ops.mean(x, (1, 2))
        if self.global_pool == "max":
            x = ops.amax(x, (1, 2))
        return self.fc(self.drop(x))


def drop_path_rates(rate: float, depths: tuple[int, ...]) -> list[list[float]]:
    """Compute the drop path rate of each block per stage; it rises linearly from 0 at the first block.

    Args:
        rate: Rate of the last block.
        depths: Number of blocks per stage.
    """
    last = max(1, sum(depths) - 1)
    ends = [sum(depths[: index + 1]) for index in range(len(depths))]
    return [[rate * index / last for index in range(end - depth, end)] for end, depth in zip(ends, depths, strict=True)]
