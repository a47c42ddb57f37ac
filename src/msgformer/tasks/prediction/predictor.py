"""Common base of the predictors, which run trained models of any task on batches of images."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

import torch

from msgformer.config.training_options import Progress
from msgformer.errors import UserError
from msgformer.tasks.device import Placement, find_placement
from msgformer.tasks.prediction.base import PredictionRecord, PredictionResult
from msgformer.tasks.prediction.record_layout import RecordLayout

if TYPE_CHECKING:
    from pathlib import Path

    from PIL import Image
    from torch import Tensor

    from msgformer.data.detection.image_list import ImageList
    from msgformer.data.files.inputs import ImageInput
    from msgformer.tasks.opened_model import OpenedModel


@dataclass(frozen=True)
class InferenceConfig:
    """Configuration of inference with a trained model.

    Attributes:
        device: "auto", "cpu", "cuda" or "cuda:N".
        precision: "float32", "bf16" or "fp16"; an exported file has its own.
        batch_size: Images per batch; None for the task's default.
        workers: Worker processes that load images; None for the default, which depends on the number of images.
        progress: Display of the progress: "auto", "bar", "lines" or "none".
        optimize: Whether to run an optimized copy instead of the model itself.
        backend: Library that runs a classifier, "torch" or "mindspore".
    """

    device: str = "auto"
    precision: str = "float32"
    batch_size: int | None = None
    workers: int | None = None
    progress: Progress = "none"
    optimize: bool = True
    backend: str = "torch"

    def placement(self) -> Placement:
        """Return the device and the precision.

        Raises:
            UserError: The device doesn't exist, or doesn't support the precision.
        """
        return find_placement(self.device, self.precision)


class PreprocessedImage(NamedTuple):
    """An image that a worker has preprocessed.

    Attributes:
        source: The input that it was loaded from.
        size: Height and width of the image in pixels.
        tensor: The model's input [C, H, W]; None if the image can't be read.
        pixels: The image, or a small copy, as uint8 [H, W, 3], if it is needed later.
        error: Why the image can't be read.
    """

    source: ImageInput
    size: tuple[int, int]
    tensor: Tensor | None = None
    pixels: Any = None
    error: str | None = None


class Batch(NamedTuple):
    """A batch of images.

    Attributes:
        images: All images, without their tensors.
        inputs: Inputs of the readable images, in order: [B, C, H, W] if all have one size, which workers send as a
            single tensor, or a list of [C, H, W]; None if no image can be read.
    """

    images: list[PreprocessedImage]
    inputs: Tensor | list[Tensor] | None

    @property
    def readable(self) -> list[PreprocessedImage]:
        """The images that can be read, in the order of the inputs."""
        return [one for one in self.images if one.error is None]


def collate(images: Sequence[PreprocessedImage]) -> Batch:
    """Return a batch of preprocessed images."""
    tensors = [one.tensor for one in images if one.tensor is not None]
    same = len({tensor.shape for tensor in tensors}) == 1
    inputs = torch.stack(tensors) if same else tensors or None
    return Batch([one._replace(tensor=None) for one in images], inputs)


def collate_until_error(images: Sequence[PreprocessedImage]) -> Batch:
    """Return a batch of preprocessed images, up to and including the first unreadable one."""
    failed = next((place for place, one in enumerate(images) if one.error is not None), len(images))
    return collate(images[: failed + 1])


class Predictor(ABC):
    """Runs a trained model on batches.

    Args:
        model: The model.
        config: Device, precision and batches.

    Attributes:
        batch_size: Images per batch.
        task: Name of the task.
        class_names: Class names, in the order of the outputs.
        value_range: Values of black and white in images of more than 8 bits; None for those of the format.
    """

    default_batch_size: ClassVar[int]
    thumbnail_suffices: ClassVar[bool]
    """Whether a contact sheet needs only a small copy of the image."""

    def __init__(self, model: OpenedModel, config: InferenceConfig) -> None:
        self._model = model
        self.config = config
        self.task = model.card.task
        self.class_names = tuple(model.card.classes)
        self.value_range = model.card.value_range
        self.batch_size = config.batch_size or self.default_batch_size

    @property
    @abstractmethod
    def transform(self) -> Callable[[Image.Image], Tensor]:
        """Converts an RGB image to the model's input [C, H, W]; runs in worker processes."""

    @property
    def min_side(self) -> int:
        """Smallest side in pixels at which a JPEG may be decoded; 0 for its full size only."""
        return 0

    def results_file(self, path: Path, images: ImageList | None) -> Any:  # noqa: ARG002
        """Return a file of results in the format of an evaluation server.

        Args:
            path: The file.
            images: The list of images that is predicted, if any.

        Raises:
            UserError: The task has no such format, or the ids of the classes are unknown.
        """
        raise UserError("results is for detectors; leave it out")

    @abstractmethod
    def run(self, inputs: Tensor | list[Tensor], images: Sequence[PreprocessedImage]) -> list[PredictionResult]:
        """Predict a batch.

        Args:
            inputs: Model inputs [B, C, H, W], or [C, H, W] each.
            images: The B images of these inputs.

        Returns:
            One result per image.
        """

    def agrees(self, stored: PredictionRecord, fresh: PredictionRecord) -> bool:
        """Return whether a record of an earlier call agrees with this model and these options.

        Args:
            stored: The record of an earlier call.
            fresh: The prediction of the same image now.
        """
        return stored.is_close(fresh)

    @abstractmethod
    def failed(self, image: PreprocessedImage) -> PredictionResult:
        """Return the result of an image that can't be read."""

    @property
    @abstractmethod
    def layout(self) -> RecordLayout[Any]:
        """Layout of the records in files."""

    def _require_numbers(self, outputs: Tensor) -> Tensor:
        """Return outputs of the model, any shape; of NaN, a top-1 class would be meaningless.

        Raises:
            UserError: A value is NaN.
        """
        if outputs.isnan().any():
            raise UserError(
                f"{self._model.name} computes values that are not numbers (NaN) in {self.config.precision}; give"
                " --precision float32, or weights without such values"
            )
        return outputs
