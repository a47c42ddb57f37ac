"""The interface of what runs a trained model on batches of images, whatever its task."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

import torch

from msgformer.tasks.device import Placement, find_placement
from msgformer.tasks.prediction import PredictionRecord, PredictionResult
from msgformer.tasks.record_layout import RecordLayout
from msgformer.training.options import Progress

if TYPE_CHECKING:
    from PIL import Image
    from torch import Tensor

    from msgformer.data.inputs import ImageInput
    from msgformer.tasks.opened_model import OpenedModel


@dataclass(frozen=True)
class InferenceConfig:
    """How a trained model is run.

    Attributes:
        device: "auto", "cpu", "cuda" or "cuda:N".
        precision: "float32", "bf16" or "fp16"; an exported file has its own.
        batch_size: Images per batch; None for the task's default.
        workers: Processes that read images; None for none with a single batch, else one less than there are cores.
        progress: How progress is shown.
        optimize: Whether the optimized copy of the model runs instead of the model itself.
        backend: Library that a classifier runs in, "torch" or "mindspore".
    """

    device: str = "auto"
    precision: str = "float32"
    batch_size: int | None = None
    workers: int | None = None
    progress: Progress = "none"
    optimize: bool = True
    backend: str = "torch"

    def placement(self) -> Placement:
        """Return the device and number format; raises UserError if there is none."""
        return find_placement(self.device, self.precision)


class Prepared(NamedTuple):
    """An image that a worker has preprocessed.

    Attributes:
        source: The input that it was loaded from.
        size: Height and width of the image in pixels.
        tensor: The model's input [C, H, W]; None if the image can't be read.
        picture: The image, or a small copy, as uint8 [H, W, 3] if it is needed later.
        error: Why the image can't be read.
    """

    source: ImageInput
    size: tuple[int, int]
    tensor: Tensor | None = None
    picture: Any = None
    error: str | None = None


class Batch(NamedTuple):
    """Images that are predicted together.

    Attributes:
        images: All of them, without their tensors.
        inputs: Those of the images that can be read, in their order: [B, C, H, W] if all have one size, which passes
            between processes as one file, or a list of [C, H, W]; None if no image can be read.
    """

    images: list[Prepared]
    inputs: Tensor | list[Tensor] | None

    @property
    def readable(self) -> list[Prepared]:
        """The images that the inputs are of."""
        return [one for one in self.images if one.error is None]


def collate(images: Sequence[Prepared]) -> Batch:
    """Make a batch of preprocessed images."""
    tensors = [one.tensor for one in images if one.tensor is not None]
    same = len({tensor.shape for tensor in tensors}) == 1
    inputs = torch.stack(tensors) if same else tensors or None
    return Batch([one._replace(tensor=None) for one in images], inputs)


def collate_until_error(images: Sequence[Prepared]) -> Batch:
    """Make a batch of preprocessed images up to the first one that can't be read, which is the last of the batch."""
    failed = next((place for place, one in enumerate(images) if one.error is not None), len(images))
    return collate(images[: failed + 1])


class Predictor(ABC):
    """Runs a trained model on batches.

    Args:
        model: The model.
        config: Device, number format and batches.

    Attributes:
        batch_size: Images per batch.
        task: Name of the task.
        class_names: In the order of the outputs.
    """

    default_batch_size: ClassVar[int]
    draws_small: ClassVar[bool]
    """Whether a small copy of the image is enough for a contact sheet."""

    def __init__(self, model: OpenedModel, config: InferenceConfig) -> None:
        self.config = config
        self.task = model.card.task
        self.class_names = tuple(model.card.classes)
        self.batch_size = config.batch_size or self.default_batch_size

    @property
    @abstractmethod
    def transform(self) -> Callable[[Image.Image], Tensor]:
        """From an RGB image to the model's input [C, H, W]; runs in worker processes."""

    @property
    def least_side(self) -> int:
        """Pixels that no side of a JPEG may fall below when it is decoded at a smaller scale; 0: it never is."""
        return 0

    @abstractmethod
    def run(self, inputs: Tensor | list[Tensor], images: Sequence[Prepared]) -> list[PredictionResult]:
        """Predict a batch.

        Args:
            inputs: Model inputs [B, C, H, W], or [C, H, W] each.
            images: The B images that they are of.

        Returns:
            One result per image.
        """

    def agrees(self, stored: PredictionRecord, fresh: PredictionRecord) -> bool:
        """Return whether a record of an earlier call can be of this model and these options.

        Args:
            stored: The record.
            fresh: The prediction of the same image now.
        """
        return stored.is_close(fresh)

    @abstractmethod
    def failed(self, image: Prepared) -> PredictionResult:
        """Return the result of an image that can't be read."""

    @property
    @abstractmethod
    def layout(self) -> RecordLayout:
        """How predictions are written to files."""
