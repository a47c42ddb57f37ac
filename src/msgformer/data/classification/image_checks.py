"""Checks of every image of a source: unreadable, unusual and duplicate images."""

from __future__ import annotations

import hashlib
import io
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from msgformer.data.duplicates import EQUAL, Fingerprint, alike_images, make_thumbnail
from msgformer.data.files.images import FULL_SIZE, load_reduced, open_image
from msgformer.data.files.sources import EncodedSource, Source
from msgformer.data.problems import Problem
from msgformer.errors import UserError, shown

if TYPE_CHECKING:
    from PIL import Image

SMALL_SIDE = 32
"""Images with a shorter side in pixels are noted, since they will be enlarged many times."""

LARGE_PIXELS = 50_000_000
"""Images with more pixels are noted, since they are slow to decode in every epoch."""

MAX_CLASS_RATIO = 10
"""Ratio of the largest to the smallest class from which a warning is given."""


@dataclass(frozen=True)
class ImageReport:
    """Result of checking one image.

    Attributes:
        name: Location of the image.
        label: Name of its class.
        digest: Hash of its bytes; empty if it can't be read.
        problems: Problems of the image.
        thumbnail: As of `Fingerprint`.
    """

    name: str
    label: str
    digest: bytes
    problems: tuple[Problem, ...]
    thumbnail: bytes | None = None


def check_source_images(sources: Mapping[str, Source], advance: Callable[[], object]) -> list[Problem]:
    """Find problems of the images of a dataset.

    Args:
        sources: Sources by the name of the subset.
        advance: Called after each image, to show progress.
    """
    reports: dict[str, list[ImageReport]] = {}
    with ThreadPoolExecutor() as pool:  # Pillow's decoders release the lock
        for subset, source in sources.items():
            reports[subset] = []
            for report in pool.map(partial(_check_image, source), range(len(source.labels))):
                reports[subset].append(report)
                advance()
    found = [problem for subset in reports.values() for report in subset for problem in report.problems]
    prints = {
        subset: [Fingerprint(one.name, one.digest, one.thumbnail) for one in images]
        for subset, images in reports.items()
    }
    return [*found, *_duplicates(reports), *alike_images(prints), *_skew(sources)]


def _check_image(source: Source, index: int) -> ImageReport:
    name = source.where(index) if isinstance(source, EncodedSource) else source.name(index)
    label = source.classes[source.labels[index]]
    problems: list[Problem] = []
    digest, thumbnail = b"", None
    try:
        if isinstance(source, EncodedSource):
            file = source.open(index)
            content = Path(file).read_bytes() if isinstance(file, str) else file.read()
            digest = hashlib.blake2b(content).digest()
            with open_image(io.BytesIO(content), name) as image:
                problems += [Problem("note", kind, name, message) for kind, message in _notes(image)]
                load_reduced(image)
                thumbnail = make_thumbnail(image)
        else:
            image = source.load(index)
            digest, thumbnail = hashlib.blake2b(image.tobytes()).digest(), make_thumbnail(image)
    except OSError as error:
        message = f"can't be read ({error.strerror}); restore or remove it"
        problems = [Problem("error", "unreadable image", name, message)]
    except UserError as error:
        message = str(error).replace(f" {shown(name)}", "")
        problems = [Problem("error", "unreadable image", name, message)]
    return ImageReport(name, label, digest, tuple(problems), thumbnail)


def _notes(image: Image.Image) -> Iterator[tuple[str, str]]:
    """Yield the kind and message of each unusual property of a readable image, and how it is handled."""
    from PIL.ExifTags import Base

    width, height = image.info.get(FULL_SIZE, image.size)
    if min(width, height) < SMALL_SIDE:
        yield "small image", f"{width} x {height} pixels"
    if width * height > LARGE_PIXELS:
        yield "large image", f"{width} x {height} pixels; a smaller copy is read much faster"
    if image.mode.startswith("I") or image.mode == "F":
        yield "wide pixels", f"gray of more than 8 bits ({image.mode}) is scaled to 8"
    if image.mode == "CMYK":
        yield "CMYK", "is converted to RGB without a color profile"
    if image.mode in ("RGBA", "LA", "PA", "RGBa", "La") or "transparency" in image.info:
        yield "transparency", "transparent parts become white"
    if getattr(image, "n_frames", 1) > 1:
        yield "animation", "only the first of several frames is used"
    if image.getexif().get(Base.Orientation, 1) != 1:
        yield "EXIF orientation", "is rotated accordingly"


def _duplicates(reports: Mapping[str, Sequence[ImageReport]]) -> Iterator[Problem]:
    """Yield a problem for each image with the same bytes as an earlier one."""
    first: dict[bytes, tuple[str, ImageReport]] = {}
    for subset, images in reports.items():
        for image in images:
            if not image.digest:
                continue
            first_subset, original = first.setdefault(image.digest, (subset, image))
            if original is image:
                continue
            same = f"the same bytes as {shown(original.name)}"
            if original.label != image.label:
                labels = f"{original.label!r} there, {image.label!r} here"
                yield Problem("warning", "two classes", image.name, f"{same}, but {labels}; remove the wrong one")
            elif first_subset != subset:
                leak = f"{same} in {first_subset}: validation scores would be too high; remove one"
                yield Problem("warning", EQUAL, image.name, leak)
            else:
                yield Problem("note", "duplicate", image.name, same)


def _skew(sources: Mapping[str, Source]) -> Iterator[Problem]:
    """Yield a warning if the training classes differ much in their numbers of images."""
    for subset in {"train", "all"} & set(sources):
        source = sources[subset]
        counts = Counter(source.labels).most_common()
        if counts and counts[0][1] >= MAX_CLASS_RATIO * counts[-1][1]:
            (largest, most), (smallest, least) = counts[0], counts[-1]
            sizes = f"{most} images of {source.classes[largest]!r}, but {least} of {source.classes[smallest]!r}"
            yield Problem("warning", "skew", subset, f"{sizes}; --balance sampler or loss in training evens it out")
