"""Records of what models cost, light enough for what imports them to answer at once."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class PartSize:
    """What a part of a model costs for one image.

    Attributes:
        part: "stem", "stage 1" and so on, "head", or "all".
        parameters: Numbers that it learns.
        macs: Multiply-adds of its convolutions and matrix products, attention included.
        activations: Numbers that these give.
    """

    part: str
    parameters: int
    macs: int
    activations: int


@dataclass(frozen=True)
class Comparison:
    """A size counted and as it was published.

    Attributes:
        setting: Data set and head.
        input_size: Height and width that multiply-adds are of.
        parameters: Counted.
        published_parameters: As printed, a rounded number.
        parameters_difference: Of the counted to the published number, in percent.
        macs: Counted as the tables count them.
        published_macs: As printed, a rounded number; None where none are.
        macs_difference: Of the counted to the published number, in percent.
    """

    setting: str
    input_size: tuple[int, int]
    parameters: int
    published_parameters: int
    parameters_difference: float
    macs: int
    published_macs: int | None
    macs_difference: float | None


@dataclass(frozen=True)
class ModelSize:
    """What a model costs.

    Attributes:
        model: Its name.
        input_size: Height and width that ``parts`` and ``total`` are of.
        total: The whole classifier of 1000 classes.
        parts: The same by stage.
        comparisons: With what was published about it; none where only totals were asked for.
    """

    model: str
    input_size: tuple[int, int]
    total: PartSize
    parts: list[PartSize]
    comparisons: list[Comparison]
