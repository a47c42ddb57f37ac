"""Trained detectors and segmenters asked about images that nobody has annotated."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning.fabric import Fabric
from PIL import Image
from torch import Tensor

from msgformer.api.dense_results import DensePrediction, DensePredictResult, FoundObject
from msgformer.api.device import to_device
from msgformer.api.exported import open_model
from msgformer.api.following import followed
from msgformer.data.dense_options import SegmentImageOptions
from msgformer.data.detect_transforms import to_tensor
from msgformer.data.inputs import ImageInput
from msgformer.data.segment_transforms import SegmentEval
from msgformer.insight.drawing import Mark, class_map, draw_classes, draw_objects
from msgformer.rle import encode_masks
from msgformer.training.checkpoint import ModelCard
from msgformer.training.options import Precision, Progress
from msgformer.training.segment import mean_probabilities

PREDICTIONS = "predictions.json"


def predict_dense(
    checkpoint: Path,
    inputs: Iterable[ImageInput],
    output: Path | None,
    threshold: float,
    accelerator: str,
    precision: Precision,
    progress: Progress,
) -> DensePredictResult:
    """What images show, one image in memory at a time.

    Args:
        checkpoint: Weights of a detector or a segmenter.
        inputs: The images.
        output: New folder for pictures and ``predictions.json``, if any.
        threshold: Score from which on a detector's objects are told.
        accelerator: As Lightning names it.
        precision: Likewise.
        progress: How it is shown.

    Raises:
        UserError: an image can't be read, or the device isn't there.
    """
    model, card = open_model(checkpoint, accelerator, precision)
    if output is not None:
        output.mkdir(parents=True, exist_ok=True)
    fabric, asked = to_device(model, accelerator, precision)
    if card.task == "detect":
        answers = _detect(fabric, asked, card, inputs, output, threshold)
    else:
        transform = SegmentEval(SegmentImageOptions(**card.preprocessing), model.mean, model.std)  # type: ignore[arg-type]
        answers = _segment(fabric, asked, card, inputs, output, transform)
    predictions = list(followed(answers, lambda _: 1, progress, "predicting"))
    result = DensePredictResult(card.task, checkpoint, predictions, output)
    if output is not None:
        content = json.dumps([asdict(one) for one in predictions], indent=2, default=str)
        (output / PREDICTIONS).write_text(f"{content}\n", encoding="utf-8")
    return result


def _detect(
    fabric: Fabric, model: Any, card: ModelCard, inputs: Iterable[ImageInput], output: Path | None, threshold: float
) -> Iterator[DensePrediction]:
    for number, one in enumerate(inputs, 1):
        picture = one.load()
        with torch.inference_mode():
            (found,) = model([fabric.to_device(to_tensor(picture))])
        objects, marks = found_objects(found, card, threshold)
        drawn = None
        if output is not None:
            drawn = _save(draw_objects(picture, marks), output, number, one.name)
        yield DensePrediction(one.name, objects, drawn=drawn)


def found_objects(found: dict[str, Tensor], card: ModelCard, threshold: float) -> tuple[list[FoundObject], list[Mark]]:
    """What a detector found with a score of ``threshold`` or more: to be told, and to be drawn."""
    kept = {name: value[found["scores"] >= threshold].cpu().numpy() for name, value in found.items()}
    labels = (kept["labels"] - 1).tolist()
    boxes, scores = kept["boxes"].round(2).tolist(), kept["scores"].tolist()
    masks = list(kept["masks"]) if "masks" in kept else [None] * len(labels)
    rles = encode_masks(kept["masks"]) if "masks" in kept and labels else [None] * len(labels)
    names = [card.classes[label] for label in labels]
    texts = [f"{name} {score:.2f}" for name, score in zip(names, scores, strict=True)]
    return (
        [FoundObject(*fields) for fields in zip(names, scores, boxes, rles, strict=True)],
        [Mark(*fields) for fields in zip(boxes, labels, texts, masks, strict=True)],
    )


def _segment(
    fabric: Fabric,
    model: Any,
    card: ModelCard,
    inputs: Iterable[ImageInput],
    output: Path | None,
    transform: SegmentEval,
) -> Iterator[DensePrediction]:
    for number, one in enumerate(inputs, 1):
        picture = one.load()
        view = fabric.to_device(transform.image(picture))
        with torch.inference_mode():
            chances = mean_probabilities(model, [view], (picture.height, picture.width), flip=False)
        classes = chances.argmax(0).cpu().numpy().astype(np.uint8)
        counts = np.bincount(classes.ravel(), minlength=len(card.classes))
        parts = {card.classes[label]: 100 * float(counts[label]) / classes.size for label in np.flatnonzero(counts)}
        drawn = saved = None
        if output is not None:
            drawn = _save(draw_classes(picture, classes), output, number, one.name)
            saved = _save(class_map(classes), output, number, f"{Path(one.name).stem}-classes.png")
        yield DensePrediction(one.name, classes=parts, drawn=drawn, class_map=saved)


def _save(picture: Image.Image, output: Path, number: int, name: str) -> Path:
    """Write a picture, named by its number and the image's name."""
    path = output / f"{number:04d}-{Path(name).stem}.png"
    picture.save(path)
    return path
