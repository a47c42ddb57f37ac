"""Records of what scores say, light enough for what imports them to answer at once."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class ClassScore:
    """How well one class is told apart; numbers are in per cent, and None where nothing was there to count.

    Attributes:
        name: The class.
        images: Pictures of it.
        predicted: Pictures that were taken for it.
        precision: Part of ``predicted`` that show it.
        recall: Part of ``images`` that were recognised.
        f1: Harmonic mean of both.
    """

    name: str
    images: int
    predicted: int
    precision: float | None
    recall: float | None
    f1: float | None


@dataclass(frozen=True)
class Confusion:
    """How often pictures of one class were taken for another.

    Attributes:
        true: What they show.
        predicted: What they were taken for.
        images: How many.
        share: Part of all pictures of ``true``, in per cent.
    """

    true: str
    predicted: str
    images: int
    share: float
