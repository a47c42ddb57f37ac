"""``msgformer report``: the page about a run, made again."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from msgformer.checkpoints.model_location import find_checkpoint
from msgformer.config.constraints import check_choices, check_ranges
from msgformer.config.data_options import OnBadImage
from msgformer.config.training_options import Precision, Progress
from msgformer.data.files.folder import require_path
from msgformer.data.files.locations import resolve_data
from msgformer.errors import UserError
from msgformer.utils.result import Result


@dataclass(frozen=True)
class ReportResult(Result):
    """What was written.

    Attributes:
        report: The page, which needs nothing else.
        plots: Its plots as pictures.
    """

    report: Path
    plots: list[Path]

    def table(self) -> str:
        """The same in words."""
        return f"{self.report}, and {len(self.plots)} plots in {self.plots[0].parent}"


def report(
    run: Path,
    data: str | Path | None = None,
    *,
    score: bool = True,
    on_bad_image: OnBadImage = "stop",
    batch_size: int | None = None,
    workers: int | None = None,
    accelerator: str = "auto",
    precision: Precision = "32-true",
    progress: Progress = "auto",
) -> ReportResult:
    """Write the report of a run anew, as its training does at the end.

    It replaces report.html and the plots in the run folder.

    Args:
        run: Run folder in which an epoch at least is done.
        data: Images to score the best epoch on, as in 'evaluate'; by default what the run held out.
        score: Score images at all; without them the report has the learning curves, the settings and the environment.
        on_bad_image: At images that can't be read, "stop", or "skip" and count them.
        batch_size: Images per batch; by default 128 for classifiers, and 1 for detectors and segmenters.
        workers: Processes that read images; by default one less than there are cores, at most 8.
        accelerator: Device: "auto", "cpu", "gpu", "cuda" or "cuda:N".
        precision: Number format: float32, bf16 or fp16, or in Lightning's words.
        progress: A "bar", "lines" or "none"; "auto" is a bar in a terminal.

    Returns:
        Where the report and its plots are.

    Raises:
        UserError: the folder isn't a run, no epoch is done in it, or the images can't be used.
    """
    check_choices(report, locals())
    check_ranges({"batch_size": batch_size, "workers": workers})
    run = require_path(Path(run), "run")
    if not run.is_dir():
        raise UserError(f"run: {run} is a file; give the run folder that it lies in")
    checkpoint = find_checkpoint(run)
    resolved = None if data is None else resolve_data(data, layout=False)

    from msgformer.runs.report import REPORT_FILE, score_for_report, write_report
    from msgformer.tasks.prediction.predictor import InferenceConfig

    config = InferenceConfig(accelerator, precision, batch_size, workers, progress)
    ask = score_for_report(checkpoint, resolved, config, on_bad_image)
    plots = write_report(run, ask if score else None)
    return ReportResult(run / REPORT_FILE, plots)
