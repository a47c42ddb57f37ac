"""Training setup of classification."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lightning import Trainer
from lightning.pytorch.utilities import rank_zero_only
from torch import nn
from typing_extensions import override

from msgformer.checkpoints.card import ModelCard
from msgformer.data.bundled.digits import NAME as DIGITS
from msgformer.data.classification.mixing import build_mixer, mixes
from msgformer.data.classification.samples import Samples
from msgformer.data.classification.skipped import SKIPPED_FILE, count_skipped, read_skipped, write_skipped
from msgformer.data.classification.subsets import layout_notes, open_training, record_subsets
from msgformer.data.loading.balance import class_weights
from msgformer.data.loading.module import ImageData
from msgformer.data.preprocessing import Preprocessing, eval_transform, train_transform
from msgformer.data.value_checks import source_values
from msgformer.models.registry import known_model
from msgformer.tasks.classification.distillation import Distillation
from msgformer.tasks.classification.teacher import open_teacher
from msgformer.tasks.classification.training_module import ClassificationTraining
from msgformer.tasks.initial_weights import load_initial_weights
from msgformer.tasks.training_setup import TrainingSetup, read_classes
from msgformer.training.build import build_model, default_size, enable_grad_checkpointing

if TYPE_CHECKING:
    from msgformer.runs.train_settings import TrainSettings


class ClassificationSetup(TrainingSetup):
    """Setup of a training on images with one class each.

    Args:
        settings: Checked settings.
        resume: Folder of a run that is resumed; None for a new run.
    """

    scores = ("top1", "top5", "loss")
    bundled = DIGITS

    def __init__(self, settings: TrainSettings, resume: Path | None) -> None:
        super().__init__(settings, resume)
        recorded = None if resume is None else read_skipped(resume)
        opened = open_training(settings.data, self.split_rule(), settings.on_bad_image, recorded, read_classes(resume))
        self.train, self.val, self.test, self.skipped = opened.train, opened.val, opened.test, opened.skipped
        messages = [f"note: {note}" for note in layout_notes(settings.data)]
        if self.skipped:
            messages.append(count_skipped(self.skipped, f"the run's {SKIPPED_FILE}"))
        for message in messages:
            rank_zero_only(print)(message, file=sys.stderr, flush=True)
        self.choose_value_range(
            "preprocess", lambda: {"train": source_values(self.train), "val": source_values(self.val)}
        )
        self.classes = self.train.classes

    @override
    def image_names(self) -> dict[str, list[str]]:
        """Return the names that the sources give to their images."""
        sources = {"train": self.train, "val": self.val}
        return {
            subset: [source.name(index) for index in range(len(source.labels))] for subset, source in sources.items()
        }

    @override
    def record(self, run: Path) -> None:
        """Write ``split.csv``, and the list of skipped images."""
        record_subsets(run, self.train, self.val, self.test)
        write_skipped(run, self.skipped)

    @override
    def build(self, trainer: Trainer, *, fresh: bool) -> tuple[ClassificationTraining, ImageData]:
        """Return the Lightning module of a classifier and its data module.

        Args:
            trainer: Knows the number of processes.
            fresh: Whether to initialize the weights as configured; False where a checkpoint replaces them.
        """
        settings, augment = self.settings, self.settings.augment
        model = self._build_model(fresh=fresh)
        preprocessing = Preprocessing.of(model, self._size, settings.model_args.get("in_chans", 3), settings.preprocess)
        data = self._build_data(preprocessing, self.batch_size(trainer, even=mixes(augment)))
        classifier = ClassificationTraining(
            model,
            self._card(preprocessing),
            self.plan(trainer, data.batch_size),
            names=self.train.name,
            smoothing=augment.smoothing if augment.enabled else 0.0,
            mixer=build_mixer(augment, len(self.classes)),
            mix_off_epoch=augment.mix_off_epoch,
            weights=class_weights(self.train.labels, len(self.classes)) if settings.balance == "loss" else None,
            distillation=self._distillation(preprocessing),
        )
        return classifier, data

    @property
    def _size(self) -> tuple[int, int]:
        return self.settings.size or default_size(self.settings.model)

    def _build_model(self, *, fresh: bool) -> nn.Module:
        settings = self.settings
        pretrained = settings.pretrained and fresh
        model = build_model(settings.model, len(self.classes), self._size, settings.model_args, pretrained=pretrained)
        if settings.init_from is not None and fresh:
            load_initial_weights(model, settings.init_from, self.classes)
        if settings.trainer.grad_checkpointing:
            enable_grad_checkpointing(model, settings.model)
        if settings.trainer.compile:
            model.compile()  # in place, which keeps the names of the parameters
        return model

    def _distillation(self, preprocessing: Preprocessing) -> Distillation | None:
        """Return the distillation from the teacher, if there is one.

        It is built after the model, so that the model's initial weights don't depend on it.
        """
        if self.settings.teacher is None:
            return None
        return Distillation(open_teacher(self.settings.teacher, self.classes, preprocessing), self.settings.distill)

    def _build_data(self, preprocessing: Preprocessing, batch_size: int) -> ImageData:
        settings = self.settings
        decoding: Any = {"min_side": preprocessing.min_side, "value_range": preprocessing.value_range}
        return ImageData(
            Samples(self.train, train_transform(preprocessing, settings.augment), settings.seed, **decoding),
            Samples(self.val, eval_transform(preprocessing), settings.seed, **decoding),
            batch_size,
            self.workers,
            settings.seed,
            settings.trainer.start_method,
            balance=self.train.labels if settings.balance == "sampler" else None,
        )

    def _card(self, preprocessing: Preprocessing) -> ModelCard:
        settings = self.settings
        rule = settings.split_rule
        has_fraction = rule.folds is None and rule.file is None and rule.by is None
        fraction = rule.fraction if has_fraction else None
        data = {"path": settings.data, "val_fraction": fraction, "seed": rule.seed}
        model_args = settings.to_dict()["model_args"]
        name, classes = known_model(settings.model), list(self.classes)
        return ModelCard(name, model_args, classes, preprocessing.to_dict(), data, plugins=settings.plugins)
