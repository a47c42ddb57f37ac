"""What there is to choose from: models, their released names, recipes."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import yaml

from msgformer.config.constraints import check_ranges
from msgformer.config.recipes import find_config, list_recipes, load_config
from msgformer.model_names import ALIASES, MODELS, resolve
from msgformer.profiling.published import PUBLISHED, PublishedSize
from msgformer.profiling.sizes import Comparison, ModelSize, PartSize
from msgformer.utils.result import Result, text_table


@dataclasses.dataclass(frozen=True)
class ModelList(Result):
    """The models.

    Attributes:
        models: This package's models, by their names in timm's registry.
        aliases: The names of the papers' released code, and the models they stand for.
        published: What the papers' tables say about each model: parameters in millions, multiply-adds in billions.
        sizes: What was counted.
    """

    models: list[str]
    aliases: dict[str, str]
    published: dict[str, tuple[PublishedSize, ...]]
    sizes: list[ModelSize]

    def table(self) -> str:
        """Models with their released names, or the sizes that were counted."""
        if not self.sizes:
            return text_table(("MODEL", "RELEASED AS", "PARAMETERS", "MACS", "TOP-1"), map(self._row, self.models))
        if any(size.comparisons for size in self.sizes):
            return "\n\n".join(map(_size_tables, self.sizes))
        height, width = self.sizes[0].input_size
        rows = [(size.model, *_counts(size.total)) for size in self.sizes]
        return f"at {height} x {width}\n{text_table(('MODEL', 'PARAMETERS', 'MACS', 'ACTIVATIONS'), rows)}"

    def _row(self, name: str) -> tuple[object, ...]:
        """A model and what was published about it as a classifier."""
        released = {model: alias for alias, model in self.aliases.items()}
        size = self.published[name][0]
        return name, released.get(name, ""), f"{size.parameters:g} M", f"{size.macs:g} G", f"{size.scores['top-1']} %"


def _size_tables(size: ModelSize) -> str:
    """A model by stage, and beside what was published."""
    parts = text_table(
        ("PART", "PARAMETERS", "MACS", "ACTIVATIONS"),
        [(part.part, *_counts(part)) for part in (*size.parts, size.total)],
    )
    compared = text_table(
        ("PUBLISHED FOR", "SIZE", "PARAMETERS", "PUBLISHED", "DIFFERENCE", "MACS", "PUBLISHED", "DIFFERENCE"),
        map(_comparison_row, size.comparisons),
    )
    height, width = size.input_size
    return f"{size.model} at {height} x {width}\n{parts}\n\n{compared}"


def _counts(part: PartSize) -> tuple[str, str, str]:
    return f"{part.parameters:,}", _billions(part.macs), f"{part.activations / 1e6:.2f} M"


def _comparison_row(compared: Comparison) -> tuple[str, ...]:
    macs, difference = compared.published_macs, compared.macs_difference
    return (
        compared.setting,
        " x ".join(map(str, compared.input_size)),
        f"{compared.parameters / 1e6:.2f} M",
        f"{compared.published_parameters / 1e6:g} M",
        f"{compared.parameters_difference:+.1f} %",
        _billions(compared.macs),
        "-" if macs is None else f"{macs / 1e9:g} G",
        "-" if difference is None else f"{difference:+.1f} %",
    )


def _billions(number: int) -> str:
    return f"{number / 1e9:.2f} G"


@dataclasses.dataclass(frozen=True)
class RecipeList(Result):
    """The recipes.

    Attributes:
        recipes: What ``train --config`` takes beside a file, and what each does.
    """

    recipes: dict[str, str]

    def table(self) -> str:
        """Each recipe and what it does."""
        return text_table(("RECIPE", ""), self.recipes.items())


def models(*names: str, input_size: int | tuple[int, int] | None = None) -> ModelList:
    """List this package's models, the names of the released code that stand for them, and their published sizes.

    With names, or with a size, parameters, multiply-adds and activations are counted: of named models by stage, and
    beside what was published about them as classifiers, detectors and segmenters.

    Args:
        *names: Models, by their names or their released names; all if none is given.
        input_size: Side of the square, or height and width, of the image to count for; by default 224.

    Raises:
        UserError: A name isn't known, or the size can't be meant.
    """
    check_ranges({"input_size": input_size})
    chosen = [resolve(name) for name in names] or list(MODELS)
    sizes: list[ModelSize] = []
    if names or input_size is not None:
        from msgformer.profiling.model_profile import measure_model

        side = 224 if input_size is None else input_size
        size = (side, side) if isinstance(side, int) else side
        sizes = [measure_model(name, size, compare=bool(names)) for name in chosen]
    aliases = {alias: name for alias, name in ALIASES.items() if name in chosen}
    return ModelList(chosen, aliases, {name: PUBLISHED[name] for name in chosen}, sizes)


@dataclasses.dataclass(frozen=True)
class RecipeOptions(Result):
    """Recipes with all of their options.

    Attributes:
        recipes: The options of each, over those of the recipe that it extends.
    """

    recipes: dict[str, dict[str, Any]]

    def table(self) -> str:
        """The recipes as YAML, each a document of its own."""
        return "\n---\n".join(map(self._document, self.recipes))

    def _document(self, name: str) -> str:
        text = yaml.safe_dump(self.recipes[name], sort_keys=False, allow_unicode=True).rstrip()
        return f"# {comment}\n{text}" if (comment := _first_comment(find_config(name))) else text


def recipes(*names: str) -> RecipeList | RecipeOptions:
    """List the recipes that 'msgformer train --config' takes by name, or print some of them.

    With names, all options of each recipe are printed as YAML, those of the recipe that it extends included.

    Args:
        *names: Recipes or YAML files; without any, all recipes are listed.

    Raises:
        UserError: There is no such recipe or file; names the nearest.
    """
    if names:
        return RecipeOptions({name: load_config(name) for name in names})
    return RecipeList({name: _first_comment(find_config(name)) for name in list_recipes()})


def _first_comment(path: Path) -> str:
    """A recipe's first line, which says what it does."""
    line = path.read_text(encoding="utf-8").partition("\n")[0]
    return line.removeprefix("#").strip() if line.startswith("#") else ""
