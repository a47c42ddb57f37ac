"""Types of common arguments of commands: for type checkers those of Python, at run time those of the command line."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any, TypeAlias

    from torch import nn

    from msgformer.tasks.loaded_model import LoadedModel

    ModelLike: TypeAlias = str | Path | nn.Module | LoadedModel
    ModelsLike: TypeAlias = ModelLike | list[ModelLike]
    ImagesLike: TypeAlias = str | Path | bytes | Iterable[Any] | Any
else:
    ModelLike = Path
    ModelsLike = list[str]
    ImagesLike = list[str]  # a Path would remove one of the slashes of a URL
