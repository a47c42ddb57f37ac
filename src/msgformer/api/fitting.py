"""A training put together from its settings: data, model, loops and files. Imported once all of it is needed."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any

from lightning import Trainer
from lightning.pytorch.utilities import rank_zero_only
from lightning.pytorch.utilities.seed import isolate_rng
from torch import nn

from msgformer.api.runs import CONFIG_FILE, new_run
from msgformer.api.train_settings import TrainSettings
from msgformer.data.balance import class_weights
from msgformer.data.checking import (
    SKIPPED_FILE,
    Skipped,
    check_subsets,
    count_skipped,
    read_skipped,
    write_skipped,
)
from msgformer.data.digits import NAME as DIGITS
from msgformer.data.locations import parse_location
from msgformer.data.mixing import build_mixer, mixes
from msgformer.data.module import ImageData, default_workers
from msgformer.data.preprocessing import Preprocessing, eval_transform, train_transform
from msgformer.data.samples import Samples
from msgformer.data.sources import Source
from msgformer.data.split import read_split
from msgformer.data.subsets import open_subsets, record_subsets
from msgformer.errors import UserError, shown
from msgformer.seeding import derive, seed_generators
from msgformer.training.build import build_model, checkpoint_gradients, default_size, known_model
from msgformer.training.checkpoint import BEST, ModelCard, find_resumable, write_atomically
from msgformer.training.classify import Classifier
from msgformer.training.module import Plan
from msgformer.training.progress import epoch_report
from msgformer.training.run import Run
from msgformer.training.run_files import RunFiles
from msgformer.training.trainer import quiet

CLASSES_FILE = "classes.txt"


def fit(settings: TrainSettings, output: Path | None, resume: Path | None) -> dict[str, Any]:
    """Train, or go on with a training.

    Args:
        settings: Checked settings.
        output: Where a new run is wanted; None for the next free folder.
        resume: Folder of a run to go on with.

    Returns:
        The fields of ``TrainResult``.
    """
    start = time.monotonic()
    train, val, skipped = _open_data(settings, resume)
    checkpoint = None
    if resume is not None:
        checkpoint = find_resumable(resume)
        _check_subsets(resume, train, val)
    with quiet(), isolate_rng():
        seed_generators(derive(settings.seed))
        model = _build_model(settings, len(train.classes), pretrained=settings.pretrained and checkpoint is None)
        preprocessing = _preprocessing(settings, model)
        report = epoch_report(settings.trainer.progress)
        files = RunFiles(lambda: resume or _begin_run(settings, output, train, val, skipped), report)
        run = Run(settings.trainer, files, settings.epochs + settings.optim.cooldown_epochs)
        data = _build_data(settings, train, val, preprocessing, run.trainer)
        card = _card(settings, train.classes, preprocessing)
        classifier = _build_classifier(settings, model, card, train, data.batch_size, run.trainer)
        run.fit(classifier, data, checkpoint)
    assert files.folder is not None
    best = classifier.best.of(files.rows)
    return {
        "run": files.folder,
        "checkpoint": files.folder / BEST,
        "epoch": int(best["epoch"]),
        **{name: best[f"val/{name}"] for name in ("top1", "top5", "loss")},
        "epochs": len(files.rows),
        "seconds": time.monotonic() - start,
    }


def _open_data(settings: TrainSettings, resume: Path | None) -> tuple[Source, Source, list[Skipped]]:
    """The images to train and to validate on, readable as far as is known, and what is left out of them."""
    train, val = open_subsets(settings.data, settings.val_fraction, settings.seed)
    recorded = None if resume is None else read_skipped(resume)
    (train, val), skipped = check_subsets({"train": train, "val": val}, settings.on_bad_image, recorded)
    if skipped:
        rank_zero_only(print)(count_skipped(skipped, f"the run's {SKIPPED_FILE}"), file=sys.stderr, flush=True)
    return train, val, skipped


def _size(settings: TrainSettings) -> tuple[int, int]:
    return settings.size or default_size(settings.model)


def _build_model(settings: TrainSettings, num_classes: int, *, pretrained: bool) -> nn.Module:
    model = build_model(settings.model, num_classes, _size(settings), settings.model_args, pretrained=pretrained)
    if settings.trainer.grad_checkpointing:
        checkpoint_gradients(model, settings.model)
    if settings.trainer.compile:
        model.compile()  # in place: names of parameters stay
    return model


def _preprocessing(settings: TrainSettings, model: nn.Module) -> Preprocessing:
    channels = settings.model_args.get("in_chans", 3)
    return Preprocessing.of(model, _size(settings), channels, settings.preprocess)


def _build_data(
    settings: TrainSettings, train: Source, val: Source, preprocessing: Preprocessing, trainer: Trainer
) -> ImageData:
    workers = default_workers() if settings.workers is None else settings.workers
    return ImageData(
        Samples(train, train_transform(preprocessing, settings.augment), settings.seed),
        Samples(val, eval_transform(preprocessing), settings.seed),
        _batch_size(settings, len(train.labels) // trainer.world_size),
        workers,
        settings.seed,
        settings.trainer.start_method,
        balance=train.labels if settings.balance == "sampler" else None,
    )


def _batch_size(settings: TrainSettings, available: int) -> int:
    """Images a batch: as asked for, or all that a process has if they are fewer; even, where batches are mixed.

    Raises:
        UserError: batches are to be mixed, and the size asked for is odd.
    """
    size = min(settings.batch_size, available)
    if size % 2 and mixes(settings.augment):
        if size == settings.batch_size:
            raise UserError(f"batch_size must be even for mixup and cutmix, not {size}; change it or turn both off")
        size -= 1
    if size < 1:
        raise UserError(f"there are too few training images ({available} a process) for a batch")
    return size


def _card(settings: TrainSettings, classes: tuple[str, ...], preprocessing: Preprocessing) -> ModelCard:
    data = {
        "path": settings.data,
        "val_fraction": settings.val_fraction,
        "seed": settings.seed,
    }
    model_args = settings.to_dict()["model_args"]
    return ModelCard(known_model(settings.model), model_args, list(classes), preprocessing.to_dict(), data)


def _build_classifier(
    settings: TrainSettings, model: nn.Module, card: ModelCard, train: Source, batch_size: int, trainer: Trainer
) -> Classifier:
    augment, accumulate = settings.augment, settings.trainer.accumulate
    together = batch_size * trainer.world_size
    batches = len(train.labels) // together
    plan = Plan(
        settings.optim,
        total_batch=together * accumulate,
        epochs=settings.epochs,
        steps_per_epoch=-(-batches // accumulate),
        seed=settings.seed,
    )
    return Classifier(
        model,
        card,
        plan,
        names=train.name,
        smoothing=augment.smoothing if augment.enabled else 0.0,
        mixer=build_mixer(augment, len(card.classes)),
        mix_off_epoch=augment.mix_off_epoch,
        weights=class_weights(train.labels, len(card.classes)) if settings.balance == "loss" else None,
    )


def _begin_run(
    settings: TrainSettings, output: Path | None, train: Source, val: Source, skipped: list[Skipped]
) -> Path:
    """A new run folder that says what is trained on what."""
    run = new_run(output, parse_location(settings.data).title if settings.data else DIGITS)
    (run / CLASSES_FILE).write_text("".join(f"{shown(name)}\n" for name in train.classes), encoding="utf-8")
    record_subsets(run, train, val)
    write_skipped(run, skipped)
    # Last and at once: a folder that has it can be resumed, at whatever moment the run is killed.
    write_atomically(run / CONFIG_FILE, settings.write)
    return run


def _check_subsets(run: Path, train: Source, val: Source) -> None:
    """Make sure that a run goes on with the data that it was begun with.

    Raises:
        UserError: pictures have come or gone.
    """
    for subset, source in (("train", train), ("val", val)):
        recorded, found = read_split(run, subset), [source.name(index) for index in range(len(source.labels))]
        if recorded is None or recorded == found:
            continue
        changed = sorted(set(recorded).symmetric_difference(found)) or found
        what = "is gone" if changed[0] in recorded else "is new"
        raise UserError(
            f"resume: the run's {subset} images have changed since it began ({shown(changed[0])} {what}, of"
            f" {len(changed)} changes); restore them, or begin a new run"
        )
