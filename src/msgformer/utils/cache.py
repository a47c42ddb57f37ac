"""The folder for what this package can make or fetch anew."""

import os
from pathlib import Path


def cache_folder() -> Path:
    """``$MSGFORMER_CACHE``, or ``msgformer`` in the user's folder for such things."""
    if own := os.environ.get("MSGFORMER_CACHE"):
        return Path(own)
    default = Path.home() / ("AppData/Local" if os.name == "nt" else ".cache")
    return Path(os.environ.get("XDG_CACHE_HOME") or default) / "msgformer"
