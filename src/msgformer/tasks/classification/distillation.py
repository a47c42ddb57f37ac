"""Learning from a teacher as well as from labels (Hinton et al. 2015; Touvron et al., DeiT, 2021)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.transforms.v2.functional import rgb_to_grayscale

from msgformer.config.training_options import DistillOptions

SMOOTH = ("bilinear", "bicubic")
"""Filters that torch has for enlarging and for reducing alike; others are replaced by the latter."""


@dataclass(frozen=True)
class View:
    """How a model sees a picture.

    Attributes:
        size: Height and width.
        mean: Mean of each channel, for pixels in 0..1; one for grey, three for colour.
        std: Standard deviation of each channel, likewise.
        interpolation: Filter for resizing.
    """

    size: tuple[int, int]
    mean: Sequence[float]
    std: Sequence[float]
    interpolation: str = "bicubic"


class Teacher:
    """A trained classifier that is asked about another one's images. It isn't trained.

    It is no module, so that what holds it neither saves it, nor averages it over processes, nor hands it to an
    optimiser; it follows the images to their device.

    Args:
        model: Images [B, channels, height, width] -> logits [B, classes].
        view: How the teacher sees a picture.
        student: How the student sees the same.
    """

    def __init__(self, model: nn.Module, view: View, student: View) -> None:
        self.model = model.eval().requires_grad_(False)
        self.view, self.student = view, student
        self._device: torch.device | None = None

    @torch.no_grad()
    def __call__(self, images: Tensor) -> Tensor:
        """Logits [B, classes] of images as the student sees them, [B, channels, height, width]."""
        if images.device != self._device:
            self.model.to(images.device)
            self._device = images.device
        return self.model(self.translate(images)).float()

    def translate(self, images: Tensor) -> Tensor:
        """Images as the student sees them, as the teacher would see the same, augmented pictures.

        Args:
            images: Normalised for the student, [B, channels, height, width].

        Returns:
            Normalised for the teacher, in its channels and its size, float32.
        """
        pictures = images.float() * _by_channel(self.student.std, images) + _by_channel(self.student.mean, images)
        wanted = len(self.view.mean)
        if wanted == 1 < pictures.shape[1]:
            pictures = rgb_to_grayscale(pictures)
        pictures = pictures.expand(-1, wanted, -1, -1)
        if pictures.shape[-2:] != self.view.size:
            mode = self.view.interpolation if self.view.interpolation in SMOOTH else SMOOTH[-1]
            pictures = F.interpolate(pictures, self.view.size, mode=mode, antialias=True)
        return (pictures - _by_channel(self.view.mean, images)) / _by_channel(self.view.std, images)


class Distillation:
    """What a teacher adds to the loss.

    Args:
        teacher: Who is asked.
        options: How the answers count.

    Attributes:
        alpha: Weight of the teacher's part; the labels' has the rest.
    """

    def __init__(self, teacher: Teacher, options: DistillOptions) -> None:
        self.teacher = teacher
        self.options = options
        self.alpha = options.alpha

    def __call__(self, images: Tensor, logits: Tensor) -> Tensor:
        """How far the student is from the teacher.

        Args:
            images: As the student sees them, [B, channels, height, width].
            logits: The student's answers, [B, classes].

        Returns:
            Hard: the cross-entropy with the teacher's likeliest class. Soft: the Kullback-Leibler divergence from
            the teacher's probabilities at the temperature T, times T^2, which keeps the size of its gradients.
        """
        answers = self.teacher(images)
        if self.options.hard:
            return F.cross_entropy(logits, answers.argmax(1))
        ours, theirs = ((each / self.options.temperature).log_softmax(1) for each in (logits, answers))
        divergence = F.kl_div(ours, theirs, reduction="batchmean", log_target=True)
        return divergence * self.options.temperature**2


def _by_channel(values: Sequence[float], like: Tensor) -> Tensor:
    """Numbers of channels as [1, channels, 1, 1] on the device of ``like``, float32."""
    return torch.tensor(values, dtype=torch.float32, device=like.device).view(1, -1, 1, 1)
