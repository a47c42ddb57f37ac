"""Verification of an exported file against the original model, on real images."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from statistics import median
from typing import Any, TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from msgformer.checkpoints.export_card import Sizes
from msgformer.errors import UserError
from msgformer.exporters.program import coarsest_stride
from msgformer.exporters.session import Order, Session
from msgformer.exporters.verify_detector import DetectionDiff, bypass_transform, compare_detections, run_detector
from msgformer.models.guided_attention import SelfGuidedAttention
from msgformer.utils.timing import time_interleaved

TOLERANCE = 5e-4
"""Maximum difference of float32 outputs, relative to the largest output or to 1, whichever is larger."""

MIN_SIMILARITY = 0.9
"""Minimum mean cosine similarity between the outputs of an int8 file and the model's."""

MIN_MATCHED = 0.95
"""Minimum fraction of the objects found by a detector or its file that the other one finds as well."""

ROUNDS = 5
"""Rounds in which model and file are timed alternately."""

Output = TypeVar("Output")


@dataclass(frozen=True)
class Verification:
    """Result of comparing an exported file with its model.

    Attributes:
        images: Number of images that were compared, at all sizes.
        max_difference: Largest difference of any output.
        agreement: Percentage of images or pixels with the same top-1 class, or of objects that both find.
        significance_difference: Largest relative difference of SG-Former's significance maps; both then use the file's
            order of tokens. None if the order was not traced.
        model_seconds: Median time of the model in PyTorch's eager mode, for one batch.
        file_seconds: Median time of the file, likewise; the runs are interleaved.
        box_difference: Largest difference of the box coordinates of objects that both find, in pixels; detectors only.
        objects: Number of objects of a detector plus those of its file.
    """

    images: int
    max_difference: float
    agreement: float
    significance_difference: float | None
    model_seconds: float
    file_seconds: float
    box_difference: float | None = None
    objects: int | None = None


def verify_logits(model: nn.Module, session: Session, images: Tensor) -> Verification:
    """Compare a file of a classifier or segmenter with its model.

    Args:
        model: The model, in evaluation mode on the CPU.
        session: Session of the file.
        images: Inputs [N, C, H, W]; if the size is dynamic, they are also compared at other sizes.

    Raises:
        UserError: The outputs of the file differ from those of the model.
    """
    card, parts = session.card, _parts(model, session, images)
    compared = [_compare(model, session, part) for part in parts]
    differences, scales, agreements, similarities, significances = zip(*compared, strict=True)
    worst = max(differences)
    _require(all(math.isfinite(one) for one in differences), session, "has outputs that are not finite")
    if card.precision == "int8":
        similarity = sum(similarities) / len(similarities)
        _require(similarity >= MIN_SIMILARITY, session, f"has outputs unlike the model's (cosine {similarity:.3f})")
    else:
        limit = TOLERANCE * max(1.0, *scales)
        _require(worst <= limit, session, f"differs from the model by {worst:.3g}, more than {limit:.2g}")
    return Verification(
        sum(map(len, parts)),
        worst,
        100 * sum(agreements) / len(agreements),
        _largest(significances),
        *_seconds(model, session, parts[0]),
    )


def verify_detector(model: nn.Module, session: Session, images: Tensor) -> Verification:
    """Compare a file of a detector with its model, object by object.

    Args:
        model: The model, in evaluation mode on the CPU.
        session: Session of the file.
        images: Inputs [N, C, H, W]; if the size is dynamic, they are also compared at other sizes.

    Raises:
        UserError: The objects of the file differ from those of the model.
    """
    with bypass_transform(model):
        return _verify_objects(model, session, _parts(model, session, images))


def _parts(model: nn.Module, session: Session, images: Tensor) -> list[Tensor]:
    """Return the images at all sizes to compare, in batches that the file accepts."""
    sizes = session.card.sizes
    return [part for size in _check_sizes(model, sizes, images) for part in _batches(images, size, sizes)]


def _verify_objects(model: nn.Module, session: Session, images: Sequence[Tensor]) -> Verification:
    compared, significances = zip(*[_compare_objects(model, session, image) for image in images], strict=True)
    objects, missed = sum(one.objects for one in compared), sum(one.missed for one in compared)
    worst = max(one.score for one in compared)
    _require(worst <= TOLERANCE, session, f"differs from the model by {worst:.3g}, more than {TOLERANCE:.2g}")
    _require(
        missed <= (1 - MIN_MATCHED) * objects, session, f"doesn't find {missed} of {objects} objects as the model does"
    )
    return Verification(
        len(images),
        worst,
        100 * (1 - missed / max(objects, 1)),
        _largest(significances),
        *_seconds(model, session, images[0]),
        max(one.box for one in compared),
        objects,
    )


def _largest(differences: Sequence[float | None]) -> float | None:
    return max((one for one in differences if one is not None), default=None)


def _seconds(model: nn.Module, session: Session, batch: Tensor) -> tuple[float, float]:
    """Return the median times of the model and of the file for one batch, with interleaved runs."""
    with torch.inference_mode():
        eager, exported = time_interleaved([lambda: model(batch), lambda: session(batch)], ROUNDS, warm_up=1)
    return median(eager), median(exported)


