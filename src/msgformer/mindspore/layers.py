"""Layers of both families: MindSpore's own where they serve, and what stands in where they don't.

On CPUs MindSpore's convolution knows no float64 and takes many times as long as a product of the same numbers, and
its LayerNorm computes float64 with seven digits.
"""

from __future__ import annotations

from typing import Any

import mindspore as ms
from mindspore import Tensor, nn, ops
from mindspore.common.initializer import TruncatedNormal

from msgformer.mindspore.window import gather_neighbors


class Linear(nn.Dense):
    """Linear layer with weights of standard deviation 0.02 and a bias of zeros.

    Args:
        inputs: Channels that come in.
        outputs: Channels that go out.
        bias: Whether there is a bias.
    """

    def __init__(self, inputs: int, outputs: int, bias: bool = True) -> None:
        super().__init__(inputs, outputs, TruncatedNormal(0.02), "zeros", has_bias=bias)


class LayerNorm(nn.LayerNorm):
    """Normalisation over the channels of each token, or over a whole map; every channel has its own weight.

    Args:
        dim: Channels C.
        eps: Added to the variance.
        whole: Over a map [B, H, W, C], which is a GroupNorm of one group.
    """

    def __init__(self, dim: int, eps: float = 1e-5, whole: bool = False) -> None:
        super().__init__((dim,), begin_norm_axis=1 if whole else -1, epsilon=eps)
        self.axes = (1, 2, 3) if whole else (-1,)
        self.eps = Tensor(eps, ms.float64)  # a number would be one of single precision

    def construct(self, x: Tensor) -> Tensor:
        """[..., C] to the same."""
        if x.dtype != ms.float64:
            return self.layer_norm(x, self.gamma, self.beta)[0]
        centred = x - ops.mean(x, self.axes, keep_dims=True)
        variance = ops.mean(centred * centred, self.axes, keep_dims=True)
        return centred / ops.sqrt(variance + self.eps) * self.gamma + self.beta


class Conv2d(nn.Conv2d):
    """Convolution of a map [B, H, W, C], without groups or with one a channel, by a product.

    Args:
        inputs: Channels that come in.
        outputs: Channels that go out.
        kernel: Side of the kernel.
        stride: Tokens from one place to the next.
        padding: Zeros at each border.
        depthwise: Whether every channel has a kernel of its own.
        bias: Whether there is a bias.
        **init: Initialisation of `mindspore.nn.Conv2d`.
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
        """[B, H, W, C] to [B, H', W', C']."""
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
        hidden: Channels between the two.
        drop: Drop rate after each.
    """

    def __init__(self, dim: int, hidden: int, drop: float) -> None:
        super().__init__()
        self.fc1 = Linear(dim, hidden)
        self.act = nn.GELU(approximate=False)
        self.fc2 = Linear(hidden, dim)
        self.drop = nn.Dropout(p=drop)

    def construct(self, x: Tensor) -> Tensor:
        """[..., C] to the same."""
        return self.drop(self.fc2(self.drop(self.act(self.fc1(x)))))


class DropPath(nn.Cell):
    """Drops a residual branch for some images, and scales it for the others.

    Args:
        rate: Share of the images.
    """

    def __init__(self, rate: float) -> None:
        super().__init__()
        self.rate = rate
        self.keep = nn.Dropout(p=rate)

    def construct(self, x: Tensor, batch: int) -> Tensor:
        """[B * n, ...] to the same; all rows of an image are kept or dropped together."""
        if not self.training or self.rate == 0.0:
            return x
        kept = self.keep(ops.ones((batch, 1), x.dtype))
        return (x.reshape(batch, -1) * kept).reshape(x.shape)


class ClassifierHead(nn.Cell):
    """Pooling, then a linear layer.

    Args:
        dim: Channels C.
        num_classes: Classes; 0 for none.
        global_pool: 'avg', 'max', or '' for not at all.
        drop_rate: Drop rate before the linear layer.

    Raises:
        ValueError: another pooling, or none together with classes.
    """

    def __init__(self, dim: int, num_classes: int, global_pool: str, drop_rate: float) -> None:
        super().__init__()
        if global_pool not in ("avg", "max", "") or (num_classes and not global_pool):
            raise ValueError(f"global_pool has to be 'avg' or 'max', or '' without classes, got {global_pool!r}")
        self.global_pool = global_pool
        self.drop = nn.Dropout(p=drop_rate)
        self.fc = Linear(dim, num_classes) if num_classes else nn.Identity()

    def construct(self, x: Tensor) -> Tensor:
        """[B, H, W, C] to logits [B, classes]; without classes, to [B, C] or, without pooling, to itself."""
        if self.global_pool == "avg":
            x = ops.mean(x, (1, 2))
        if self.global_pool == "max":
            x = ops.amax(x, (1, 2))
        return self.fc(self.drop(x))


def split_stages(rate: float, depths: tuple[int, ...]) -> list[list[float]]:
    """Drop path rate of each block by stage, from 0 at the first block linearly to ``rate`` at the last."""
    last = max(1, sum(depths) - 1)
    ends = [sum(depths[: index + 1]) for index in range(len(depths))]
    return [[rate * index / last for index in range(end - depth, end)] for end, depth in zip(ends, depths, strict=True)]
