"""Segmentation: one class per pixel. Imports no heavy library."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from typing_extensions import override

from msgformer.config.dense_data_options import LabelOptions
from msgformer.tasks.base import T
from msgformer.tasks.dense.task import DenseTask

if TYPE_CHECKING:
    from PIL import Image
    from torch import Tensor, nn

    from msgformer.checkpoints.card import ModelCard
    from msgformer.data.bundled.scene_folders import Counts
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


class Segmentation(DenseTask):
    """Predicts one class per pixel."""

    name = "segment"
    noun = "segmenter"
    bundled_recipe, data_recipe = "embedded/segment", "segment"
    train_options = ("segment", "segment_images")
    evaluate_options = ("scales", "flip")
    check_data_options = ("segment_images",)
    metric = "miou"
    scenes: ClassVar[Counts] = {"train": 4000, "val": 200}
    layout = "ADE20K"

    @override
    def choose(self, classifier: T, detector: T, segmenter: T) -> T:
        """Return the value for segmenters.

        Args:
            classifier: Value for classifiers.
            detector: Value for detectors.
            segmenter: Value for segmenters.
        """
        del classifier, detector
        return segmenter

    @override
    def check_layout(self, data: str) -> None:
        """Check that a folder is in ADE20K's or Cityscapes' layout."""
        from msgformer.data.segmentation.sets import find_segmentation

        find_segmentation(Path(data))

    @override
    def survey(self, data: str, progress: Progress, options: Mapping[str, Any]) -> Survey:
        """Check images with label maps.

        Args:
            data: As `resolve_data` returns it.
            progress: Called with the number of images.
            options: Options of ``check_data_options`` that are given.
        """
        from msgformer.data.survey import survey_segmentation

        return survey_segmentation(data, progress, options.get("segment_images", LabelOptions()))

    @override
    def repair(self, data: str, problems: Sequence[Problem], output: Path, options: Mapping[str, Any]) -> Repair:
        """Write a repaired copy in ADE20K's layout.

        Args:
            data: As `resolve_data` returns it.
            problems: Problems that `survey` found.
            output: The new folder.
            options: Options of ``check_data_options`` that are given.
        """
        from msgformer.data.repair.segmentation import repair_segmentation

        return repair_segmentation(data, problems, output, options.get("segment_images", LabelOptions()))

    @override
    def recognize(self, data: str) -> str | None:
        """Return the name of a segmentation data set's layout, or None if it isn't one.

        Args:
            data: A folder or ``SCHEME:LOCATION`` with absolute paths.
        """
        from msgformer.data.recognition import segmentation_layout

        return segmentation_layout(data)

    @override
    def create(self, name: str, num_classes: int, **arguments: Any) -> nn.Module:
        """Create a segmenter.

        Args:
            name: Name of the backbone.
            num_classes: Number of classes.
            **arguments: Further arguments of the model and of the backbone's constructor.
        """
        from msgformer.heads import create_segmenter

        return create_segmenter(name, num_classes=num_classes, **arguments)

    @override
    def describe_module(self, module: nn.Module) -> ModelCard | None:
        """Describe a segmenter of `msgformer.create_segmenter`."""
        from msgformer.tasks.segmentation.module_card import describe_segmenter

        return describe_segmenter(module)

    @override
    def _write(self, folder: Path, counts: Counts, seed: int) -> None:
        from msgformer.data.bundled.scene_folders import write_segmentation

        write_segmentation(folder, counts, seed)

    @override
    def open_training(self, settings: TrainSettings, resume: Path | None) -> TrainingSetup:
        """Open images with label maps.

        Args:
            settings: Checked settings.
            resume: Folder of a run that is resumed; None for a new run.
        """
        from msgformer.tasks.segmentation.training_setup import SegmentationSetup

        return SegmentationSetup(settings, resume)

    @override
    def predictor(self, model: OpenedModel, config: InferenceConfig, **options: Any) -> Predictor:
        """Return a predictor without options.

        Args:
            model: The model.
            config: Device, precision and batches.
            **options: Options of ``predict_options`` that are given.
        """
        from msgformer.tasks.segmentation.predictor import SegmentationPredictor

        return SegmentationPredictor(model, config, **options)

    @override
    def embedder(self, model: OpenedModel, config: InferenceConfig) -> Callable[[Tensor | list[Tensor]], Tensor]:
        """Return a function that pools the last map of the backbone.

        Args:
            model: The model.
            config: Device and precision.
        """
        from msgformer.tasks.dense.embedder import make_embedder
        from msgformer.tasks.segmentation.embedder import SegmenterFeatures

        return make_embedder(model, config, SegmenterFeatures)

    @override
    def evaluate(
        self, model: OpenedModel, data: str | None, config: InferenceConfig, options: EvaluationOptions
    ) -> Evaluation:
        """Score by mean intersection over union, accuracies and loss.

        Args:
            model: The model.
            data: The images; None for those that its run held out.
            config: Device, precision and batches.
            options: Test-time options, and whether to collect examples for a report.
        """
        from msgformer.tasks.segmentation.evaluation import evaluate_segmenter

        return evaluate_segmenter(model, data, config, options)

    @override
    def held_out_images(self, card: ModelCard, run: Path) -> tuple[int, Callable[[int], Image.Image]]:
        """Return the images that the run validated on.

        Args:
            card: The card of the run's model.
            run: The run folder.
        """
        from msgformer.tasks.segmentation.evaluation import held_out_images

        return held_out_images(card, self)

    @override
    def img_size(self, model: OpenedModel) -> tuple[int, int]:
        """Return the size of a square image."""
        from msgformer.tasks.segmentation.predictor import image_options

        return (image_options(model).short_side,) * 2

    @override
    def export_source(self, model: OpenedModel, size: tuple[int, int] | None) -> ExportSource:
        """Return the segmenter with its preprocessing at a size.

        Args:
            model: The model.
            size: Height and width of the images; None for those of evaluation.
        """
        from msgformer.tasks.segmentation.export_source import export_source

        return export_source(model, size)

    @override
    def as_graph(self, module: nn.Module) -> nn.Module:
        """Return a segmenter whose padding is computed in the graph."""
        import copy

        from msgformer.exporters.graph.segmenter import GraphSegmenter

        return GraphSegmenter(copy.deepcopy(module)).eval()  # type: ignore[arg-type]

    @override
    def explain_view(self, model: OpenedModel, image: Image.Image, options: ExplainOptions) -> View:
        """Return the whole image, resized as in evaluation.

        Args:
            model: The model.
            image: Image in RGB.
            options: Size of the image, and whether the whole image is used.
        """
        from msgformer.tasks.segmentation.explain_view import explain_view

        return explain_view(model, image, options)
