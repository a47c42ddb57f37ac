"""Weights of checkpoints averaged: all of them, or those that do an average good."""

from __future__ import annotations

import dataclasses
import shutil
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from msgformer.checkpoints.card import ModelCard
from msgformer.checkpoints.checkpoint_file import read_checkpoint, trained_weights
from msgformer.data.classification.skipped import SKIPPED_FILE
from msgformer.data.loading.split import SPLIT_FILE, read_split
from msgformer.errors import UserError
from msgformer.tasks import get_task
from msgformer.weights.files import write_checkpoint

ONLY_TRAINING = "_rate"
"""What the names of a model's arguments end with that change nothing about its weights."""


class Soup:
    """A mean of weights that further weights can be added to.

    Args:
        total: Sums by name, in double precision.
        count: How many sets of weights they are of.
    """

    def __init__(self, total: Mapping[str, Tensor], count: int) -> None:
        self.total, self.count = total, count

    def plus(self, weights: Mapping[str, Tensor]) -> Soup:
        """The mean with one more."""
        return Soup({name: total + weights[name].double() for name, total in self.total.items()}, self.count + 1)

    def weights(self, like: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The mean in the number formats of ``like``; whole numbers, such as counts of batches, are rounded."""
        means = {name: total / self.count for name, total in self.total.items()}
        return {
            name: (mean if like[name].is_floating_point() else mean.round()).to(like[name].dtype)
            for name, mean in means.items()
        }


@dataclass(frozen=True)
class GreedySoup:
    """What a greedy choice came to.

    Attributes:
        card: That of the average.
        metric: What was scored.
        score: What the average reaches, in percent.
        scores: What each checkpoint reaches alone, the best first.
        taken: Those that are part of the average.
    """

    card: ModelCard
    metric: str
    score: float
    scores: dict[Path, float]
    taken: list[Path]


class Ingredients:
    """Checkpoints of one model, read one at a time.

    Args:
        paths: Their files.

    Raises:
        UserError: One can't be read, or is of another model or of other classes.
    """

    def __init__(self, paths: Sequence[Path]) -> None:
        self.first = paths[0]
        self.card, self.like = _read(paths[0])
        self.cards = {path: self._checked(path)[0] for path in paths}
        self.shared = all(_held_out(path, card) == _held_out(paths[0], self.card) for path, card in self.cards.items())

    def weights(self, path: Path) -> dict[str, Tensor]:
        """The weights of one."""
        return self._checked(path)[1]

    def soup(self) -> Soup:
        """The mean of nothing."""
        return Soup({name: torch.zeros(value.shape, dtype=torch.double) for name, value in self.like.items()}, 0)

    def write(self, soup: Soup, output: Path) -> ModelCard:
        """Write an average as a checkpoint, which knows its held-out images only where all runs held out the same."""
        card = dataclasses.replace(self.card, data=self.card.data if self.shared else {})
        write_checkpoint(soup.weights(self.like), card, output)
        return card

    def _checked(self, path: Path) -> tuple[ModelCard, dict[str, Tensor]]:
        card, weights = _read(path)
        ours, theirs = _identity(self.card), _identity(card)
        for key, value in ours.items():
            if theirs[key] != value:
                raise UserError(
                    f"{path} and {self.first} can't be averaged: {_difference(key, theirs[key], value)};"
                    " give checkpoints of one model and of the same classes"
                )
        shapes = [{name: tuple(value.shape) for name, value in state.items()} for state in (weights, self.like)]
        if shapes[0] != shapes[1]:
            names = sorted(name for name in {*shapes[0], *shapes[1]} if shapes[0].get(name) != shapes[1].get(name))
            raise UserError(f"{path} and {self.first} can't be averaged: {names[0]} differs; give others")
        return card, weights


def average_all(paths: Sequence[Path], output: Path) -> ModelCard:
    """Write the mean of all checkpoints.

    Raises:
        UserError: One can't be read or is of another model, or ``output`` can't be written.
    """
    ingredients = Ingredients(paths)
    soup = ingredients.soup()
    for path in paths:
        soup = soup.plus(ingredients.weights(path))
    return ingredients.write(soup, output)


def average_greedily(paths: Sequence[Path], output: Path, data: str | None, evaluate: Callable[..., Any]) -> GreedySoup:
    """Write the mean of those checkpoints that do it good on validation data (Recipe 1 of "Model soups").

    Args:
        paths: The checkpoints.
        output: What to write.
        data: What to score on; None: what the runs held out.
        evaluate: `msgformer.evaluate`, with all arguments but the model and the data.

    Raises:
        UserError: A checkpoint can't be read or is of another model, the data can't be used, the runs held out
            different images, or ``output`` can't be written.
    """
    ingredients = Ingredients(paths)
    metric = get_task(ingredients.card.task).metric
    if data is None and not ingredients.shared:
        raise UserError(
            f"greedy: the runs of {' and '.join(map(str, paths[:2]))} held out different images, which the others"
            " were trained on; give --data with images that are new to all of them"
        )

    def score(path: Path) -> float:
        return evaluate(path, data).metric(metric) or 0.0

    with tempfile.TemporaryDirectory() as folder:
        candidate = Path(folder, "candidate.ckpt")
        for name in (SPLIT_FILE, SKIPPED_FILE):  # which tell what the runs held out
            if (paths[0].parent / name).is_file():
                shutil.copy(paths[0].parent / name, folder)

        def score_soup(soup: Soup) -> float:
            ingredients.write(soup, candidate)
            return score(candidate)

        scores = {path: score(path) for path in paths}
        ranked = dict(sorted(scores.items(), key=lambda item: -item[1]))
        soup, taken, best = choose(ranked, ingredients, score_soup)
    return GreedySoup(ingredients.write(soup, output), metric, best, ranked, taken)


def choose(
    ranked: Mapping[Path, float], ingredients: Ingredients, score_soup: Callable[[Soup], float]
) -> tuple[Soup, list[Path], float]:
    """Take the best checkpoint, and each further one with which the mean isn't worse than without.

    Args:
        ranked: What each reaches alone, the best first.
        ingredients: Their weights.
        score_soup: What a mean reaches.

    Returns:
        The mean, what is part of it, and what it reaches.
    """
    first, *others = ranked
    soup, taken, best = ingredients.soup().plus(ingredients.weights(first)), [first], ranked[first]
    for path in others:
        candidate = soup.plus(ingredients.weights(path))
        reached = score_soup(candidate)
        if reached >= best:
            soup, taken, best = candidate, [*taken, path], reached
    return soup, taken, best


def _read(path: Path) -> tuple[ModelCard, dict[str, Tensor]]:
    checkpoint = read_checkpoint(path)
    return ModelCard.read(checkpoint, path), trained_weights(checkpoint)


def _identity(card: ModelCard) -> dict[str, Any]:
    """What must be the same for weights to mean the same."""
    return {
        "task": card.task,
        "model": card.model,
        "model_args": {key: value for key, value in card.model_args.items() if not key.endswith(ONLY_TRAINING)},
        "classes": card.classes,
        "preprocessing": card.preprocessing,
    }


def _difference(key: str, theirs: Any, ours: Any) -> str:
    if key == "classes":
        return f"the classes are {_some(theirs)} in one, {_some(ours)} in the other"
    if isinstance(ours, dict):
        part = next(name for name in {**ours, **theirs} if ours.get(name) != theirs.get(name))
        return f"{key}.{part} is {theirs.get(part)!r} in one, {ours.get(part)!r} in the other"
    return f"the {key} is {theirs} in one, {ours} in the other"


def _some(classes: list[str]) -> str:
    return f"{len(classes)} ({', '.join(map(repr, classes[:3]))}{', ...' if len(classes) > 3 else ''})"


def _held_out(path: Path, card: ModelCard) -> Any:
    """What tells the images that a run held out from those of others."""
    recorded = read_split(path.parent, "val")
    data = dict(card.data)
    return (data.get("path"), recorded) if recorded is not None else data
