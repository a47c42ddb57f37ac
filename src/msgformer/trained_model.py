"""Trained models as objects, with methods to predict, evaluate, export, explain, benchmark and embed."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import replace
from functools import cached_property
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, TypeVar, overload

from msgformer.checkpoints.card import ModelCard
from msgformer.config.data_options import OnBadImage
from msgformer.config.renamed_arguments import renamed_options
from msgformer.config.training_options import Progress
from msgformer.data.files.image_inputs import open_inputs
from msgformer.errors import UserError
from msgformer.model_names import nearest
from msgformer.tasks import all_tasks
from msgformer.tasks.classification.result import ClassificationResult
from msgformer.tasks.classification.scores import EvaluateResult
from msgformer.tasks.dense.scores import DenseEvaluateResult
from msgformer.tasks.detection.result import DetectionResult
from msgformer.tasks.loaded_model import LoadedModel, load_any
from msgformer.tasks.prediction.base import PredictionResult
from msgformer.tasks.prediction.predictor import InferenceConfig, Predictor
from msgformer.tasks.prediction.stream import stream_predictions
from msgformer.tasks.progress import track_progress
from msgformer.tasks.segmentation.result import SegmentationResult

if TYPE_CHECKING:
    import numpy as np
    from PIL import Image
    from torch import Tensor, nn

    from msgformer.commands.explain import ExplainResult
    from msgformer.commands.export import Exported
    from msgformer.model_types import ImagesLike, ModelLike
    from msgformer.profiling.benchmark_result import Benchmark

R = TypeVar("R", bound=PredictionResult)
S = TypeVar("S")


class TrainedModel(LoadedModel, Generic[R, S]):
    """A trained model with its card, preprocessing, class names and device; `load` returns it.

    Args:
        opened: The model.
        config: Device, number format and batch options.
    """

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.opened.name}: {self.card.model}, {len(self.class_names)} classes)"

    @property
    def module(self) -> nn.Module:
        """The unoptimized `torch.nn.Module` with the trained weights.

        Raises:
            UserError: The model is an exported file, which has no module.
        """
        return self.opened.module

    @property
    def card(self) -> ModelCard:
        """Description of the model: its name, arguments, classes, preprocessing and training data."""
        return self.opened.card

    @property
    def task(self) -> str:
        """Name of the task: "classify", "detect" or "segment"."""
        return self.card.task

    @property
    def class_names(self) -> list[str]:
        """Names of the classes, in the order of the outputs."""
        return list(self.card.classes)

    @cached_property
    def img_size(self) -> tuple[int, int]:
        """Height and width of images in evaluation, in pixels; for detectors, those of a landscape image."""
        fixed = None if self.opened.session is None else self.opened.session.card.sizes.fixed_size
        return fixed or self.opened.task.img_size(self.opened)

    @cached_property
    def preprocess(self) -> Callable[[Image.Image], Tensor]:
        """Transform of an RGB image to the model's input [C, H, W]."""
        return self._predictor(self.config, {}).transform

    @property
    def num_parameters(self) -> int | None:
        """Parameters of `module`; None for an exported file."""
        return self.opened.num_parameters

    @overload
    def predict(self, images: str | Path | bytes | Image.Image, **options: Any) -> R: ...
    @overload
    def predict(self, images: ImagesLike, **options: Any) -> R | list[R] | Iterator[R]: ...

    def predict(
        self,
        images: ImagesLike,
        *,
        stream: bool = False,
        batch_size: int | None = None,
        workers: int | None = None,
        on_bad_image: OnBadImage = "stop",
        progress: Progress = "none",
        **options: Any,
    ) -> R | list[R] | Iterator[R]:
        """Predict the classes, objects or class maps of images.

        Args:
            images: One image: a path, an http(s) URL, a PIL image, an array [H, W, C], a tensor [C, H, W], or the bytes
                of an encoded image. Or many: an iterable of these, a folder, a glob pattern, a tar file or a video.
            stream: Return an iterator that reads images lazily, so that memory is bounded.
            batch_size: Images per batch; by default 64 for classifiers, and 1 for detectors and segmenters.
            workers: Processes that load images; by default none for a single batch, otherwise the number of cores minus
                one.
            on_bad_image: "stop" at an image that can't be read, or "skip" it with a result that holds the ``error``.
            progress: "bar", "lines" or "none".
            **options: ``top_k`` (default 5) and ``img_size`` of classifiers, ``threshold`` (default 0.5) and
                ``max_dets``, ``tile`` and ``tile_overlap`` of detectors; see `msgformer.predict`.

        Returns:
            One result for one image, otherwise a list, or an iterator with ``stream``.

        Raises:
            UserError: An image can't be read, the model is untrained, or an option is for another task.
        """
        _check_names("predict", options, [*_keywords(TrainedModel.predict), *_task_options("predict_options")])
        config = self._configured(batch_size, workers, progress, on_bad_image, **options)
        self.opened.require_trained("predict")
        given = self.opened.task.check_options("predict", options)
        inputs = open_inputs(images)
        predictor = self._predictor(config, given)
        inputs = inputs.scaled(predictor.value_range)
        batches = stream_predictions(predictor, inputs.items, on_bad_image)
        tracked: Iterator[list[Any]] = track_progress(batches, len, progress, "predicting", inputs.total)
        results = chain.from_iterable(tracked)
        if stream:
            return results
        predictions = list(results)
        return predictions[0] if inputs.single else predictions

    def evaluate(
        self,
        data: str | Path | None = None,
        *,
        output: str | Path | None = None,
        on_bad_image: OnBadImage = "stop",
        batch_size: int | None = None,
        workers: int | None = None,
        progress: Progress = "auto",
        **options: Any,
    ) -> S:
        """Score the model on labeled images.

        Args:
            data: As for `msgformer.evaluate`; by default the images that the run held out.
            output: New folder for the scores as JSON and CSV.
            on_bad_image: "stop" at an image that can't be read, or "skip" and report it.
            batch_size: Images per batch; by default 128 for classifiers, and 1 for detectors and segmenters.
            workers: Processes that load images.
            progress: "bar", "lines" or "none"; "auto" shows a bar in a terminal.
            **options: ``img_size``, ``crop_pct``, ``crop_mode``, ``interpolation`` and ``flip`` of a classifier,
                ``scales`` and ``flip`` of a segmenter, ``max_dets``, ``tile`` and ``tile_overlap`` of a detector; see
                `msgformer.evaluate`.

        Returns:
            The scores.

        Raises:
            UserError: The data can't be used, the model is untrained, or an option is for another task.
        """
        from msgformer.commands.evaluate import evaluate

        _check_names("evaluate", options, _keywords(evaluate), renamed_options(evaluate, {}))
        given = {"on_bad_image": on_bad_image, "batch_size": batch_size, "workers": workers, "progress": progress}
        return evaluate(self, data, output=output, **given, **options)  # type: ignore[return-value]

    def export(self, format: str = "onnx", **options: Any) -> Exported:
        """Write the model as a file that runs without this package, and check it against the model on real images.

        Args:
            format: "onnx", "openvino", "executorch", "torch-export" or "aoti".
            **options: Options of `msgformer.export`.

        Raises:
            UserError: See `msgformer.export`.
        """
        from msgformer.commands.export import export

        _check_names("export", options, _keywords(export), renamed_options(export, {}))
        return export(self, format=format, **options)  # type: ignore[arg-type]

    def explain(self, images: ImagesLike, **options: Any) -> ExplainResult:
        """Visualize the inner workings of the model on images: an interactive page, figures and arrays.

        Args:
            images: As for `predict`.
            **options: Options of `msgformer.explain`.

        Raises:
            UserError: See `msgformer.explain`.
        """
        from msgformer.commands.explain import explain

        _check_names("explain", options, _keywords(explain), renamed_options(explain, {}))
        return explain(self, images, **options)

    def benchmark(self, **options: Any) -> Benchmark:
        """Time the model on this machine.

        Args:
            **options: Options of `msgformer.benchmark`.

        Raises:
            UserError: See `msgformer.benchmark`.
        """
        from msgformer.commands.benchmark import benchmark

        _check_names("benchmark", options, _keywords(benchmark), renamed_options(benchmark, {}))
        return benchmark([self], **options)

    def embed(
        self,
        images: ImagesLike,
        *,
        batch_size: int | None = None,
        workers: int | None = None,
        progress: Progress = "none",
    ) -> np.ndarray:
        """Compute the pooled features of images.

        Args:
            images: As for `predict`.
            batch_size: Images per batch.
            workers: Processes that load images.
            progress: "bar", "lines" or "none".

        Returns:
            Features as a float32 array [N, D], or [D] for one image.

        Raises:
            UserError: An image can't be read, or the model is an exported file, which has no features.
        """
        import numpy as np

        from msgformer.tasks.embedding.stream import stream_embeddings

        config = self._configured(batch_size, workers, progress)
        self.opened.require_trained("embed")
        inputs = open_inputs(images)
        predictor = self._predictor(config, {})
        inputs = inputs.scaled(predictor.value_range)
        batches = stream_embeddings(self.opened, predictor, inputs.items)
        tracked = track_progress(batches, lambda batch: len(batch.names), progress, "embedding", inputs.total)
        rows = [batch.features for batch in tracked]
        features = np.concatenate(rows) if rows else np.zeros((0, 0), np.float32)
        return features[0] if inputs.single else features

    def save_pretrained(self, folder: str | Path) -> Path:
        """Save the model in the format of timm and the Hub: ``timm.create_model("local-dir:FOLDER")`` loads it.

        Args:
            folder: Folder for ``model.safetensors``, ``config.json`` and ``README.md``, which is created if necessary;
                existing files of these names are replaced.

        Returns:
            The folder.

        Raises:
            UserError: The model is an exported file, a detector or a segmenter, or the folder can't be written.
        """
        from msgformer.tasks.pretrained import save_pretrained

        card = self.card
        return save_pretrained(
            self.module,
            folder,
            class_names=card.classes,
            preprocessing=card.preprocessing,
            card_json=card.to_json(),
            model_args=card.model_args,
        )

    def _configured(
        self,
        batch_size: int | None,
        workers: int | None,
        progress: Progress,
        on_bad_image: OnBadImage = "stop",
        **numbers: Any,
    ) -> InferenceConfig:
        """Check the options of a call, and return the configuration with them."""
        from msgformer.commands.predict import predict
        from msgformer.config.constraints import check_choices, check_ranges

        check_ranges({"batch_size": batch_size, "workers": workers, **numbers})
        check_choices(predict, {"on_bad_image": on_bad_image, "progress": progress})
        return replace(self.config, batch_size=batch_size, workers=workers, progress=progress)

    def _predictor(self, config: InferenceConfig, options: dict[str, Any]) -> Predictor:
        return self.opened.task.predictor(self.opened, config, **options)


