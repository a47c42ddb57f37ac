"""``msgformer evaluate``: scores of a trained model."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from msgformer.api.result import Result
from msgformer.api.runs import find_checkpoint
from msgformer.data.checking import Skipped
from msgformer.data.locations import resolve_data
from msgformer.data.options import OnBadImage
from msgformer.errors import shown
from msgformer.training.options import Precision, Progress


@dataclass(frozen=True)
class EvaluateResult(Result):
    """Scores of a model on a set of images.

    Attributes:
        checkpoint: The weights that were scored.
        data: What they were scored on.
        images: How many images that were.
        skipped: Images that were left out, because they can't be read.
        classes: How many classes the model tells apart.
        top1: Accuracy in per cent.
        top5: Likewise, the right class among the five likeliest.
        loss: Mean cross-entropy.
    """

    checkpoint: Path
    data: str
    images: int
    skipped: list[Skipped]
    classes: int
    top1: float
    top5: float
    loss: float

    def table(self) -> str:
        """The scores in one line, and what they are of in another."""
        return (
            f"top-1 {self.top1:.2f} %, top-5 {self.top5:.2f} %, loss {self.loss:.4f}\n"
            f"{self.images} images in {self.classes} classes from {self.data}, by {self.checkpoint}"
            + "".join(f"\nleft out: {shown(one.reason)}" for one in self.skipped)
        )


def evaluate(
    checkpoint: Path,
    data: str | Path | None = None,
    on_bad_image: OnBadImage = "stop",
    batch_size: int = 128,
    workers: int | None = None,
    accelerator: str = "auto",
    precision: Precision = "32-true",
    progress: Progress = "auto",
) -> EvaluateResult:
    """Score a trained model on the images that its run held out, or on others.

    Args:
        checkpoint: Run folder, of which the best epoch is taken, or a checkpoint in one.
        data: Folder with val/, or with class folders, or SCHEME:LOCATION as in training; by default what the run held
            out.
        on_bad_image: At images that can't be read, "stop" or "skip" them.
        batch_size: Images a batch.
        workers: Processes that read images; by default one less than there are cores, at most 8.
        accelerator: "auto", "cpu", "gpu" or another that Lightning knows.
        precision: Number format, in Lightning's words.
        progress: A "bar", "lines" or "none"; "auto" is a bar in a terminal.

    Returns:
        Top-1, top-5 and loss.

    Raises:
        UserError: a path isn't there or isn't what it should be, or classes aren't the model's.
    """
    path = find_checkpoint(Path(checkpoint))
    resolved = None if data is None else resolve_data(data, layout=False)

    from msgformer.api.scoring import score

    return EvaluateResult(**score(path, resolved, on_bad_image, batch_size, workers, accelerator, precision, progress))
