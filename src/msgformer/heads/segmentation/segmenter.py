"""Semantic segmenters by name: a backbone and a head."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, get_args

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from msgformer.config.dense_training_options import SegmentHead, SegmentOptions
from msgformer.data.segmentation.label_scheme import ignored_index
from msgformer.errors import UserError
from msgformer.heads.backbone import STRIDES, DenseBackbone, create_backbone
from msgformer.heads.segmentation.losses import LOSSES
from msgformer.heads.segmentation.semantic_fpn import SemanticFPNHead
from msgformer.heads.segmentation.upernet import FCNHead, UPerHead, resize
from msgformer.heads.weight_decay import exempt_parameters
from msgformer.model_names import nearest

HEADS = get_args(SegmentHead)
"""Names of the segmentation heads."""


class Segmenter(nn.Module):
    """Predicts a class per pixel.

    Args:
        backbone: Backbone with maps of stride 4, 8, 16 and 32.
        decode_head: Head that computes logits.
        auxiliary_head: Head that computes further logits in training.
        auxiliary_weight: Weight of the auxiliary loss.
        loss: Name in `LOSSES`.
        class_weights: Weight of each class in the losses; None for equal weights.

    Attributes:
        mean: Mean per channel for the normalization of images with values from 0 to 1.
        std: Standard deviation per channel for the normalization.
        ignored: Class of ignored pixels in targets.
    """

    def __init__(
        self,
        backbone: DenseBackbone,
        decode_head: UPerHead | SemanticFPNHead,
        auxiliary_head: FCNHead | None = None,
        auxiliary_weight: float = SegmentOptions.auxiliary_weight,
        loss: str = SegmentOptions.loss,
        class_weights: Sequence[float] | None = None,
    ) -> None:
        super().__init__()
        self.backbone = backbone
        self.decode_head = decode_head
        self.auxiliary_head = auxiliary_head
        self.auxiliary_weight = auxiliary_weight
        self.num_classes = decode_head.conv_seg.out_channels
        self.ignored = ignored_index(self.num_classes)
        self.loss = LOSSES[loss]
        weights = None if class_weights is None else torch.tensor(list(class_weights), dtype=torch.float32)
        self.register_buffer("class_weights", weights, persistent=False)
        self.mean, self.std = backbone.mean, backbone.std

    def forward(self, images: Tensor, targets: Tensor | None = None) -> Tensor | dict[str, Tensor]:
        """Compute losses if targets are given, and logits otherwise.

        Args:
            images: Normalized images [B, 3, H, W], of any size.
            targets: Classes from 0, [B, H, W]; 255 for ignored pixels, or 65535 with more than 255 classes.

        Returns:
            Logits [B, num_classes, H, W], or the weighted losses ``loss_seg`` [] and, with an auxiliary head,
            ``loss_aux`` [], to be summed.

        Raises:
            UserError: A single image in training, for which BatchNorm has no statistics, or different sizes of images
                and targets.
        """
        height, width = images.shape[-2:]
        padded = F.pad(images, (0, -width % STRIDES[-1], 0, -height % STRIDES[-1]))
        if targets is None:
            return self._logits(self.decode_head, self.backbone(padded), padded)[..., :height, :width]
        self._check(images, targets)
        maps = self.backbone(padded)
        targets = F.pad(targets, (0, -width % STRIDES[-1], 0, -height % STRIDES[-1]), value=self.ignored)
        losses = {"loss_seg": self._loss(self._logits(self.decode_head, maps, padded), targets)}
        if self.auxiliary_head is not None:
            logits = self._logits(self.auxiliary_head, maps, padded)
            losses["loss_aux"] = self._loss(logits, targets) * self.auxiliary_weight
        return losses

    def no_weight_decay(self) -> set[str]:
        """Return the names of the parameters that the backbone exempts from weight decay."""
        return exempt_parameters(self)

    def _loss(self, logits: Tensor, targets: Tensor) -> Tensor:
        weights = self.class_weights
        return self.loss(logits, targets, self.ignored, weights if isinstance(weights, Tensor) else None)

    @staticmethod
    def _logits(head: nn.Module, maps: list[Tensor], images: Tensor) -> Tensor:
        return resize(head(maps), images.shape[-2:])

    def _check(self, images: Tensor, targets: Tensor) -> None:
        expected = (len(images), *images.shape[-2:])
        if tuple(targets.shape) != expected:
            raise UserError(f"targets have shape {tuple(targets.shape)}, but the images need {expected}")
        # One image per device is enough for SyncBatchNorm.
        plain = any(type(module) is nn.BatchNorm2d for module in self.decode_head.modules())
        head = "upernet" if isinstance(self.decode_head, UPerHead) else "semantic_fpn"
        if self.training and plain:
            check_batch(head, len(images), images.shape[-2:])


def check_batch(head: str, num_images: int, size: Sequence[int]) -> None:
    """Check that BatchNorm gets more than one value per channel in training.

    Args:
        head: Name of the head. UPerNet pools to 1 x 1; the smallest map of Semantic FPN has a stride of 32.
        num_images: Images per batch and device.
        size: Height and width of the images.

    Raises:
        UserError: BatchNorm would get a single value.
    """
    positions = 1 if head == "upernet" else -(-size[0] // STRIDES[-1]) * -(-size[1] // STRIDES[-1])
    if num_images * positions < 2:
        other = "segment.head semantic_fpn" if head == "upernet" else "larger images (segment_images.crop)"
        raise UserError(
            f"a batch of 1 image of {size[0]} x {size[1]} pixels can't train the head {head}, since BatchNorm needs"
            f" several values per channel; give batch_size 2 or more (and as many images), or {other}"
        )


def create_segmenter(
    backbone: str | nn.Module,
    head: str = SegmentOptions.head,
    num_classes: int = 150,
    *,
    channels: int | None = None,
    auxiliary: bool = True,
    auxiliary_weight: float = SegmentOptions.auxiliary_weight,
    loss: str = SegmentOptions.loss,
    class_weights: Sequence[float] | None = None,
    **backbone_options: Any,
) -> Segmenter:
    """Create a semantic segmenter on any backbone.

    Call it with normalized images [B, 3, H, W] (see ``segmenter.mean`` and ``segmenter.std``). With classes [B, H, W]
    from 0, and ``segmenter.ignored`` for ignored pixels (255, or 65535 with more than 255 classes), it returns losses;
    without them it returns logits [B, num_classes, H, W].

    Args:
        backbone: Name of a model of this package or of timm, or a module that returns a list of maps of stride 4, 8, 16
            and 32 and describes them in ``feature_info``.
        head: ``"upernet"`` (512 channels, pooling 1, 2, 3, 6) or ``"semantic_fpn"``.
        num_classes: Number of classes: 150 for ADE20K.
        channels: Channels of the head; by default 512 for UPerNet and 128 for Semantic FPN.
        auxiliary: Whether UPerNet is trained with an auxiliary head on the map of stride 16.
        auxiliary_weight: Weight of the auxiliary loss.
        loss: ``"ce"``, ``"focal"``, ``"dice"``, ``"ce+dice"`` or ``"ohem"``.
        class_weights: Weight of each class in the loss; None for equal weights.
        **backbone_options: ``checkpoint``, ``pretrained``, ``map_norm``, ``frozen_stages``, ``grad_checkpointing`` and
            options of the model, see `create_backbone`.

    Returns:
        The segmenter, in training mode.

    Raises:
        UserError: There is no such head or backbone, or a checkpoint does not fit.
    """
    if head not in HEADS:
        raise UserError(f"unknown head {head!r}{nearest(head, HEADS)} (known: {', '.join(HEADS)})")
    if loss not in LOSSES:
        raise UserError(f"unknown loss {loss!r}{nearest(loss, [*LOSSES])} (known: {', '.join(LOSSES)})")
    if class_weights is not None and len(class_weights) != num_classes:
        raise UserError(f"class_weights has {len(class_weights)} numbers, not one for each of {num_classes} classes")
    body = create_backbone(backbone, **backbone_options)
    losses: dict[str, Any] = {"loss": loss, "class_weights": class_weights}
    if head == "semantic_fpn":
        return Segmenter(body, SemanticFPNHead(body.channels, num_classes, channels or 128), **losses)
    width = channels or 512
    auxiliary_head = FCNHead(body.channels, num_classes, width // 2) if auxiliary else None
    return Segmenter(body, UPerHead(body.channels, num_classes, width), auxiliary_head, auxiliary_weight, **losses)
