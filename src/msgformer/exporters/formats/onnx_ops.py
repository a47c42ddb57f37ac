"""Translations of operators to ONNX that the library of torch's exporter lacks, or has in a slower form.

`torch.onnx.export` of a model needs none of them, because the models avoid stable sorts and remainders by dynamic sizes
while it captures them. A program that was captured before contains both.

Each function takes the arguments of the torch operator whose place it takes, values of the graph or Python numbers.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

import msgformer.exporters.graph.nms  # noqa: F401 defines an operator that is translated here

OPSET = 20


def translations() -> dict[Any, Callable[..., Any]]:
    """What ``torch.onnx.export`` takes as ``custom_translation_table``."""
    import onnxscript

    op: Any = onnxscript.opset20

    def remainder(value: Any, divisor: Any) -> Any:
        """Replace the library's translation, which takes no divisor that is a graph value, such as a dynamic size."""
        return op.Mod(value, op.CastLike(divisor, value))

    def floor_divide(value: Any, divisor: Any) -> Any:
        """Replace the library's translation, which has more operators. ONNX's own division does not round down."""
        divisor = op.CastLike(divisor, value)
        return op.Div(op.Sub(value, op.Mod(value, divisor)), divisor)

    def sort_stable(value: Any, *, stable: bool, dim: int = -1, descending: bool = False) -> Any:
        """The library has none. ONNX's TopK puts the lower index first among equals, which is a stable sort."""
        del stable
        length = op.Gather(op.Shape(value), op.Constant(value_ints=[dim]))
        return op.TopK(value, length, axis=dim, largest=int(descending), sorted=1)

    def mean(value: Any, dim: Any, keepdim: bool = False, *, dtype: int | None = None) -> Any:
        """OpenVINO 2026 drops a reshape that follows a mean without ``keepdims``."""
        del dtype  # of a model in float32, always that
        axes = op.Constant(value_ints=[dim] if isinstance(dim, int) else list(dim))
        kept = op.ReduceMean(value, axes, keepdims=1)
        return kept if keepdim else op.Squeeze(kept, axes)

    def attention(query: Any, key: Any, value: Any, bias: Any = None, *others: Any, **options: Any) -> Any:
        """The library's turns keys around with their heads already in front; OpenVINO then does both by themselves.

        Keys are scaled, turned around: OpenVINO would scale queries within their product, and take a slower one.
        """
        assert not any([*others, *options.values()])  # no dropout, no other scale, and no causal mask
        width = op.CastLike(op.Shape(query, start=-1), query)
        scores = op.MatMul(query, op.Div(op.Transpose(key, perm=[0, 1, 3, 2]), op.Sqrt(width)))
        scores = scores if bias is None else op.Add(scores, bias)
        return op.MatMul(op.Softmax(scores, axis=-1), value)

    def suppress(boxes: Any, scores: Any, most: int, overlap: float, threshold: float) -> Any:
        """ONNX's own operator, which gives places of the boxes left, [n, 3]."""
        limits = op.Constant(value_ints=[most]), *(op.Constant(value_floats=[one]) for one in (overlap, threshold))
        places = op.NonMaxSuppression(boxes, scores, *limits)
        ones = op.Expand(op.Constant(value_float=1.0), op.Shape(places, start=0, end=1))
        marks = op.ScatterND(op.ConstantOfShape(op.Shape(scores)), places, ones)
        return op.Greater(marks, op.Constant(value_float=0.0))

    aten = torch.ops.aten
    return {
        aten.remainder.Scalar: remainder,
        aten.floor_divide.default: floor_divide,
        aten.sort.stable: sort_stable,
        aten.mean.dim: mean,
        aten.scaled_dot_product_attention.default: attention,
        torch.ops.msgformer.suppress.default: suppress,
    }
