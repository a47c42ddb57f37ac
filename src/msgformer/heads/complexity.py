"""Multiply-adds of detectors and segmenters, counted as in the papers' tables."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from copy import deepcopy
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from msgformer.heads.detection.cascade import CascadeRoIHeads
from msgformer.heads.detection.detector import RCNN
from msgformer.heads.detection.retinanet import RetinaNet
from msgformer.models.msg_transformer import Stage

BOX_ROIS, MASK_ROIS = 1000, 100
"""Number of regions per image for which box heads and mask heads are counted."""


def count_detector_macs(detector: RCNN | RetinaNet, size: tuple[int, int] = (800, 1280)) -> dict[str, int]:
    """Count the multiply-adds per image of each part of a detector, without computing them.

    Matrix products and convolutions count, convolution biases once per output, LayerNorm twice per element; RoIAlign,
    NMS, activations and interpolation do not. MSG-Transformer's attention counts on whole windows, its MLPs on real
    tokens and messengers. Each box head counts on 1000 regions, each mask head on 100.

    Args:
        detector: Detector from `create_detector`.
        size: Height and width of the image.

    Returns:
        ``backbone``, ``pyramid``, ``rpn``, ``box_heads`` and ``mask_heads``, or ``backbone``, ``pyramid`` and ``head``.
    """
    model = deepcopy(detector).to("meta").eval()
    image = torch.empty(1, 3, *size, device="meta")
    macs = {"backbone": _count(model.backbone.body, image)[0]}
    both, features = _count(model.backbone, image)
    macs["pyramid"] = both - macs["backbone"]
    maps = list(features.values())
    if isinstance(model, RetinaNet):
        macs["head"], _ = _count(model.head, maps)
        return macs
    macs["rpn"], _ = _count(model.rpn.head, maps)
    return macs | _count_roi_heads(model.roi_heads, model.backbone.out_channels)


def count_segmenter_macs(segmenter: nn.Module, size: tuple[int, int] = (512, 2048)) -> int:
    """Count the multiply-adds per image of a segmenter in evaluation, as for a detector.

    Args:
        segmenter: Segmenter from `create_segmenter`.
        size: Height and width of the image.
    """
    model = deepcopy(segmenter).to("meta").eval()
    macs, maps = _count(model.backbone, torch.empty(1, 3, *size, device="meta"))
    return macs + _count(model.decode_head, maps)[0]


def _count_roi_heads(heads: CascadeRoIHeads, channels: int) -> dict[str, int]:
    """Count the multiply-adds of all box heads and of all mask heads, on regions with ``channels`` channels."""
    side = heads.box_extractor.output_size
    boxes = torch.empty(BOX_ROIS, channels, side, side, device="meta")
    macs = {"box_heads": sum(_count(head, boxes)[0] for head in heads.bbox_head)}
    side = heads.mask_extractor.output_size
    masks = torch.empty(MASK_ROIS, channels, side, side, device="meta")
    if heads.mask_head:
        macs["mask_heads"] = sum(_count(head, masks)[0] for head in heads.mask_head)
    return macs


def _count(module: Any, inputs: Tensor | list[Tensor]) -> tuple[int, Any]:
    """Count the multiply-adds of a module, and return them with its output."""
    counter = FlopCounterMode(display=False)
    with torch.no_grad(), counter, _elementwise(module) as extra:
        outputs = module(inputs)
    return counter.get_total_flops() // 2 + sum(extra), outputs


@contextmanager
def _elementwise(module: nn.Module) -> Iterator[list[int]]:
    """Count what PyTorch's counter leaves out: biases and LayerNorms; MLPs on padding count as negative."""
    counts: list[int] = []

    def count(layer: Any, _: object, output: Any) -> None:
        if isinstance(layer, Stage):
            counts.append(-_mlp_on_padding(layer, *output))
        elif isinstance(layer, nn.LayerNorm):
            counts.append(2 * output.numel())
        elif layer.bias is not None:  # of a convolution
            counts.append(output.numel())

    kinds = (Stage, nn.LayerNorm, nn.Conv2d, nn.ConvTranspose2d)
    handles = [layer.register_forward_hook(count) for layer in module.modules() if isinstance(layer, kinds)]
    try:
        yield counts
    finally:
        for handle in handles:
            handle.remove()


def _mlp_on_padding(stage: Stage, patches: Tensor, messengers: Tensor) -> int:
    """Count the multiply-adds of a stage's MLPs on padding; the tables count real tokens and messengers only.

    Args:
        stage: Stage of MSG-Transformer.
        patches: Its map [B, H, W, C].
        messengers: One messenger per window, [..., C].
    """
    windows = messengers.shape[:-1].numel()
    padding = windows * stage.window_size[0] * stage.window_size[1] - patches.shape[:3].numel()
    layers = (layer for block in stage.blocks for layer in (block.mlp.fc1, block.mlp.fc2))
    return padding * sum(layer.weight.numel() for layer in layers)