def _require(holds: bool, session: Session, problem: str) -> None:
    if not holds:
        raise UserError(f"the export to {session.card.format} {problem}; nothing was written, try another format")


def _check_sizes(model: nn.Module, sizes: Sizes, images: Tensor) -> list[tuple[int, int]]:
    """Return the sizes to compare: the images' size and, if the size is dynamic, a minimal and an odd one."""
    own = (images.shape[-2], images.shape[-1])
    if sizes.height[0] == sizes.height[1]:
        return [own]
    stride = coarsest_stride(model)
    return [own, (sizes.height[0], sizes.width[0] + stride // 4), (4 * stride + 3, 2 * stride + 5)]


def _batches(images: Tensor, size: tuple[int, int], sizes: Sizes) -> list[Tensor]:
    """Resize the images, and split them into full batches that the file accepts, the last one padded."""
    if tuple(images.shape[-2:]) != size:
        images = F.interpolate(images, size, mode="bilinear", antialias=True)
    if sizes.fixed_batch is None:
        return [images[:1], images]
    missing = -len(images) % sizes.fixed_batch
    filled = torch.cat([images, *[images[:1]] * missing])
    return list(filled.split(sizes.fixed_batch))


Compared = tuple[float, float, float, float, float | None]
"""Largest difference, largest output, agreement (0..1), cosine, relative difference of significance maps."""


@torch.no_grad()
def _compare(model: nn.Module, session: Session, images: Tensor) -> Compared:
    (found,) = session(images)
    expected, significance = _run_in_order(model, session, images, lambda: model(images))
    return (
        (found - expected).abs().max().item(),
        expected.abs().max().item(),
        (found.argmax(1) == expected.argmax(1)).float().mean().item(),
        F.cosine_similarity(found.flatten(1), expected.flatten(1)).mean().item(),
        significance,
    )


@torch.no_grad()
def _compare_objects(model: nn.Module, session: Session, image: Tensor) -> tuple[DetectionDiff, float | None]:
    (expected,), significance = _run_in_order(model, session, image, lambda: model(image))
    return compare_detections(
        run_detector(session, image), expected, TOLERANCE, TOLERANCE * max(image.shape[-2:])
    ), significance


def _run_in_order(
    model: nn.Module, session: Session, images: Tensor, run_model: Callable[[], Output]
) -> tuple[Output, float | None]:
    """Run the model with the file's order of tokens; return its outputs and the difference of its significance maps."""
    guided = [module for module in model.modules() if isinstance(module, SelfGuidedAttention)]
    orders = session.trace_orders(images) if guided and session.card.precision == "float32" else []
    orders = orders[: 2 * len(guided)]  # later sorts of a detector are not of tokens
    if not orders or len(orders) < 2 * len(guided):
        return run_model(), None
    with force_orders(guided, orders) as significances:
        expected = run_model()
    return expected, max(_relative(*pair) for pair in zip([keys for keys, _ in orders], significances, strict=True))


def _relative(found: Tensor, expected: Tensor) -> float:
    return ((found - expected).abs().max() / expected.abs().max().clamp(min=1e-12)).item()


@contextmanager
def force_orders(guided: Sequence[SelfGuidedAttention], orders: Sequence[Order]) -> Iterator[list[Tensor]]:
    """Make self-guided attentions merge tokens in given orders, instead of those of their own significance maps.

    In float32, rounding may swap tokens of nearly equal significance, which changes the outputs by more than rounding
    itself although neither model is wrong. With the same order in both, only rounding differences remain.

    Args:
        guided: The attentions, in the order of the model.
        orders: The order by rows and the order by columns of each attention.

    Yields:
        The values that each sort would have sorted [B, n]; filled as the model runs.
    """
    seen: list[Tensor] = []
    handles = []
    for attention, pair in zip(guided, zip(orders[::2], orders[1::2], strict=True), strict=True):
        handles.append(attention.register_forward_pre_hook(_recorder(seen)))
        attention.merge_tokens = _merger(attention, [order for _, order in pair])  # type: ignore[method-assign]
    try:
        yield seen
    finally:
        for attention, handle in zip(guided, handles, strict=True):
            handle.remove()
            del attention.merge_tokens  # restores the method of the class


def _recorder(seen: list[Tensor]) -> Callable[..., None]:
    def record(_: nn.Module, arguments: tuple[Any, ...]) -> None:
        significance = arguments[1]
        seen.extend([significance.flatten(1), significance.transpose(1, 2).flatten(1)])

    return record


def _merger(attention: SelfGuidedAttention, orders: list[Tensor]) -> Callable[..., Tensor]:
    remaining = iter(enumerate(orders))

    def merge(x: Tensor, order: Tensor) -> Tensor:
        del order
        by_column, forced = next(remaining)
        if by_column:  # the indices are those of the transposed map
            _, height, width, _ = x.shape
            forced = forced % height * width + forced // height
        return SelfGuidedAttention.merge_tokens(attention, x, forced)

    return merge