class Classifier(TrainedModel[ClassificationResult, EvaluateResult]):
    """A trained classifier; `predict` returns `ClassificationResult` objects."""


class Detector(TrainedModel[DetectionResult, DenseEvaluateResult]):
    """A trained detector; `predict` returns `DetectionResult` objects."""


class Segmenter(TrainedModel[SegmentationResult, DenseEvaluateResult]):
    """A trained segmenter; `predict` returns `SegmentationResult` objects."""


def load(
    model: ModelLike,
    *,
    device: str = "auto",
    precision: str = "float32",
    optimize: bool = True,
    trust: bool = False,
) -> Classifier | Detector | Segmenter:
    """Load a trained model.

    Args:
        model: Run folder (its best epoch), checkpoint, exported file (ONNX, OpenVINO, ExecuTorch, torch.export,
            AOTInductor), ``.safetensors`` of 'msgformer convert', folder of ``save_pretrained``, the name of a model of
            this package or of timm (random weights), or a module of `msgformer.create_model`,
            `msgformer.create_detector` or `msgformer.create_segmenter`. A `TrainedModel` is returned unchanged; with
            options other than the defaults, a new one with the same weights is returned.
        device: "auto" (a GPU if there is one), "cpu", "cuda" or "cuda:N".
        precision: "float32", "bf16" or "fp16"; an exported file has its own.
        optimize: Run a faster copy of the model, which is equal up to rounding. It is made at the first prediction;
            later changes of ``module`` do not affect it.
        trust: Allow an exported file to run machine code, as AOTInductor files do.

    Returns:
        A `Classifier`, `Detector` or `Segmenter`.

    Raises:
        UserError: The model, the device or the number format can't be used.
    """
    loaded = load_any(model, device=device, precision=precision, optimize=optimize, trust=trust)
    if isinstance(loaded, TrainedModel):
        return loaded  # type: ignore[return-value]
    return loaded.opened.task.choose(Classifier, Detector, Segmenter)(loaded.opened, loaded.config)  # type: ignore[return-value]


def _check_names(command: str, given: Iterable[str], known: Sequence[str], old: Collection[str] = ()) -> None:
    """Raise UserError for options that do not exist, with the closest name; old names are accepted."""
    for name in given:
        if name not in known and name not in old:
            raise UserError(f"{command}: unknown option {name!r}{nearest(name, known)}")


def _keywords(function: Callable[..., Any]) -> list[str]:
    parameters = inspect.signature(function).parameters.values()
    return [one.name for one in parameters if one.kind is one.KEYWORD_ONLY]


def _task_options(attribute: str) -> list[str]:
    """Return the options that only some tasks have, except for ``backend``, which `TrainedModel` lacks."""
    names = (name for task in all_tasks() for name in getattr(task, attribute) if name != "backend")
    return list(dict.fromkeys(names))
