"""Counted sizes of the models as classifiers, available without importing torch; a test counts them again."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class CountedSize:
    """Counted size of a classifier with 1000 classes.

    Attributes:
        parameters: Number of parameters.
        macs: Multiply-adds for one image of 224 x 224 pixels.
    """

    parameters: int
    macs: int


COUNTED: dict[str, CountedSize] = {
    "msg_transformer_tiny": CountedSize(25_086_116, 3_820_863_488),
    "msg_transformer_small": CountedSize(55_968_514, 8_459_231_232),
    "msg_transformer_base": CountedSize(84_392_770, 14_244_421_632),
    "msg_transformer_v1_tiny": CountedSize(28_290_166, 4_584_818_688),
    "msg_transformer_v1_small": CountedSize(49_608_358, 8_923_711_488),
    "msg_transformer_v1_base": CountedSize(87_771_024, 15_751_798_784),
    "sgformer_small": CountedSize(22_545_981, 4_783_447_040),
    "sgformer_medium": CountedSize(38_689_316, 7_426_150_912),
    "sgformer_base": CountedSize(77_950_293, 15_541_896_960),
}
"""Size of each model of this package."""
