"""Records of a classifier's scores. Imports no heavy library."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class ClassScore:
    """Scores of one class, in percent; None if they are undefined, since there are no images.

    Attributes:
        name: Name of the class.
        images: Number of images of the class.
        predicted: Number of images that are predicted as the class.
        precision: Share of ``predicted`` that are of the class.
        recall: Share of ``images`` that are predicted as the class.
        f1: Harmonic mean of precision and recall.
    """

    name: str
    images: int
    predicted: int
    precision: float | None
    recall: float | None
    f1: float | None


@dataclass(frozen=True)
class Confusion:
    """Number of images of one class that are predicted as another.

    Attributes:
        true: The true class.
        predicted: The predicted class.
        images: Number of images.
        share: Share of all images of the true class, in percent.
    """

    true: str
    predicted: str
    images: int
    share: float
