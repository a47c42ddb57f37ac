"""Classification: one class per image. Imports no heavy library."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from typing_extensions import override

from msgformer.data.files.locations import find_labels, resolve_data
from msgformer.tasks.base import T, Task

if TYPE_CHECKING:
    from PIL import Image
    from torch import Tensor, nn

    from msgformer.checkpoints.card import ModelCard
    from msgformer.data.problems import Problem
    from msgformer.data.repair.copying import Repair
    from msgformer.data.survey import Progress, Survey
    from msgformer.runs.train_settings import TrainSettings
    from msgformer.tasks.evaluation import Evaluation, EvaluationOptions
    from msgformer.tasks.explain_view import ExplainOptions, View
    from msgformer.tasks.export.source import ExportSource
    from msgformer.tasks.opened_model import OpenedModel
    from msgformer.tasks.prediction.predictor import InferenceConfig, Predictor
    from msgformer.tasks.training_setup import TrainingSetup
    from msgformer.utils.result import Result


class Classification(Task):
    """Predicts one class per image."""

    name = "classify"
    noun = "classifier"
    bundled_recipe, data_recipe = "embedded/digits", "finetune"
    train_options = (
        "img_size",
        "val_fraction",
        "split_seed",
        "split_file",
        "split_by",
        "folds",
        "fold",
        "on_bad_image",
        "preprocess",
        "augment",
        "teacher",
        "distill",
    )
    predict_options = ("top_k", "img_size", "backend")
    evaluate_options = ("img_size", "crop_pct", "crop_mode", "interpolation", "flip", "backend")
    metric = "top1"

    @override
    def choose(self, classifier: T, detector: T, segmenter: T) -> T:
        """Return the value for classifiers.

        Args:
            classifier: Value for classifiers.
            detector: Value for detectors.
            segmenter: Value for segmenters.
        """
        del detector, segmenter
        return classifier

    @override
    def require_classifier(self, what: str) -> None:
        """Accept the model."""

    @override
    def resolve_data(self, data: str) -> str:
        """Return a folder or ``SCHEME:LOCATION`` with absolute paths."""
        find_labels(data)
        return resolve_data(data)

    @override
    def survey(self, data: str, progress: Progress, options: Mapping[str, Any]) -> Survey:
        """Check images with one class each, at any location.

        Args:
            data: As `resolve_data` returns it.
            progress: Called with the number of images.
            options: Options of ``check_data_options`` that are given.
        """
        from msgformer.data.survey import survey_classification

        return survey_classification(data, progress)

    @override
    def repair(self, data: str, problems: Sequence[Problem], output: Path, options: Mapping[str, Any]) -> Repair:
        """Write a repaired copy in class folders.

        Args:
            data: As `resolve_data` returns it.
            problems: Problems that `survey` found.
            output: The new folder.
            options: Options of ``check_data_options`` that are given.
        """
        from msgformer.data.repair.classification import repair_classification

        return repair_classification(data, problems, output)

    @override
    def recognize(self, data: str) -> str | None:
        """Return the name of a classification data set's layout, or None if it isn't one.

        Args:
            data: A folder or ``SCHEME:LOCATION`` with absolute paths.
        """
        from msgformer.data.recognition import classification_layout

        return classification_layout(data)

    @override
    def build_model(self, card: ModelCard, **start: Any) -> nn.Module:
        """Build a classifier of this package or of timm.

        Args:
            card: The card.
            **start: Initial weights (``pretrained``, ``checkpoint``), which a card doesn't hold.
        """
        from msgformer.training.build import build_model

        return build_model(card.model, len(card.classes), card.img_size, card.model_args, **start)

    @override
    def describe_module(self, module: nn.Module) -> ModelCard | None:
        """Describe a classifier that has timm's configuration."""
        from msgformer.tasks.classification.module_card import describe_classifier

        return describe_classifier(module)

    @override
    def open_training(self, settings: TrainSettings, resume: Path | None) -> TrainingSetup:
        """Open images with one class each.

        Args:
            settings: Checked settings.
            resume: Folder of a run that is resumed; None for a new run.
        """
        from msgformer.tasks.classification.training_setup import ClassificationSetup

        return ClassificationSetup(settings, resume)

    @override
    def train_result(self, outcome: Mapping[str, Any]) -> Result:
        """Return accuracies and loss."""
        from msgformer.tasks.classification.train_result import TrainResult

        return TrainResult(**outcome["scores"], **{key: value for key, value in outcome.items() if key != "scores"})

    @override
    def report_batch_size(self, train_batch_size: int) -> int | None:
        """Return the batch size of the training."""
        return train_batch_size

    @override
    def predictor(self, model: OpenedModel, config: InferenceConfig, **options: Any) -> Predictor:
        """Return a predictor that takes ``top_k`` and ``img_size``.

        Args:
            model: The model.
            config: Device, precision and batches.
            **options: Options of ``predict_options`` that are given.
        """
        from msgformer.tasks.classification.predictor import ClassificationPredictor

        return ClassificationPredictor(model, config, **options)

    @override
    def embedder(self, model: OpenedModel, config: InferenceConfig) -> Callable[[Tensor | list[Tensor]], Tensor]:
        """Return a function that computes the input of the classifier's last layer.

        Args:
            model: The model.
            config: Device and precision.
        """
        from msgformer.tasks.classification.embedder import make_embedder

        return make_embedder(model, config)

    @override
    def evaluate(
        self, model: OpenedModel, data: str | None, config: InferenceConfig, options: EvaluationOptions
    ) -> Evaluation:
        """Score by accuracy, loss and calibration.

        Args:
            model: The model.
            data: The images; None for those that its run held out.
            config: Device, precision and batches.
            options: Test-time options, and whether to collect examples for a report.
        """
        from msgformer.tasks.classification.evaluation import evaluate_classifier

        return evaluate_classifier(model, data, config, options)

    @override
    def held_out_images(self, card: ModelCard, run: Path) -> tuple[int, Callable[[int], Image.Image]]:
        """Return the images that the run held out.

        Args:
            card: The card of the run's model.
            run: The run folder.
        """
        from msgformer.tasks.classification.evaluation import held_out_images

        return held_out_images(card, run)

    @override
    def img_size(self, model: OpenedModel) -> tuple[int, int]:
        """Return the size that the classifier was trained at."""
        return model.card.img_size

    @override
    def export_source(self, model: OpenedModel, size: tuple[int, int] | None) -> ExportSource:
        """Return the classifier with its preprocessing at a size.

        Args:
            model: The model.
            size: Height and width of the images; None for those of evaluation.
        """
        from msgformer.tasks.classification.export_source import export_source

        return export_source(model, size)

    @override
    def explain_view(self, model: OpenedModel, image: Image.Image, options: ExplainOptions) -> View:
        """Return the preprocessed image, or the whole image in its aspect ratio.

        Args:
            model: The model.
            image: Image in RGB.
            options: Size of the image, and whether the whole image is used.
        """
        from msgformer.tasks.classification.explain_view import explain_view

        return explain_view(model, image, options)
