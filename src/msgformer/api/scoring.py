"""A trained model put to work: on labelled images for its scores, on others for their classes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from lightning.fabric import Fabric

from msgformer.data.checking import check_subsets
from msgformer.data.digits import NAME as DIGITS
from msgformer.data.module import default_workers, make_loader
from msgformer.data.options import OnBadImage
from msgformer.data.preprocessing import Preprocessing, eval_transform
from msgformer.data.samples import UNREADABLE, Samples
from msgformer.data.sampling import EpochSampler
from msgformer.data.sources import FileSource, Source
from msgformer.data.subsets import open_evaluation, reopen_validation
from msgformer.training.checkpoint import ModelCard, load_model
from msgformer.training.classify import Scorer
from msgformer.training.options import Precision, Progress, TrainerOptions
from msgformer.training.trainer import build_trainer, quiet, refusals


def score(
    checkpoint: Path,
    data: str | None,
    on_bad_image: OnBadImage,
    batch_size: int,
    workers: int | None,
    accelerator: str,
    precision: Precision,
    progress: Progress,
) -> dict[str, Any]:
    """The fields of ``EvaluateResult``; its arguments are those of ``evaluate``, checked."""
    model, card = load_model(checkpoint)
    source, name = _evaluation_set(checkpoint, data, card)
    (source,), skipped = check_subsets({"val": source}, on_bad_image) if on_bad_image == "skip" else ([source], [])
    options = TrainerOptions(accelerator=accelerator, devices=1, precision=precision, progress=progress)
    with quiet():
        trainer = build_trainer(options)
        trainer.validate(Scorer(model, len(card.classes)), _loader(source, card, batch_size, workers), verbose=False)
    return {
        "checkpoint": checkpoint,
        "data": name,
        "images": len(source.labels),
        "skipped": skipped,
        "classes": len(card.classes),
        **{key: trainer.callback_metrics[f"val/{key}"].item() for key in ("top1", "top5", "loss")},
    }


def _evaluation_set(checkpoint: Path, data: str | None, card: ModelCard) -> tuple[Source, str]:
    """The images to score on, and what to call them."""
    if data is not None:
        return open_evaluation(data, card.classes), data
    path, fraction, seed = (card.data[key] for key in ("path", "val_fraction", "seed"))
    held_out = reopen_validation(checkpoint.parent, path, card.classes, fraction, seed)
    return held_out, f"the held-out part of {path or DIGITS}"


def _loader(
    source: Source, card: ModelCard, batch_size: int, workers: int | None, on_bad_image: OnBadImage = "stop"
) -> Any:
    count = len(source.labels)
    transform = eval_transform(Preprocessing.from_dict(card.preprocessing))
    samples = Samples(source, transform, on_bad_image=on_bad_image)
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
    on_bad_image: OnBadImage,
) -> Iterator[tuple[str, list[str], list[float]]]:
    """Path, class names and probabilities of each image, in order, a batch in memory at a time.

    Its arguments are those of ``predict``, checked. An image that is skipped has no classes.
    """
    model, card = load_model(checkpoint)
    top_k = min(top_k, len(card.classes))
    with quiet(), refusals():
        fabric = Fabric(accelerator=accelerator, devices=1, precision=precision)
    model = fabric.setup_module(model)
    loader = fabric.setup_dataloaders(_loader(FileSource(files), card, batch_size, workers, on_bad_image))
    with torch.inference_mode():
        for images, labels, positions in loader:
            top = model(images).float().softmax(-1).topk(top_k)
            rows = zip(positions, labels, top.values.tolist(), top.indices.tolist(), strict=True)
            for position, label, chances, indices in rows:
                if label == UNREADABLE:
                    yield files[position], [], []
                else:
                    yield files[position], [card.classes[index] for index in indices], chances
