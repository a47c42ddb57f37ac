"""Common base of the tasks: the methods in which classification, detection and segmentation differ."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

from msgformer.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Callable

    from PIL import Image
    from torch import Tensor, nn

    from msgformer.checkpoints.card import ModelCard
    from msgformer.checkpoints.export_card import Format
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
    from msgformer.utils.result import Result


T = TypeVar("T")


class Task(ABC):
    """A task. It has no state, and imports heavy modules in the methods that need them.

    Attributes:
        name: Name on the command line and in model cards.
        noun: Name of the task's models, such as "classifier".
        bundled_recipe: Recipe for training on the bundled data.
        data_recipe: Recipe for training on a user's data.
        train_options: Options of `msgformer.train` that only this task has.
        predict_options: Options of `msgformer.predict` that this task has and another task lacks.
        evaluate_options: Options of `msgformer.evaluate` that this task has and another task lacks.
        check_data_options: Options of `msgformer.check_data` that this task has and another task lacks.
        metric: Name of the score that ranks models.
    """

    name: ClassVar[str]
    noun: ClassVar[str]
    bundled_recipe: ClassVar[str]
    data_recipe: ClassVar[str]
    train_options: ClassVar[tuple[str, ...]]
    predict_options: ClassVar[tuple[str, ...]] = ()
    evaluate_options: ClassVar[tuple[str, ...]] = ()
    check_data_options: ClassVar[tuple[str, ...]] = ()
    metric: ClassVar[str]

    def check_options(self, command: str, given: Mapping[str, Any]) -> dict[str, Any]:
        """Refuse options that this task doesn't have.

        Args:
            command: "predict", "evaluate" or "check_data".
            given: Options that not every task has, by name; None for an option that isn't given.

        Returns:
            The options that are given.

        Raises:
            UserError: An option is for other tasks; the message names it.
        """
        from msgformer.tasks import all_tasks

        options = {key: value for key, value in given.items() if value is not None}
        for key in options:
            if key not in getattr(self, f"{command}_options"):
                owners = [f"{task.noun}s" for task in all_tasks() if key in getattr(task, f"{command}_options")]
                raise UserError(f"{key} is for {' and '.join(owners)}, not for {self.noun}s; leave it out")
        return options

    @abstractmethod
    def choose(self, classifier: T, detector: T, segmenter: T) -> T:
        """Return the argument for this task.

        Args:
            classifier: Value for classifiers.
            detector: Value for detectors.
            segmenter: Value for segmenters.
        """

    def require_classifier(self, what: str) -> None:
        """Refuse a model that is no classifier.

        Args:
            what: Start of the message: the argument and the model.

        Raises:
            UserError: This is another task.
        """
        raise UserError(f"{what} is a {self.noun}; give a classifier (msgformer.load opens all tasks)")

    # Data

    @abstractmethod
    def resolve_data(self, data: str) -> str:
        """Return ``data`` with absolute paths, after a quick check of its layout that imports no heavy library.

        Raises:
            UserError: The data doesn't exist, or its layout is not one of this task.
        """

    @abstractmethod
    def survey(self, data: str, progress: Progress, options: Mapping[str, Any]) -> Survey:
        """Find all problems of a data set.

        Args:
            data: As `resolve_data` returns it.
            progress: Called with the number of images.
            options: Options of ``check_data_options`` that are given.
        """

    @abstractmethod
    def repair(self, data: str, problems: Sequence[Problem], output: Path, options: Mapping[str, Any]) -> Repair:
        """Write a copy of a data set without the problems that need no decision.

        Args:
            data: As `resolve_data` returns it.
            problems: Problems that `survey` found.
            output: The new folder.
            options: Options of ``check_data_options`` that are given.

        Raises:
            UserError: Other errors remain; the message names the first one.
        """

    @abstractmethod
    def recognize(self, data: str) -> str | None:
        """Return the name of a data set's layout if it is one of this task, or None.

        Args:
            data: A folder or ``SCHEME:LOCATION`` with absolute paths.
        """

    def write_scenes(self, folder: Path, counts: Mapping[Any, int], seed: int) -> str:  # noqa: ARG002
        """Write bundled scenes as a data set of this task.

        Args:
            folder: A new folder.
            counts: Images per subset.
            seed: Seed of the random generator.

        Returns:
            Name of the layout.

        Raises:
            UserError: There are no scenes for this task, or the folder can't be written.
        """
        raise UserError(f"task: there are no scenes for {self.noun}s; give detect or segment")

    def bundled_scenes(self) -> Path:
        """Return the folder of the bundled scenes, which the first call writes."""
        raise UserError(f"data: there are no scenes for {self.noun}s; give a folder")

    # Models

    @abstractmethod
    def build_model(self, card: ModelCard, **start: Any) -> nn.Module:
        """Build the model that a card describes.

        Args:
            card: The card.
            **start: Initial weights (``pretrained``, ``checkpoint``), which a card doesn't hold.
        """

    @abstractmethod
    def describe_module(self, module: nn.Module) -> ModelCard | None:
        """Return the card of a module that was built in Python; None for a module of another task."""

    # Training

    @abstractmethod
    def open_training(self, settings: TrainSettings, resume: Path | None) -> TrainingSetup:
        """Open and check the data of a training.

        Args:
            settings: Checked settings.
            resume: Folder of a run that is resumed; None for a new run.
        """

    @abstractmethod
    def train_result(self, outcome: Mapping[str, Any]) -> Result:
        """Return the result of a training from its scores, paths and times."""

    def report_batch_size(self, train_batch_size: int) -> int | None:  # noqa: ARG002
        """Return the batch size of the evaluation for the report of a training; None for the default."""
        return None

    # Inference

    @abstractmethod
    def predictor(self, model: OpenedModel, config: InferenceConfig, **options: Any) -> Predictor:
        """Return a predictor, which runs a model on batches of images.

        Args:
            model: The model.
            config: Device, precision and batches.
            **options: Options of ``predict_options`` that are given.
        """

    @abstractmethod
    def embedder(self, model: OpenedModel, config: InferenceConfig) -> Callable[[Tensor | list[Tensor]], Tensor]:
        """Return a function that computes the pooled features [B, D] of a batch of model inputs.

        Args:
            model: The model.
            config: Device and precision.

        Raises:
            UserError: The model is an exported file, which has no features.
        """

    @abstractmethod
    def evaluate(
        self, model: OpenedModel, data: str | None, config: InferenceConfig, options: EvaluationOptions
    ) -> Evaluation:
        """Score a model on labeled images.

        Args:
            model: The model.
            data: The images; None for those that its run held out.
            config: Device, precision and batches.
            options: Test-time options, and whether to collect examples for a report.
        """

    @abstractmethod
    def held_out_images(self, card: ModelCard, run: Path) -> tuple[int, Callable[[int], Image.Image]]:
        """Return the number of images that a run held out, and a function that loads one by its index.

        Args:
            card: The card of the run's model.
            run: The run folder.

        Raises:
            UserError: The images don't exist any more.
        """

    @abstractmethod
    def img_size(self, model: OpenedModel) -> tuple[int, int]:
        """Return the height and width of model inputs in evaluation.

        If they depend on the image's shape, they are those of a wide image for detectors, and of a square image for
        segmenters.
        """

    # Export and explanation

    @abstractmethod
    def export_source(self, model: OpenedModel, size: tuple[int, int] | None) -> ExportSource:
        """Return a model with its preprocessing for an export.

        Args:
            model: The model.
            size: Height and width of the images; None for those of evaluation.
        """

    def check_format(self, format: Format, *, int8: bool, single: bool) -> None:  # noqa: B027
        """Refuse options of an export that this task's models don't support.

        Args:
            format: Format of the file.
            int8: Whether it is quantized.
            single: Whether it takes one image at a time.

        Raises:
            UserError: An option is not supported; the message names it.
        """

    def as_graph(self, module: nn.Module) -> nn.Module:
        """Return a form of a model that can be exported: one input tensor, and no control flow that depends on values.

        Args:
            module: Model in evaluation mode, optimized or not.

        Returns:
            The model itself by default, or an equivalent copy.
        """
        return module

    def exported_module(self, session: Session) -> nn.Module:
        """Return an open exported file as a module with the inputs and outputs of its model.

        Args:
            session: The file; the default implementation expects one that returns logits.
        """
        from msgformer.exporters.runtime import ExportedModel

        return ExportedModel(session)

    def verify(self, module: nn.Module, session: Session, images: Tensor) -> Verification:
        """Compare an exported file with its model, by default by their logits.

        Args:
            module: The unoptimized model.
            session: The file.
            images: Model inputs [N, C, H, W].

        Raises:
            UserError: The file's outputs differ from the model's.
        """
        from msgformer.exporters.verify import verify_logits

        return verify_logits(module, session, images)

    @abstractmethod
    def explain_view(self, model: OpenedModel, image: Image.Image, options: ExplainOptions) -> View:
        """Convert an image to the input of a model's backbone, for an explanation.

        Args:
            model: The model.
            image: Image in RGB.
            options: Size of the image, and whether the whole image is used.
        """
