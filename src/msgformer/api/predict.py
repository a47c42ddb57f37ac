"""``msgformer predict``: what images show."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

from msgformer.api.result import Result, text_table
from msgformer.api.runs import existing, find_checkpoint
from msgformer.data.folder import find_images
from msgformer.data.options import OnBadImage
from msgformer.errors import UserError
from msgformer.training.options import Precision


@dataclass(frozen=True)
class Prediction:
    """What one image shows.

    Attributes:
        image: Its path.
        classes: Class names, the likeliest first.
        probabilities: Of each, 0..1.
    """

    image: str
    classes: list[str]
    probabilities: list[float]


@dataclass(frozen=True)
class PredictResult(Result):
    """What images show.

    Attributes:
        checkpoint: The weights that were asked.
        predictions: One an image, in the order in which the images were given; those of a folder by name.
        skipped: Images that were left out, because they can't be read.
    """

    checkpoint: Path
    predictions: list[Prediction]
    skipped: list[str]

    def table(self) -> str:
        """One row an image: its path, then classes with their probabilities in per cent."""
        rows = [
            (one.image, *(f"{name} {100 * p:.1f} %" for name, p in zip(one.classes, one.probabilities, strict=True)))
            for one in self.predictions
        ]
        width = max((len(row) for row in rows), default=2)
        rows += [(image, "left out: can't be read", *[""] * (width - 2)) for image in self.skipped]
        return text_table([""] * width, rows)


def predict(
    checkpoint: Path,
    images: list[Path],
    top_k: int = 5,
    on_bad_image: OnBadImage = "stop",
    batch_size: int = 64,
    workers: int | None = None,
    accelerator: str = "auto",
    precision: Precision = "32-true",
) -> PredictResult:
    """Name what images show.

    Args:
        checkpoint: Run folder, of which the best epoch is taken, or a checkpoint in one.
        images: Image files, and folders whose images are taken with those of all sub-folders.
        top_k: How many classes to name for each image; all of them if there are fewer.
        on_bad_image: At an image that can't be read, "stop", or "skip" it and list it as left out.
        batch_size: Images a batch.
        workers: Processes that read images; by default none for one batch, else one less than there are cores.
        accelerator: "auto", "cpu", "gpu" or another that Lightning knows.
        precision: Number format, in Lightning's words.

    Returns:
        Class names and probabilities of every image, in order.

    Raises:
        UserError: a path isn't there, a folder holds no image, or an image can't be read.
    """
    if top_k < 1:
        raise UserError(f"top_k must be at least 1, not {top_k}")
    path = find_checkpoint(Path(checkpoint))
    files = [file for given in images for file in list_files(Path(given))]
    if not files:
        raise UserError("images: none are given; give files or folders")

    from msgformer.api.scoring import stream_predictions

    found = stream_predictions(path, files, top_k, batch_size, workers, accelerator, precision, on_bad_image)
    predictions = [Prediction(*fields) for fields in found]
    skipped = [one.image for one in predictions if not one.classes]
    if skipped:
        print(f"left out {len(skipped)} of {len(files)} image(s), which can't be read", file=sys.stderr)
    return PredictResult(path, [one for one in predictions if one.classes], skipped)


def list_files(path: Path) -> list[str]:
    """The image file at ``path``, or all images in the folder there, by name.

    Raises:
        UserError: nothing is there, or no image is in the folder.
    """
    if existing(path, "images").is_file():
        return [str(path)]
    found = find_images(path)
    if not found:
        raise UserError(f"images: no image in folder {path}")
    return [str(path / name) for name in found]
