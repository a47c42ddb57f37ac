"""Records of model sizes; imports nothing heavy."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class PartSize:
    """Size of a part of a model for one image.

    Attributes:
        part: "stem", "stage 1" and so on, "head", or "all".
        parameters: Number of parameters.
        macs: Multiply-adds of convolutions and matrix products, including attention.
        activations: Number of output elements of these operators.
    """

    part: str
    parameters: int
    macs: int
    activations: int


@dataclass(frozen=True)
class Comparison:
    """Counted size and published size.

    Attributes:
        setting: Data set and head.
        input_size: Height and width of the image that multiply-adds are counted for.
        parameters: Counted parameters.
        published_parameters: Published parameters, a rounded number.
        parameters_difference: Difference of the counted from the published number, in percent.
        macs: Multiply-adds, counted as in the published table.
        published_macs: Published multiply-adds, a rounded number; None if they are not published.
        macs_difference: Difference of the counted from the published number, in percent.
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
    """Size of a model.

    Attributes:
        model: Name of the model.
        input_size: Height and width of the image that ``parts`` and ``total`` are for.
        total: Size of the whole classifier of 1000 classes.
        parts: Sizes of its parts.
        comparisons: Comparisons with published sizes; empty if they were not requested.
    """

    model: str
    input_size: tuple[int, int]
    total: PartSize
    parts: list[PartSize]
    comparisons: list[Comparison]
