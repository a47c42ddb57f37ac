"""Bundled datasets for classification, each from an installed package, by name."""

from __future__ import annotations

from msgformer.data.bundled.digits import DigitsSource
from msgformer.data.bundled.elpv import ElpvSource
from msgformer.data.bundled.pairs import PairsSource
from msgformer.data.files.locations import Location, check_sample
from msgformer.data.files.sources import Source

UNSPLIT_SETS: dict[str, type[DigitsSource] | type[ElpvSource]] = {"digits": DigitsSource, "elpv": ElpvSource}
"""Sets without a predefined split."""


def open_sample_set(location: Location) -> tuple[Source, Source | None]:
    """Open the training and validation images; the latter are None if the set has no predefined split.

    Raises:
        UserError: The set is unknown, or its package is not installed.
    """
    check_sample(location)
    if location.path == "pairs":
        return PairsSource("train"), PairsSource("val")
    return UNSPLIT_SETS[location.path](), None
