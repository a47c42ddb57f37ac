"""Image sets that come with a package, by name."""

from __future__ import annotations

from msgformer.data.bundled.digits import DigitsSource
from msgformer.data.bundled.elpv import ElpvSource
from msgformer.data.bundled.pairs import PairsSource
from msgformer.data.files.locations import Location, check_sample
from msgformer.data.files.sources import Source

UNSPLIT_SETS: dict[str, type[DigitsSource] | type[ElpvSource]] = {"digits": DigitsSource, "elpv": ElpvSource}
"""Sets without a split of their own."""


def open_sample_set(location: Location) -> tuple[Source, Source | None]:
    """Training and validation images; None for the latter where the set has no split of its own.

    Raises:
        UserError: there is no such set, or its package isn't installed.
    """
    check_sample(location)
    if location.path == "pairs":
        return PairsSource("train"), PairsSource("val")
    return UNSPLIT_SETS[location.path](), None
