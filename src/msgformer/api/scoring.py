"""A trained model put to work: on labelled images for its scores, on others for their classes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from lightning.fabric import Fabric

from msgformer.data.digits import NAME as DIGITS
from msgformer.data.module import default_workers, make_loader
from msgformer.data.preprocessing import Preprocessing, eval_transform
from msgformer.data.samples import Samples
from msgformer.data.sampling import EpochSampler
from msgformer.data.sources import FileSource, Source
from msgformer.data.subsets import open_evaluation, reopen_validation
from msgformer.training.checkpoint import ModelCard, load_model
from msgformer.training.classify import Scorer
from msgformer.training.options import Precision, Progress, TrainerOptions
from msgformer.training.trainer import build_trainer, quiet, refusals


def score(
    checkpoint: Path,
    data: Path | None,
    batch_size: int,
    workers: int | None,
    accelerator: str,
    precision: Precision,
    progress: Progress,
) -> dict[str, Any]:
    """The fields of ``EvaluateResult``; its arguments are those of ``evaluate``, checked."""
    model, card = load_model(checkpoint)
    source, name = _evaluation_set(checkpoint, data, card)
    options = TrainerOptions(accelerator=accelerator, devices=1, precision=precision, progress=progress)
    with quiet():
        trainer = build_trainer(options)
        trainer.validate(Scorer(model, len(card.classes)), _loader(source, card, batch_size, workers), verbose=False)
    return {
        "checkpoint": checkpoint,
        "data": name,
        "images": len(source.labels),
        "classes": len(card.classes),
        **{key: trainer.callback_metrics[f"val/{key}"].item() for key in ("top1", "top5", "loss")},
    }


def _evaluation_set(checkpoint: Path, data: Path | None, card: ModelCard) -> tuple[Source, str]:
    """The images to score on, and what to call them."""
    if data is not None:
        return open_evaluation(data, card.classes), str(data)
    path, fraction, seed = (card.data[key] for key in ("path", "val_fraction", "seed"))
    held_out = reopen_validation(checkpoint.parent, path and Path(path), card.classes, fraction, seed)
    return held_out, f"the held-out part of {path or DIGITS}"


def _loader(source: Source, card: ModelCard, batch_size: int, workers: int | None) -> Any:
    count = len(source.labels)
    samples = Samples(source, eval_transform(Preprocessing.from_dict(card.preprocessing)))
    if workers is None:
        workers = default_workers() if count > batch_size else 0
    return make_loader(samples, EpochSampler(count, 0, shuffle=False), batch_size, workers)


def stream_predictions(
    checkpoint: Path,
    files: list[str],
    top_k: int,
    batch_size: int,
    workers: int | None,
    accelerator: str,
    precision: Precision,
) -> Iterator[tuple[str, list[str], list[float]]]:
    """Path, class names and probabilities of each image, in order, a batch in memory at a time.

    Its arguments are those of ``predict``, checked.
    """
    model, card = load_model(checkpoint)
    top_k = min(top_k, len(card.classes))
    with quiet(), refusals():
        fabric = Fabric(accelerator=accelerator, devices=1, precision=precision)
    model = fabric.setup_module(model)
    loader = fabric.setup_dataloaders(_loader(FileSource(files), card, batch_size, workers))
    with torch.inference_mode():
        for images, _, positions in loader:
            top = model(images).float().softmax(-1).topk(top_k)
            for position, chances, indices in zip(positions, top.values.tolist(), top.indices.tolist(), strict=True):
                yield files[position], [card.classes[index] for index in indices], chances
