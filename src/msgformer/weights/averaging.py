"""Model soups: average the weights of all checkpoints, or of a greedy selection (Wortsman et al., 2022)."""

from __future__ import annotations

import dataclasses
import math
import shutil
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from msgformer.checkpoints.card import ModelCard
from msgformer.checkpoints.checkpoint_file import read_training_checkpoint, trained_weights
from msgformer.data.classification.skipped import SKIPPED_FILE
from msgformer.data.loading.split import SPLIT_FILE, read_split
from msgformer.errors import UserError
from msgformer.tasks import get_task
from msgformer.weights.files import write_checkpoint

TRAINING_ONLY_SUFFIX = "_rate"
"""Suffix of the model arguments that have no effect on the meaning of the weights, such as drop_path_rate."""


class Soup:
    """A running mean of weights.

    Args:
        total: Sum of the weights by parameter name, in double precision.
        count: Number of checkpoints in the sum.
    """

    def __init__(self, total: Mapping[str, Tensor], count: int) -> None:
        self.total, self.count = total, count

    def plus(self, weights: Mapping[str, Tensor]) -> Soup:
        """Return the soup with the weights of one more checkpoint."""
        return Soup({name: total + weights[name].double() for name, total in self.total.items()}, self.count + 1)

    def weights(self, template: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return the mean in the number formats of ``template``; integers, such as batch counts, are rounded."""
        means = {name: total / self.count for name, total in self.total.items()}
        return {
            name: (mean if template[name].is_floating_point() else mean.round()).to(template[name].dtype)
            for name, mean in means.items()
        }


@dataclass(frozen=True)
class GreedySoup:
    """Result of a greedy selection.

    Attributes:
        card: Card of the averaged model.
        metric: Name of the score.
        score: Score of the average, in percent.
        scores: Score of each checkpoint alone, best first.
        taken: Checkpoints that the average includes.
    """

    card: ModelCard
    metric: str
    score: float
    scores: dict[Path, float]
    taken: list[Path]


class Ingredients:
    """Checkpoints of one model, which are loaded one at a time.

    Args:
        paths: Files of the checkpoints.

    Attributes:
        card: Card of the first checkpoint.
        template: Weights of the first checkpoint, whose number formats a soup gets.
        has_same_val: Whether all runs held out the same images for validation.

    Raises:
        UserError: A checkpoint can't be read, or is of another model or of other classes.
    """

    def __init__(self, paths: Sequence[Path]) -> None:
        self.first = paths[0]
        self.card, self.template = _read(paths[0])
        held_out = [_held_out(path, self._read_alike(path)[0]) for path in paths]
        self.has_same_val = all(one == held_out[0] for one in held_out)

    def weights(self, path: Path) -> dict[str, Tensor]:
        """Return the weights of one checkpoint."""
        return self._read_alike(path)[1]

    def soup(self) -> Soup:
        """Return an empty soup."""
        return Soup({name: torch.zeros(value.shape, dtype=torch.double) for name, value in self.template.items()}, 0)

    def write(self, soup: Soup, output: Path) -> ModelCard:
        """Write a soup as a checkpoint; it records the held-out images only if all runs held out the same ones.

        Args:
            soup: The average.
            output: Checkpoint file to write.

        Returns:
            Card of the averaged model.
        """
        card = dataclasses.replace(self.card, data=self.card.data if self.has_same_val else {})
        write_checkpoint(soup.weights(self.template), card, output)
        return card

    def _read_alike(self, path: Path) -> tuple[ModelCard, dict[str, Tensor]]:
        """Read a checkpoint, and check that its model, classes and shapes are those of the first one."""
        card, weights = _read(path)
        ours, theirs = _identity(self.card), _identity(card)
        for key, value in ours.items():
            if theirs[key] != value:
                raise UserError(
                    f"{path} and {self.first} can't be averaged: {_difference(key, theirs[key], value)};"
                    " give checkpoints of one model and of the same classes"
                )
        shapes = [{name: tuple(value.shape) for name, value in state.items()} for state in (weights, self.template)]
        if shapes[0] != shapes[1]:
            names = sorted(name for name in {*shapes[0], *shapes[1]} if shapes[0].get(name) != shapes[1].get(name))
            raise UserError(f"{path} and {self.first} can't be averaged: {names[0]} differs; give others")
        return card, weights


def average_all(paths: Sequence[Path], output: Path) -> ModelCard:
    """Write the mean of all checkpoints.

    Args:
        paths: Files of the checkpoints.
        output: Checkpoint file to write.

    Returns:
        Card of the averaged model.

    Raises:
        UserError: A checkpoint can't be read or is of another model, or ``output`` can't be written.
    """
    ingredients = Ingredients(paths)
    soup = ingredients.soup()
    for path in paths:
        soup = soup.plus(ingredients.weights(path))
    return ingredients.write(soup, output)


def average_greedily(paths: Sequence[Path], output: Path, data: str | None, evaluate: Callable[..., Any]) -> GreedySoup:
    """Write the mean of a greedy selection of checkpoints (greedy soup, Recipe 1 of Wortsman et al.).

    Args:
        paths: Files of the checkpoints.
        output: Checkpoint file to write.
        data: Data to score on; None for the images that the runs held out.
        evaluate: `msgformer.evaluate` with all arguments bound except for the model and the data.

    Raises:
        UserError: A checkpoint can't be read or is of another model, the data can't be used or gives no score, the runs
            held out different images, or ``output`` can't be written.
    """
    ingredients = Ingredients(paths)
    metric = get_task(ingredients.card.task).metric
    if data is None and not ingredients.has_same_val:
        raise UserError(
            f"greedy: the runs of {' and '.join(map(str, paths[:2]))} held out different images, which the others"
            " were trained on; pass --data with images that none of them was trained on"
        )

    def score(path: Path) -> float:
        value: float | None = evaluate(path, data).metric(metric)
        if value is None or math.isnan(value):
            raise UserError(f"greedy: {metric} can't be computed on {data or 'the held-out images'}; give other --data")
        return value

    with tempfile.TemporaryDirectory() as folder:
        candidate = Path(folder, "candidate.ckpt")
        for name in (SPLIT_FILE, SKIPPED_FILE):  # evaluation finds the held-out images by them
            if (paths[0].parent / name).is_file():
                shutil.copy(paths[0].parent / name, folder)

        def score_soup(soup: Soup) -> float:
            ingredients.write(soup, candidate)
            return score(candidate)

        scores = {path: score(path) for path in paths}
        ranked = dict(sorted(scores.items(), key=lambda item: -item[1]))
        soup, taken, best = select_greedily(ranked, ingredients, score_soup)
    return GreedySoup(ingredients.write(soup, output), metric, best, ranked, taken)


def select_greedily(
    ranked: Mapping[Path, float], ingredients: Ingredients, score_soup: Callable[[Soup], float]
) -> tuple[Soup, list[Path], float]:
    """Start from the best checkpoint, and add each further one if the score of the mean does not decrease.

    Args:
        ranked: Score of each checkpoint alone, best first.
        ingredients: The checkpoints.
        score_soup: Returns the score of a soup.

    Returns:
        The soup, the checkpoints in it, and its score.
    """
    first, *others = ranked
    soup, taken, best = ingredients.soup().plus(ingredients.weights(first)), [first], ranked[first]
    for path in others:
        candidate = soup.plus(ingredients.weights(path))
        candidate_score = score_soup(candidate)
        if candidate_score >= best:
            soup, taken, best = candidate, [*taken, path], candidate_score
    return soup, taken, best


def _read(path: Path) -> tuple[ModelCard, dict[str, Tensor]]:
    checkpoint = read_training_checkpoint(path)
    return ModelCard.read(checkpoint, path), trained_weights(checkpoint)


def _identity(card: ModelCard) -> dict[str, Any]:
    """Return the properties that must be equal for weights to be averaged."""
    return {
        "task": card.task,
        "model": card.model,
        "model_args": {key: value for key, value in card.model_args.items() if not key.endswith(TRAINING_ONLY_SUFFIX)},
        "classes": card.classes,
        "preprocessing": card.preprocessing,
    }


def _difference(key: str, theirs: Any, ours: Any) -> str:
    if key == "classes":
        return f"the classes are {_name_some(theirs)} in one, {_name_some(ours)} in the other"
    if isinstance(ours, dict):
        part = next(name for name in {**ours, **theirs} if ours.get(name) != theirs.get(name))
        return f"{key}.{part} is {theirs.get(part)!r} in one, {ours.get(part)!r} in the other"
    return f"the {key} is {theirs} in one, {ours} in the other"


def _name_some(classes: list[str]) -> str:
    """Return the number of classes, and the names of the first three."""
    return f"{len(classes)} ({', '.join(map(repr, classes[:3]))}{', ...' if len(classes) > 3 else ''})"


def _held_out(path: Path, card: ModelCard) -> Any:
    """Return a record of the images that a run held out, to compare with those of other runs."""
    recorded = read_split(path.parent, "val")
    data = dict(card.data)
    return (data.get("path"), recorded) if recorded is not None else data
