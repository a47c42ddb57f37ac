"""Detection: boxes of objects and, with some heads, masks. Imports no heavy library."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from typing_extensions import override

from msgformer.data.files.locations import CocoLocation
from msgformer.errors import UserError
from msgformer.tasks.base import T
from msgformer.tasks.dense.task import DenseTask

if TYPE_CHECKING:
    from PIL import Image
    from torch import Tensor, nn

    from msgformer.checkpoints.card import ModelCard
    from msgformer.checkpoints.export_card import Format
    from msgformer.data.bundled.scene_folders import Counts
    from msgformer.data.problems import Problem
    from msgformer.data.repair.copying import Repair
    from msgformer.data.survey import Progress, Survey
    from msgformer.exporters.session import Session
    from msgformer.exporters.verify import Verification
    from msgformer.runs.train_settings import TrainSettings
    from msgformer.tasks.evaluation import Evaluation, EvaluationOptions
    from msgformer.tasks.explain_view import ExplainOptions, View
    from msgformer.tasks.export.source import ExportSource
    from msgformer.tasks.opened_model import OpenedModel
    from msgformer.tasks.prediction.predictor import InferenceConfig, Predictor
    from msgformer.tasks.training_setup import TrainingSetup


class Detection(DenseTask):
    """Detects the boxes of objects and, with some heads, their masks."""

    name = "detect"
    noun = "detector"
    bundled_recipe, data_recipe = "embedded/detect", "detect"
    train_options = (
        "detect",
        "detect_images",
        "val_fraction",
        "split_seed",
        "split_file",
        "split_by",
        "folds",
        "fold",
    )
    predict_options = ("threshold",)
    metric = "box_ap"
    scenes: ClassVar[Counts] = {"train": 2000, "val": 200}
    layout = "COCO"

    @override
    def choose(self, classifier: T, detector: T, segmenter: T) -> T:
        """Return the value for detectors.

        Args:
            classifier: Value for classifiers.
            detector: Value for detectors.
            segmenter: Value for segmenters.
        """
        del classifier, segmenter
        return detector

    @override
    def resolve_data(self, data: str) -> str:
        """Return a folder's absolute path, or the location of explicit annotations."""
        explicit = CocoLocation.parse(data)
        if explicit is None:
            return super().resolve_data(data)
        resolved = str(explicit.resolved())
        self.check_layout(resolved)
        return resolved

    @override
    def check_layout(self, data: str) -> None:
        """Check that data has annotations in a known layout."""
        from msgformer.data.detection.sets import find_readers

        find_readers(data)

    @override
    def survey(self, data: str, progress: Progress, options: Mapping[str, Any]) -> Survey:
        """Check images with annotated objects.

        Args:
            data: As `resolve_data` returns it.
            progress: Called with the number of images.
            options: Options of ``check_data_options`` that are given.
        """
        from msgformer.data.survey import survey_detection

        return survey_detection(data, progress)

    @override
    def repair(self, data: str, problems: Sequence[Problem], output: Path, options: Mapping[str, Any]) -> Repair:
        """Write a repaired copy in COCO's format.

        Args:
            data: As `resolve_data` returns it.
            problems: Problems that `survey` found.
            output: The new folder.
            options: Options of ``check_data_options`` that are given.
        """
        from msgformer.data.repair.detection import repair_detection

        return repair_detection(data, problems, output)

    @override
    def recognize(self, data: str) -> str | None:
        """Return the name of a detection data set's layout, or None if it isn't one.

        Args:
            data: A folder or ``SCHEME:LOCATION`` with absolute paths.
        """
        from msgformer.data.recognition import detection_layout

        return detection_layout(data)

    @override
    def create(self, name: str, num_classes: int, **arguments: Any) -> nn.Module:
        """Create a detector.

        Args:
            name: Name of the backbone.
            num_classes: Number of classes.
            **arguments: Further arguments of the model and of the backbone's constructor.
        """
        from msgformer.heads import create_detector

        return create_detector(name, num_classes=num_classes, **arguments)

    @override
    def describe_module(self, module: nn.Module) -> ModelCard | None:
        """Describe a detector of `msgformer.create_detector`."""
        from msgformer.tasks.detection.module_card import describe_detector

        return describe_detector(module)

    @override
    def _write(self, folder: Path, counts: Counts, seed: int) -> None:
        from msgformer.data.bundled.scene_folders import write_detection

        write_detection(folder, counts, seed)

    @override
    def open_training(self, settings: TrainSettings, resume: Path | None) -> TrainingSetup:
        """Open images with annotated objects.

        Args:
            settings: Checked settings.
            resume: Folder of a run that is resumed; None for a new run.
        """
        from msgformer.tasks.detection.training_setup import DetectionSetup

        return DetectionSetup(settings, resume)

    @override
    def predictor(self, model: OpenedModel, config: InferenceConfig, **options: Any) -> Predictor:
        """Return a predictor that takes ``threshold``.

        Args:
            model: The model.
            config: Device, precision and batches.
            **options: Options of ``predict_options`` that are given.
        """
        from msgformer.tasks.detection.predictor import DetectionPredictor

        return DetectionPredictor(model, config, **options)

    @override
    def embedder(self, model: OpenedModel, config: InferenceConfig) -> Callable[[Tensor | list[Tensor]], Tensor]:
        """Return a function that pools the last map of the backbone.

        Args:
            model: The model.
            config: Device and precision.
        """
        from msgformer.tasks.dense.embedder import make_embedder
        from msgformer.tasks.detection.embedder import DetectorFeatures

        return make_embedder(model, config, DetectorFeatures)

    @override
    def evaluate(
        self, model: OpenedModel, data: str | None, config: InferenceConfig, options: EvaluationOptions
    ) -> Evaluation:
        """Score by COCO's metrics.

        Args:
            model: The model.
            data: The images; None for those that its run held out.
            config: Device, precision and batches.
            options: Test-time options, and whether to collect examples for a report.
        """
        from msgformer.tasks.detection.evaluation import evaluate_detector

        return evaluate_detector(model, data, config, options)

    @override
    def held_out_images(self, card: ModelCard, run: Path) -> tuple[int, Callable[[int], Image.Image]]:
        """Return the images that the run validated on.

        Args:
            card: The card of the run's model.
            run: The run folder.
        """
        from msgformer.tasks.detection.evaluation import held_out_images

        return held_out_images(card, self, run)

    @override
    def img_size(self, model: OpenedModel) -> tuple[int, int]:
        """Return the size of a wide image."""
        from msgformer.tasks.detection.export_source import img_size

        return img_size(model)

    @override
    def export_source(self, model: OpenedModel, size: tuple[int, int] | None) -> ExportSource:
        """Return the detector without its own resizing.

        Args:
            model: The model.
            size: Height and width of the images; None for those of evaluation.
        """
        from msgformer.tasks.detection.export_source import export_source

        return export_source(model, size)

    @override
    def check_format(self, format: Format, *, int8: bool, single: bool) -> None:
        """Allow ONNX and OpenVINO in float32, for one image at a time.

        Args:
            format: Format of the file.
            int8: Whether it is quantized.
            single: Whether it takes one image at a time.
        """
        if format not in ("onnx", "openvino"):
            raise UserError(f"format {format}: not for detectors; give --format onnx or openvino")
        if int8:
            raise UserError("int8: not for detectors; leave it out")
        if not single:
            raise UserError("a detector's file takes one image at a time; leave out --batch_size and --dynamic_batch")

    @override
    def as_graph(self, module: nn.Module) -> nn.Module:
        """Return a copy of the detector without loops over objects."""
        from msgformer.tasks.detection.export_source import as_graph

        return as_graph(module)

    @override
    def exported_module(self, session: Session) -> nn.Module:
        """Return a module that maps images of any size to their objects."""
        from msgformer.exporters.exported_detector import ExportedDetector

        return ExportedDetector(session)

    @override
    def verify(self, module: nn.Module, session: Session, images: Tensor) -> Verification:
        """Compare the detected objects.

        Args:
            module: The unoptimized model.
            session: The exported file.
            images: Model inputs [N, C, H, W].
        """
        from msgformer.exporters.verify import verify_detector

        return verify_detector(module, session, images)

    @override
    def explain_view(self, model: OpenedModel, image: Image.Image, options: ExplainOptions) -> View:
        """Return the whole image, resized as in evaluation.

        Args:
            model: The model.
            image: Image in RGB.
            options: Size of the image, and whether the whole image is used.
        """
        from msgformer.tasks.detection.explain_view import explain_view

        return explain_view(model, image, options)
