"""``msgformer models`` and ``msgformer recipes``: list the models and the recipes."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import yaml

from msgformer.config.constraints import check_ranges
from msgformer.config.recipes import find_config, list_recipes, load_config
from msgformer.config.renamed_arguments import renamed_arguments
from msgformer.model_names import ALIASES, MODELS, resolve
from msgformer.profiling.counted import COUNTED, CountedSize
from msgformer.profiling.published import PUBLISHED, PublishedSize
from msgformer.profiling.sizes import Comparison, ModelSize, PartSize
from msgformer.utils.result import Result, text_table


@dataclasses.dataclass(frozen=True)
class ModelList(Result):
    """Result of `msgformer.models`.

    Attributes:
        models: Names of this package's models in timm's registry.
        aliases: Names in the official code, and the models that they stand for.
        published: Published sizes of each model: parameters in millions, multiply-adds in billions.
        counted: Counted parameters and multiply-adds of each model at 224 x 224 pixels.
        sizes: Counted sizes per part; empty unless they were requested.
    """

    models: list[str]
    aliases: dict[str, str]
    published: dict[str, tuple[PublishedSize, ...]]
    counted: dict[str, CountedSize]
    sizes: list[ModelSize]

    def table(self) -> str:
        """Return the models with their sizes and published scores, or the sizes that were requested."""
        if not self.sizes:
            header = ("MODEL", "RELEASED AS", "PARAMETERS", "MACS AT 224", "PUBLISHED TOP-1")
            return text_table(header, map(self._row, self.models))
        if any(size.comparisons for size in self.sizes):
            return "\n\n".join(map(_size_tables, self.sizes))
        height, width = self.sizes[0].input_size
        rows = [(size.model, *_counts(size.total)) for size in self.sizes]
        return f"at {height} x {width}\n{text_table(('MODEL', 'PARAMETERS', 'MACS', 'ACTIVATIONS'), rows)}"

    def _row(self, name: str) -> tuple[object, ...]:
        """Return a model, its size as a classifier and its published score."""
        released = {model: alias for alias, model in self.aliases.items()}
        size, score = self.counted[name], self.published[name][0].scores["top-1"]
        return name, released.get(name, ""), f"{size.parameters:,}", _billions(size.macs), f"{score} %"


def _size_tables(size: ModelSize) -> str:
    """Return the size of a model per stage, and its comparison with the published sizes."""
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
    """Recipes and their descriptions.

    Attributes:
        recipes: Description of each recipe, by name.
    """

    recipes: dict[str, str]

    def table(self) -> str:
        """Return each recipe and its description."""
        return text_table(("RECIPE", ""), self.recipes.items())


@renamed_arguments(input_size="img_size")
def models(*names: str, img_size: int | tuple[int, int] | None = None) -> ModelList:
    """List this package's models, their names in the official code, their sizes and their published scores.

    With names or an image size, parameters, multiply-adds and activations are counted anew. Named models are counted
    per stage, and compared with the published numbers as classifiers, detectors and segmenters.

    Args:
        *names: Models, by name or by their name in the official code; by default all.
        img_size: Image size to count for: the side of a square, or height and width; by default 224.

    Returns:
        The models and their sizes.

    Raises:
        UserError: A name is unknown, or the size is out of range.
    """
    check_ranges({"img_size": img_size})
    chosen = [resolve(name) for name in names] or list(MODELS)
    sizes: list[ModelSize] = []
    if names or img_size is not None:
        from msgformer.profiling.model_profile import measure_model

        side = 224 if img_size is None else img_size
        size = (side, side) if isinstance(side, int) else side
        sizes = [measure_model(name, size, compare=bool(names)) for name in chosen]
    aliases = {alias: name for alias, name in ALIASES.items() if name in chosen}
    published = {name: PUBLISHED[name] for name in chosen}
    return ModelList(chosen, aliases, published, {name: COUNTED[name] for name in chosen}, sizes)


@dataclasses.dataclass(frozen=True)
class RecipeOptions(Result):
    """Recipes with all of their options.

    Attributes:
        recipes: Options of each recipe, including those of the recipe that it extends.
    """

    recipes: dict[str, dict[str, Any]]

    def table(self) -> str:
        """Return the recipes as YAML documents."""
        return "\n---\n".join(map(self._document, self.recipes))

    def _document(self, name: str) -> str:
        text = yaml.safe_dump(self.recipes[name], sort_keys=False, allow_unicode=True).rstrip()
        return f"# {comment}\n{text}" if (comment := _first_comment(find_config(name))) else text


def recipes(*names: str) -> RecipeList | RecipeOptions:
    """List the recipes that 'msgformer train --config' takes by name, or print some of them.

    With names, all options of each recipe are printed as YAML, including those of the recipe that it extends.

    Args:
        *names: Recipes or YAML files to print; by default all recipes are listed.

    Returns:
        The recipes with their descriptions, or with their options.

    Raises:
        UserError: There is no such recipe or file; the message suggests the closest name.
    """
    if names:
        return RecipeOptions({name: load_config(name) for name in names})
    return RecipeList({name: _first_comment(find_config(name)) for name in list_recipes()})


def _first_comment(path: Path) -> str:
    """Return the first line of a recipe, its description."""
    line = path.read_text(encoding="utf-8").partition("\n")[0]
    return line.removeprefix("#").strip() if line.startswith("#") else ""
