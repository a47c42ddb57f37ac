"""Translations of torch operators to ONNX that torch's exporter lacks, or provides in a slower form.

`torch.onnx.export` of a model needs none of them, because the models avoid stable sorts and remainders by dynamic sizes
while it captures them. A program that was captured before contains both.

Each function takes the arguments of the torch operator that it replaces: values of the graph, or Python numbers.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

import msgformer.exporters.graph.nms  # noqa: F401 defines an operator that is translated here

OPSET = 20


def translations() -> dict[Any, Callable[..., Any]]:
    """Return the ``custom_translation_table`` for ``torch.onnx.export``."""
    import onnxscript

    op: Any = onnxscript.opset20

    def remainder(value: Any, divisor: Any) -> Any:
        """Replace the library's translation, which doesn't accept a graph value as divisor, such as a dynamic size."""
        return op.Mod(value, op.CastLike(divisor, value))

    def floor_divide(value: Any, divisor: Any) -> Any:
        """Replace the library's translation, which has more operators. ONNX's own division does not round down."""
        divisor = op.CastLike(divisor, value)
        return op.Div(op.Sub(value, op.Mod(value, divisor)), divisor)

    def sort_stable(value: Any, *, stable: bool, dim: int = -1, descending: bool = False) -> Any:
        """Add a missing translation. ONNX's TopK puts the lower index first among equals, which is a stable sort."""
        del stable
        length = op.Gather(op.Shape(value), op.Constant(value_ints=[dim]))
        return op.TopK(value, length, axis=dim, largest=int(descending), sorted=1)

    def mean(value: Any, dim: Any, keepdim: bool = False, *, dtype: int | None = None) -> Any:
        """Replace the library's translation: OpenVINO 2026 drops a reshape that follows a mean without ``keepdims``."""
        del dtype  # always float32 in these models
        axes = op.Constant(value_ints=[dim] if isinstance(dim, int) else list(dim))
        kept = op.ReduceMean(value, axes, keepdims=1)
        return kept if keepdim else op.Squeeze(kept, axes)

    def attention(query: Any, key: Any, value: Any, bias: Any = None, *others: Any, **options: Any) -> Any:
        """Replace the library's translation, whose separate permutations of the keys OpenVINO does not fuse.

        The transposed keys are scaled rather than the queries, for which OpenVINO selects a slower matrix product.
        """
        assert not any([*others, *options.values()])  # no dropout, no other scale, and no causal mask
        width = op.CastLike(op.Shape(query, start=-1), query)
        scores = op.MatMul(query, op.Div(op.Transpose(key, perm=[0, 1, 3, 2]), op.Sqrt(width)))
        scores = scores if bias is None else op.Add(scores, bias)
        return op.MatMul(op.Softmax(scores, axis=-1), value)

    def fixed_size_nms(boxes: Any, scores: Any, max_boxes: int, overlap: float, threshold: float) -> Any:
        """Use ONNX's operator, which returns the indices [n, 3] of the remaining boxes."""
        limits = op.Constant(value_ints=[max_boxes]), *(op.Constant(value_floats=[one]) for one in (overlap, threshold))
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
        torch.ops.msgformer.suppress.default: fixed_size_nms,
    }
