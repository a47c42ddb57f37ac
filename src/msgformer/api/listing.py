"""What there is to choose from: models, their released names, recipes."""

from __future__ import annotations

import dataclasses

from msgformer.api.recipes import RECIPES, list_recipes
from msgformer.api.result import Result, text_table
from msgformer.catalog import ALIASES, MODELS


@dataclasses.dataclass(frozen=True)
class ModelList(Result):
    """The models.

    Attributes:
        models: This package's models, by their names in timm's registry.
        aliases: The names of the papers' released code, and the models they stand for.
    """

    models: list[str]
    aliases: dict[str, str]

    def table(self) -> str:
        """Models with their released names."""
        released = {model: alias for alias, model in self.aliases.items()}
        return text_table(("MODEL", "RELEASED AS"), [(name, released.get(name, "")) for name in self.models])


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


def models() -> ModelList:
    """List this package's models, and the names of the released code that stand for them."""
    return ModelList(models=list(MODELS), aliases=dict(ALIASES))


def recipes() -> RecipeList:
    """List the recipes that 'msgformer train --config' takes by name."""
    return RecipeList({name: _first_comment(name) for name in list_recipes()})


def _first_comment(recipe: str) -> str:
    """A recipe's first line, which says what it does."""
    line = (RECIPES / f"{recipe}.yaml").read_text(encoding="utf-8").partition("\n")[0]
    return line.removeprefix("#").strip() if line.startswith("#") else ""
