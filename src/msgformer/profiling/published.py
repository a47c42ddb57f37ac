"""Published sizes and scores of the models; imports nothing heavy."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class PublishedSize:
    """Published size of a classifier, or of a model with a detection or segmentation head.

    Attributes:
        setting: Data set and head, as in the title of the table.
        head: Name of the head; None for a classifier.
        input_size: Height and width of the image that multiply-adds are counted for.
        parameters: Millions of parameters, as printed.
        macs: Billions of multiply-adds, as printed; None if they are not published.
        scores: Published scores by name, in percent.
    """

    setting: str
    head: str | None
    input_size: tuple[int, int]
    parameters: float
    macs: float | None
    scores: dict[str, float]


def _classifier(parameters: float, macs: float, top1: float) -> PublishedSize:
    return PublishedSize("ImageNet-1k", None, (224, 224), parameters, macs, {"top-1": top1})


def _cascade(parameters: float, macs: float, box: float, mask: float) -> PublishedSize:
    scores = {"box AP": box, "mask AP": mask}
    return PublishedSize("COCO, Cascade Mask R-CNN", "cascade_mask_rcnn", (800, 1280), parameters, macs, scores)


def _mask_rcnn(parameters: float, box: float, mask: float) -> PublishedSize:
    scores = {"box AP": box, "mask AP": mask}
    return PublishedSize("COCO, Mask R-CNN", "mask_rcnn", (800, 1280), parameters, None, scores)


def _upernet(parameters: float, macs: float, miou: float) -> PublishedSize:
    return PublishedSize("ADE20K, UPerNet", "upernet", (512, 2048), parameters, macs, {"mIoU": miou})


PUBLISHED: dict[str, tuple[PublishedSize, ...]] = {
    "msg_transformer_tiny": (_classifier(25, 3.8, 82.4), _cascade(83, 731, 51.4, 44.6)),
    "msg_transformer_small": (_classifier(56, 8.4, 83.4), _cascade(113, 831, 52.5, 45.5)),
    "msg_transformer_base": (_classifier(84, 14.2, 84.0), _cascade(142, 956, 52.8, 45.7)),
    "msg_transformer_v1_tiny": (_classifier(28, 4.6, 80.9), _cascade(86, 748, 50.3, 43.6)),
    "msg_transformer_v1_small": (_classifier(50, 8.9, 83.0), _cascade(107, 842, 51.8, 44.8)),
    "msg_transformer_v1_base": (_classifier(88, 15.8, 83.5), _cascade(145, 990, 51.9, 45.0)),
    "sgformer_small": (_classifier(22.5, 4.8, 83.2), _mask_rcnn(41, 47.4, 42.6), _upernet(53, 989, 49.9)),
    "sgformer_medium": (_classifier(39, 7.5, 84.1), _mask_rcnn(51, 48.2, 43.6), _upernet(68, 1114, 51.2)),
    "sgformer_base": (_classifier(78, 15.6, 84.7), _upernet(109, 1304, 52.0)),
}
"""Published sizes by model.

Sources: Tables 2 and 3 of the MSG-Transformer paper, the README of its June 2021 code (``v1``), and the tables of the
SG-Former paper. Mean IoU is at a single scale.
"""
