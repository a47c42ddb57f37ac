"""Knowledge distillation from a teacher (Hinton et al., 2015; hard distillation by Touvron et al., DeiT, 2021)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.transforms.v2.functional import rgb_to_grayscale

from msgformer.config.training_options import DistillOptions

FILTERS = ("bilinear", "bicubic")
"""Filters that torch supports with antialiasing; other filters are replaced by the last one."""


@dataclass(frozen=True)
class InputFormat:
    """Size and normalization of a model's input images.

    Attributes:
        size: Height and width.
        mean: Mean per channel, for pixels in 0..1; one for gray, three for color.
        std: Standard deviation per channel, likewise.
        interpolation: Filter for resizing.
    """

    size: tuple[int, int]
    mean: Sequence[float]
    std: Sequence[float]
    interpolation: str = "bicubic"


class Teacher:
    """A frozen classifier that predicts logits for the images of a student.

    It is no ``nn.Module``, so that the student's module doesn't save it, synchronize it between processes or pass it
    to an optimizer. It moves to the device of the images.

    Args:
        model: Maps images [B, C, H, W] to logits [B, K].
        teacher_format: Format of the teacher's images.
        student_format: Format of the student's images.
    """

    def __init__(self, model: nn.Module, teacher_format: InputFormat, student_format: InputFormat) -> None:
        self.model = model.eval().requires_grad_(False)
        self.teacher_format, self.student_format = teacher_format, student_format
        self._device: torch.device | None = None

    @torch.no_grad()
    def __call__(self, images: Tensor) -> Tensor:
        """Predict logits [B, K] for images [B, C, H, W] in the student's format."""
        if images.device != self._device:
            self.model.to(images.device)
            self._device = images.device
        logits: Tensor = self.model(self.convert(images))
        return logits.float()

    def convert(self, images: Tensor) -> Tensor:
        """Convert augmented images from the student's format to the teacher's.

        Args:
            images: Images in the student's format [B, C, H, W].

        Returns:
            Images in the teacher's format [B, C', H', W'], float32.
        """
        student, teacher = self.student_format, self.teacher_format
        pixels = images.float() * _per_channel(student.std, images) + _per_channel(student.mean, images)
        channels = len(teacher.mean)
        if channels == 1 < pixels.shape[1]:
            pixels = rgb_to_grayscale(pixels)
        pixels = pixels.expand(-1, channels, -1, -1)
        if pixels.shape[-2:] != teacher.size:
            mode = teacher.interpolation if teacher.interpolation in FILTERS else FILTERS[-1]
            pixels = F.interpolate(pixels, teacher.size, mode=mode, antialias=True)
        return (pixels - _per_channel(teacher.mean, images)) / _per_channel(teacher.std, images)


class Distillation:
    """Distillation term of the loss.

    Args:
        teacher: The teacher.
        options: Options of the distillation.

    Attributes:
        alpha: Weight of the distillation term; the term of the labels has the weight 1 - alpha.
    """

    def __init__(self, teacher: Teacher, options: DistillOptions) -> None:
        self.teacher = teacher
        self.options = options
        self.alpha = options.alpha

    def __call__(self, images: Tensor, logits: Tensor) -> Tensor:
        """Compute the distillation loss.

        Args:
            images: Images in the student's format [B, C, H, W].
            logits: The student's logits [B, K].

        Returns:
            A scalar []. Hard distillation: the cross-entropy with the teacher's top-1 class (DeiT, eq. 3). Soft: the
            Kullback-Leibler divergence of the probabilities at temperature T, multiplied by T^2, which keeps the
            magnitude of its gradients (Hinton et al., section 2; DeiT, eq. 2).
        """
        teacher_logits = self.teacher(images)
        if self.options.hard:
            return F.cross_entropy(logits, teacher_logits.argmax(1))
        student_log, teacher_log = (
            (each / self.options.temperature).log_softmax(1) for each in (logits, teacher_logits)
        )
        divergence = F.kl_div(student_log, teacher_log, reduction="batchmean", log_target=True)
        return divergence * self.options.temperature**2


def _per_channel(values: Sequence[float], like: Tensor) -> Tensor:
    """Return one value per channel as a float32 tensor [1, C, 1, 1] on the device of ``like``."""
    return torch.tensor(values, dtype=torch.float32, device=like.device).view(1, -1, 1, 1)
