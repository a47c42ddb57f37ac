"""Commands that return their arguments, to test how commands are called."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any, Literal

from msgformer.config.parser import configured_by
from msgformer.config.recipes import named_config
from msgformer.utils.result import Result


@dataclasses.dataclass(frozen=True)
class Optim:
    """Optimizer.

    Attributes:
        lr: Learning rate.
        name: Optimizer.
        clip: Maximum gradient norm; none by default.
    """

    lr: float = 1e-3
    name: Literal["adamw", "sgd"] = "adamw"
    clip: float | None = None


@dataclasses.dataclass(frozen=True)
class Given(Result):
    arguments: dict[str, Any]


@configured_by(named_config)
def fit(
    model: str = "tiny",
    epochs: int = 3,
    compile: bool = False,
    optim: Optim = Optim(lr=0.5),
    model_args: dict[str, Any] | None = None,
    classes: list[str] | None = None,
    config: str | Path | None = None,
) -> Given:
    """Fit a model.

    Args:
        model: Which model.
        epochs: How often.
        compile: Faster later.
        optim: The optimizer.
        model_args: More about the model.
        classes: Names.
        config: A file or recipe.
    """
    return Given(dict(locals()))


def name(checkpoint: Path, images: list[Path], top_k: int = 5, tta: bool = False) -> Given:
    """Name images.

    Args:
        checkpoint: What to load, described in words that do not
            fit on a line.
        images: What to look at.
        top_k: How many names.
        tta: Look twice.
    """
    return Given(dict(locals()))


def score(checkpoint: Path | list[Path], flip: bool = False) -> Given:
    """Score models.

    Args:
        checkpoint: One or more.
        flip: Look twice.
    """
    return Given(dict(locals()))


def listed(*names: str, size: int | tuple[int, int] | None = None) -> Given:
    """List things.

    Args:
        *names: Any number.
        size: One number or two.
    """
    return Given(dict(locals()))


def convert(source: Path, target: Path, model: str = "tiny") -> Given:
    """Convert a file.

    Args:
        source: What to read.
        target: What to write.
        model: Which model.
    """
    return Given(dict(locals()))
