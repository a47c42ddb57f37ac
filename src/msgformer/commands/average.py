"""``msgformer average``: one model from the weights of several, a soup of checkpoints."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path

from msgformer.checkpoints.model_location import find_checkpoint
from msgformer.config.constraints import check_choices, check_ranges
from msgformer.config.training_options import Progress
from msgformer.data.files.locations import resolve_data
from msgformer.errors import UserError
from msgformer.utils.result import Result, text_table
from msgformer.weights.files import check_weights_output


@dataclass(frozen=True)
class Ingredient:
    """A checkpoint that was looked at for an average.

    Attributes:
        checkpoint: The file.
        score: What it reaches alone, in percent; None where nothing was scored.
        taken: Whether it is part of the average.
    """

    checkpoint: Path
    score: float | None
    taken: bool


@dataclass(frozen=True)
class Averaged(Result):
    """What was averaged.

    Attributes:
        output: The checkpoint that was written.
        model: The model that the weights are of.
        metric: What was scored; None where nothing was.
        score: What the average reaches, in percent; None where nothing was scored.
        ingredients: The checkpoints, in the order in which they were looked at.
    """

    output: Path
    model: str
    metric: str | None
    score: float | None
    ingredients: list[Ingredient]

    def table(self) -> str:
        """What was taken, and what to do next."""
        taken = sum(one.taken for one in self.ingredients)
        text = f"{self.output}: {self.model}, the mean of {taken} of {len(self.ingredients)} checkpoints"
        if self.score is not None and self.metric is not None:
            rows = [(one.checkpoint, f"{one.score:.2f} %", "yes" if one.taken else "no") for one in self.ingredients]
            text = f"{text}, {self.metric} {self.score:.2f} %\n{text_table(('CHECKPOINT', self.metric, 'TAKEN'), rows)}"
        return f"{text}\n'msgformer evaluate {self.output}' scores it"


def average(
    checkpoint: Path | list[Path],
    *,
    output: Path | None = None,
    greedy: bool = False,
    data: str | Path | None = None,
    batch_size: int | None = None,
    workers: int | None = None,
    accelerator: str | None = None,
    progress: Progress | None = None,
) -> Averaged:
    """Average the weights of several checkpoints of one model (Wortsman et al., "Model soups", 2022).

    Such runs should have begun with the same weights, or the checkpoints be of one run. BatchNorm's statistics are
    averaged like weights.

    Args:
        checkpoint: Run folders, of which the best epoch is taken, or checkpoints in them.
        output: The checkpoint to write; its name ends with .ckpt.
        greedy: Begin with the best checkpoint, and take each further one, the better ones first, only if the average
            doesn't become worse by it.
        data: For greedy: what to score on, as for 'msgformer evaluate'; by default what the runs held out.
        batch_size: For greedy: images a batch, as for 'msgformer evaluate'.
        workers: For greedy: processes that read images; by default one less than there are cores, at most 8.
        accelerator: For greedy: device, "auto", "cpu", "gpu", "cuda" or "cuda:N".
        progress: For greedy: a "bar", "lines" or "none"; "auto" is a bar in a terminal.

    Returns:
        What was averaged.

    Raises:
        UserError: A path can't be used, the checkpoints are of different models or classes, or the runs held out
            different images.
    """
    check_choices(average, locals())
    looking = {"batch_size": batch_size, "workers": workers, "accelerator": accelerator, "progress": progress}
    looking = {key: value for key, value in looking.items() if value is not None}
    check_ranges(looking)
    if not greedy and (data is not None or looking):
        raise UserError(f"{'data' if data is not None else next(iter(looking))} is for --greedy; leave it out")
    given = [checkpoint] if isinstance(checkpoint, str | Path) else checkpoint
    if len(given) < 2:
        raise UserError(f"checkpoint: {len(given)} can't be averaged; give two or more")
    paths = [find_checkpoint(Path(path)) for path in given]
    if output is None:
        raise UserError("output: no file to write is given; give one, such as --output soup.ckpt")
    output = Path(output)
    check_weights_output(output, ".ckpt")
    if output.exists() and any(output.samefile(path) for path in paths):
        raise UserError(f"output: {output} is one of the checkpoints themselves; give another file")

    from msgformer.commands.evaluate import evaluate
    from msgformer.weights import averaging

    if not greedy:
        card = averaging.average_all(paths, output)
        return Averaged(output, card.model, None, None, [Ingredient(path, None, True) for path in paths])
    resolved = None if data is None else resolve_data(data, layout=False)
    soup = averaging.average_greedily(paths, output, resolved, partial(evaluate, **looking))
    ingredients = [Ingredient(path, score, path in soup.taken) for path, score in soup.scores.items()]
    return Averaged(output, soup.card.model, soup.metric, soup.score, ingredients)
