"""Image sets that come with a package, by name."""

from __future__ import annotations

from msgformer.data.digits import DigitsSource
from msgformer.data.elpv import ElpvSource
from msgformer.data.locations import Location, check_sample
from msgformer.data.sources import Source

SOURCES: dict[str, type[DigitsSource] | type[ElpvSource]] = {"digits": DigitsSource, "elpv": ElpvSource}


def open_sample_set(location: Location) -> Source:
    """All pictures of the set; it has no split of its own.

    Raises:
        UserError: there is no such set, or its package isn't installed.
    """
    check_sample(location)
    return SOURCES[location.path]()
