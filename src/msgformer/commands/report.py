"""``msgformer report``: write the report of a run again."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

from msgformer.checkpoints.model_location import find_checkpoint
from msgformer.config.constraints import check_choices, check_ranges
from msgformer.config.data_options import OnBadImage
from msgformer.config.renamed_arguments import renamed_arguments
from msgformer.config.training_options import Precision, Progress
from msgformer.data.files.folder import require_path
from msgformer.data.files.locations import resolve_data
from msgformer.errors import UserError
from msgformer.utils.result import Result


@dataclass(frozen=True)
class ReportResult(Result):
    """Result of `msgformer.report`.

    Attributes:
        report: The self-contained HTML page.
        plots: Its plots as image files.
    """

    report: Path
    plots: list[Path]

    def table(self) -> str:
        """Return the files that were written."""
        return f"{self.report}, and {len(self.plots)} plots in {self.plots[0].parent}"


@renamed_arguments(accelerator="device")
def report(
    run: Path,
    data: str | Path | None = None,
    *,
    score: bool = True,
    on_bad_image: OnBadImage = "stop",
    batch_size: int | None = None,
    workers: int | None = None,
    device: str = "auto",
    precision: Precision = "float32",
    progress: Progress = "auto",
) -> ReportResult:
    """Write the report of a run again, as training does at its end.

    This replaces report.html and the plots in the run folder.

    Args:
        run: Run folder with at least one completed epoch.
        data: Data to score the best epoch on, as for 'msgformer evaluate'; by default the images that the run held out.
        score: Score images; otherwise the report shows only the learning curves, the settings and the environment.
        on_bad_image: "stop" at an image that can't be read, or "skip" and count it.
        batch_size: Images per batch; by default 128 for classifiers, and 1 for detectors and segmenters.
        workers: Processes that load images; by default the number of cores minus one, at most 8.
        device: "auto", "cpu", "cuda" or "cuda:N".
        precision: Number format: float32, bf16 or fp16.
        progress: "bar", "lines" or "none"; "auto" shows a bar in a terminal.

    Returns:
        The report and its plots.

    Raises:
        UserError: The folder is not a run, has no completed epoch, or the data can't be used.
    """
    check_choices(report, locals())
    check_ranges({"batch_size": batch_size, "workers": workers})
    run = require_path(Path(run), "run")
    if not run.is_dir():
        raise UserError(f"run: {run} is a file; give the run folder that it lies in")
    checkpoint = find_checkpoint(run, "run")
    resolved = None if data is None else resolve_data(data, layout=False)

    from msgformer.runs.report import REPORT_FILE, note_all_trained, score_for_report, write_report
    from msgformer.tasks.prediction.predictor import InferenceConfig

    config = InferenceConfig(device, precision, batch_size, workers, progress)
    compute_scores = score_for_report(checkpoint, resolved, config, on_bad_image)
    note = note_all_trained(run) if resolved is None else None
    if note is not None and score:
        print(f"note: {note}", file=sys.stderr, flush=True)
    is_scored = score and note is None
    plots = write_report(run, compute_scores if is_scored else None, [] if note is None else [note])
    return ReportResult(run / REPORT_FILE, plots)
