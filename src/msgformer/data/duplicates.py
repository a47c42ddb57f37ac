"""Equal and almost equal images in different subsets, which make validation scores too high."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from msgformer.data.files.images import load_reduced, open_image, to_rgb
from msgformer.data.problems import Problem
from msgformer.errors import UserError, shown

if TYPE_CHECKING:
    import numpy as np
    from PIL import Image

EQUAL, ALIKE = "in both subsets", "alike in both subsets"
"""Kinds of problems."""

THUMBNAIL = 18, 16
"""Width and height of the thumbnail of an image, whose differences make the hash of 8 x 8 bits."""

MIN_CONTRAST = 3.0
"""Standard deviation of a thumbnail, of 0..255, below which an image is too flat to be recognized."""

MIN_CORRELATION = 0.99
"""Correlation of the thumbnails from which two images with similar hashes look almost the same."""

MAX_COMPARISONS = 4_000_000
"""Largest number of pairs of hashes in memory at the same time."""


@dataclass(frozen=True)
class Fingerprint:
    """What an image is recognized by.

    Attributes:
        name: Location of the image.
        digest: Hash of its bytes; empty if it is unknown.
        thumbnail: Small gray copy, 16 x 18 bytes; None if the image is too small, too flat or unreadable.
    """

    name: str
    digest: bytes
    thumbnail: bytes | None


def make_thumbnail(image: Image.Image) -> bytes | None:
    """Return the thumbnail of a decoded image, as of `Fingerprint`."""
    import numpy as np
    from PIL import Image

    if min(image.size) < min(THUMBNAIL):
        return None
    gray = (image if image.mode in ("L", "RGB") else to_rgb(image)).convert("L")
    small = gray.resize(THUMBNAIL, Image.Resampling.BOX, reducing_gap=3.0)
    return small.tobytes() if np.asarray(small, dtype=np.float32).std() >= MIN_CONTRAST else None


def find_leaks(subsets: Mapping[str, Sequence[str]]) -> list[Problem]:
    """Find files of images that are equal or look almost the same in different subsets.

    Args:
        subsets: Paths of the images per subset.
    """
    if len(subsets) < 2:
        return []
    hashed = _shared_sizes(subsets.values())
    with ThreadPoolExecutor() as pool:  # Pillow's decoders release the lock
        found = {
            subset: list(pool.map(lambda path: _fingerprint(path, hashed), paths)) for subset, paths in subsets.items()
        }
    return [*equal_images(found), *alike_images(found)]


def _shared_sizes(subsets: Iterable[Sequence[str]]) -> set[int]:
    """Return the sizes in bytes that files of several subsets have; only such files can be equal."""
    seen: set[int] = set()
    shared: set[int] = set()
    for paths in subsets:
        sizes = {size for path in paths if (size := _size(path)) is not None}
        shared |= sizes & seen
        seen |= sizes
    return shared


def _size(path: str) -> int | None:
    try:
        return os.stat(path).st_size  # noqa: PTH116  (the fastest)
    except OSError:
        return None


def _fingerprint(path: str, hashed: set[int]) -> Fingerprint:
    try:
        digest = hashlib.blake2b(Path(path).read_bytes()).digest() if _size(path) in hashed else b""
        with open_image(path) as image:
            load_reduced(image)
            return Fingerprint(path, digest, make_thumbnail(image))
    except (OSError, UserError):  # other checks report it
        return Fingerprint(path, b"", None)


def equal_images(subsets: Mapping[str, Sequence[Fingerprint]]) -> Iterator[Problem]:
    """Yield a warning for each image with the same bytes as one of an earlier subset.

    Args:
        subsets: Images per subset.
    """
    first: dict[bytes, tuple[str, str]] = {}
    for subset, images in subsets.items():
        for image in images:
            if image.digest and (original := first.setdefault(image.digest, (subset, image.name)))[0] != subset:
                message = (
                    f"the same bytes as {shown(original[1])} in {original[0]}: validation scores would be too high"
                )
                yield Problem("warning", EQUAL, image.name, f"{message}; remove one")


def alike_images(subsets: Mapping[str, Sequence[Fingerprint]]) -> Iterator[Problem]:
    """Yield a warning for each image that looks almost the same as one of an earlier subset, but has other bytes.

    Candidates have hashes of the differences between neighbors in their thumbnails (dHash) that differ in at most 2 of
    64 bits; the correlation of the thumbnails decides.

    Args:
        subsets: Images per subset.
    """
    names = list(subsets)
    usable = {name: [one for one in subsets[name] if one.thumbnail is not None] for name in names}
    for place, subset in enumerate(names):
        told: set[str] = set()
        for earlier in names[:place]:
            for one, other in _alike(usable[subset], usable[earlier]):
                if one.name not in told:
                    told.add(one.name)
                    message = f"looks almost the same as {shown(other.name)} in {earlier}: validation scores would be"
                    remedy = "too high if it shows the same; remove one or keep both in one subset"
                    yield Problem("warning", ALIKE, one.name, f"{message} {remedy}")


def _alike(images: Sequence[Fingerprint], others: Sequence[Fingerprint]) -> Iterator[tuple[Fingerprint, Fingerprint]]:
    """Yield the images of a subset that look almost the same as one of another, each with the most similar one."""
    import numpy as np

    if not images or not others:
        return
    ours, theirs = _thumbnails(images), _thumbnails(others)
    hashes, other_hashes = _hashes(ours), _hashes(theirs)
    step = max(1, MAX_COMPARISONS // len(others))
    one = np.uint64(1)
    for start in range(0, len(images), step):
        rest = hashes[start : start + step, None] ^ other_hashes
        for _ in range(2):
            rest &= rest - one  # clears the lowest bit that differs; 0 - 1 wraps, which keeps 0
        for row in np.flatnonzero((rest == 0).any(axis=1)).tolist():
            image = images[start + row]
            # `equal_images` finds equal files.
            near = [
                column
                for column in np.flatnonzero(rest[row] == 0).tolist()
                if not image.digest or image.digest != others[column].digest
            ]
            if not near:
                continue
            similarity = _correlations(theirs[near], ours[start + row])
            if similarity.max() >= MIN_CORRELATION:
                yield image, others[near[int(similarity.argmax())]]


def _thumbnails(images: Sequence[Fingerprint]) -> np.ndarray:
    """Return the thumbnails as numbers [N, 16, 18]."""
    import numpy as np

    width, height = THUMBNAIL
    joined = b"".join(image.thumbnail or b"" for image in images)
    return np.frombuffer(joined, np.uint8).reshape(-1, height, width)


def _hashes(thumbnails: np.ndarray) -> np.ndarray:
    """Return a hash of 64 bits per thumbnail: whether each mean of 2 x 2 pixels exceeds its right neighbor [N]."""
    import numpy as np

    count, height, width = thumbnails.shape
    means = thumbnails.reshape(count, height // 2, 2, width // 2, 2).mean(axis=(2, 4), dtype=np.float32)
    bits = (means[:, :, :-1] > means[:, :, 1:]).reshape(count, -1)
    return np.packbits(bits, axis=1).view(np.uint64)[:, 0]


def _correlations(thumbnails: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Return the correlation of thumbnails [N, 16, 18] with another one [16, 18]."""
    import numpy as np

    centered = [one - one.mean(axis=1, keepdims=True) for one in (_flat(thumbnails), _flat(other[None]))]
    first, second = (one / np.linalg.norm(one, axis=1, keepdims=True) for one in centered)
    correlations: np.ndarray = first @ second[0]
    return correlations


def _flat(thumbnails: np.ndarray) -> np.ndarray:
    return thumbnails.reshape(len(thumbnails), -1).astype("float32")
