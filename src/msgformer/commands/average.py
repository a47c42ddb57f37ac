"""``msgformer average``: average the weights of several checkpoints (a "model soup")."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path

from msgformer.checkpoints.model_location import find_checkpoint
from msgformer.config.constraints import check_choices, check_ranges
from msgformer.config.renamed_arguments import renamed_arguments
from msgformer.config.training_options import Progress
from msgformer.data.files.locations import resolve_data
from msgformer.errors import UserError
from msgformer.utils.result import Result, text_table
from msgformer.weights.files import check_weights_output


@dataclass(frozen=True)
class Ingredient:
    """A checkpoint considered for the average.

    Attributes:
        checkpoint: Its file.
        score: Its own score in percent; None without ``greedy``.
        taken: Whether the average includes it.
    """

    checkpoint: Path
    score: float | None
    taken: bool


@dataclass(frozen=True)
class Averaged(Result):
    """Result of `msgformer.average`.

    Attributes:
        output: The checkpoint that was written.
        model: Name of the model.
        metric: Name of the score; None without ``greedy``.
        score: Score of the average in percent; None without ``greedy``.
        ingredients: The checkpoints, in the order in which they were considered.
    """

    output: Path
    model: str
    metric: str | None
    score: float | None
    ingredients: list[Ingredient]

    def table(self) -> str:
        """Return the checkpoints that were averaged, and the next command."""
        taken = sum(one.taken for one in self.ingredients)
        text = f"{self.output}: {self.model}, the mean of {taken} of {len(self.ingredients)} checkpoints"
        if self.score is not None and self.metric is not None:
            rows = [(one.checkpoint, f"{one.score:.2f} %", "yes" if one.taken else "no") for one in self.ingredients]
            text = f"{text}, {self.metric} {self.score:.2f} %\n{text_table(('CHECKPOINT', self.metric, 'TAKEN'), rows)}"
        return f"{text}\n'msgformer evaluate {self.output}' scores it"


@renamed_arguments(checkpoint="model", accelerator="device")
def average(
    model: Path | list[Path],
    *,
    output: Path | None = None,
    overwrite: bool = False,
    greedy: bool = False,
    data: str | Path | None = None,
    batch_size: int | None = None,
    workers: int | None = None,
    device: str | None = None,
    progress: Progress | None = None,
) -> Averaged:
    """Average the weights of several checkpoints of one model (Wortsman et al., "Model soups", 2022).

    The checkpoints should come from one run, or from runs that started from the same weights. BatchNorm statistics are
    averaged like weights.

    Args:
        model: Run folders (their best epochs) or checkpoints in them.
        output: Checkpoint file to write; its name must end with .ckpt.
        overwrite: Replace an existing file, once the new one is complete.
        greedy: Start from the best checkpoint and add the others in order of their scores, each only if the average
            does not get worse.
        data: With --greedy, data to score on, as for 'msgformer evaluate'; by default the images that the runs held
            out.
        batch_size: With --greedy, images per batch, as for 'msgformer evaluate'.
        workers: With --greedy, processes that load images; by default the number of cores minus one, at most 8.
        device: With --greedy, "auto", "cpu", "cuda" or "cuda:N".
        progress: With --greedy, "bar", "lines" or "none"; "auto" shows a bar in a terminal.

    Returns:
        The averaged checkpoints and their scores.

    Raises:
        UserError: A path can't be used, the checkpoints are of different models or classes, or the runs held out
            different images.
    """
    check_choices(average, locals())
    scoring = {"batch_size": batch_size, "workers": workers, "device": device, "progress": progress}
    scoring = {key: value for key, value in scoring.items() if value is not None}
    check_ranges(scoring)
    if not greedy and (data is not None or scoring):
        raise UserError(f"{'data' if data is not None else next(iter(scoring))} is for --greedy; leave it out")
    given = [model] if isinstance(model, str | Path) else model
    if len(given) < 2:
        raise UserError(f"model: {len(given)} can't be averaged; give two or more")
    paths = [find_checkpoint(Path(path)) for path in given]
    if output is None:
        raise UserError("output: no file to write is given; pass one, such as --output soup.ckpt")
    output = Path(output)
    if output.exists() and any(output.samefile(path) for path in paths):
        raise UserError(f"output: {output} is one of the checkpoints themselves; give another file")
    check_weights_output(output, ".ckpt", overwrite=overwrite)

    from msgformer.commands.evaluate import evaluate
    from msgformer.weights import averaging

    if not greedy:
        card = averaging.average_all(paths, output)
        return Averaged(output, card.model, None, None, [Ingredient(path, None, True) for path in paths])
    resolved = None if data is None else resolve_data(data, layout=False)
    soup = averaging.average_greedily(paths, output, resolved, partial(evaluate, **scoring))
    ingredients = [Ingredient(path, score, path in soup.taken) for path, score in soup.scores.items()]
    return Averaged(output, soup.card.model, soup.metric, soup.score, ingredients)
