"""Download of remote shards to the cache folder, so that they can be read in any order."""

from __future__ import annotations

import hashlib
import os
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

from msgformer.errors import UserError, shown
from msgformer.utils.cache import cache_folder


def fetch_shards(shards: Sequence[str]) -> list[str]:
    """Download shards given as URLs to :func:`cache_folder` unless they are cached, and return local paths.

    Raises:
        UserError: A shard can't be downloaded or stored.
    """
    missing = [shard for shard in shards if "://" in shard and not _place(shard).is_file()]
    for number, url in enumerate(missing, start=1):
        _fetch(url)
        print(f"fetched shard {number} of {len(missing)} to {_place(url)}", file=sys.stderr, flush=True)
    return [str(_place(shard)) if "://" in shard else shard for shard in shards]


def _place(url: str) -> Path:
    """Return the path in the cache, in one folder per remote folder, since datasets may share names of shards."""
    folder, _, name = url.rpartition("/")
    return cache_folder() / "shards" / hashlib.sha256(folder.encode()).hexdigest()[:16] / name


def _fetch(url: str) -> None:
    import fsspec

    place = _place(url)
    partial = place.with_name(f".{place.name}.{os.getpid()}")
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        with fsspec.open(url, "rb") as source, partial.open("wb") as target:
            shutil.copyfileobj(source, target, 1 << 20)
        partial.replace(place)
    except Exception as error:  # every protocol of fsspec raises its own types of errors
        cause = error.__cause__ or error
        reason = " ".join(str(cause).split()) or type(cause).__name__
        raise UserError(f"data: can't fetch {url} to {place.parent} ({shown(reason)[:200]})") from error
    finally:
        partial.unlink(missing_ok=True)
