"""Cache folder for files that this package can create or download again."""

import os
from pathlib import Path


def cache_folder() -> Path:
    """Return ``$MSGFORMER_CACHE``, or ``msgformer`` in the user's cache folder."""
    if own := os.environ.get("MSGFORMER_CACHE"):
        return Path(own)
    default = Path.home() / ("AppData/Local" if os.name == "nt" else ".cache")
    return Path(os.environ.get("XDG_CACHE_HOME") or default) / "msgformer"
