"""What there is to choose from: models, their released names, recipes."""

from __future__ import annotations

import dataclasses

from msgformer.api.recipes import RECIPES, list_recipes
from msgformer.api.result import Result, text_table
from msgformer.catalog import ALIASES, MODELS


@dataclasses.dataclass(frozen=True)
class Listing(Result):
    """Names that the other commands take.

    Attributes:
        models: This package's models, by their names in timm's registry.
        aliases: The names of the papers' released code, and the models they stand for.
        recipes: What ``train --config`` takes beside a file, and what each does.
    """

    models: list[str]
    aliases: dict[str, str]
    recipes: dict[str, str]

    def table(self) -> str:
        """Models with their released names, then recipes."""
        released = {model: alias for alias, model in ALIASES.items()}
        models = text_table(("MODEL", "RELEASED AS"), [(name, released.get(name, "")) for name in self.models])
        recipes = text_table(("RECIPE", ""), self.recipes.items())
        return f"{models}\n\n{recipes}"


def list_names() -> Listing:
    """List the models, the names of the released code that stand for them, and the recipes."""
    recipes = {name: _first_comment(name) for name in list_recipes()}
    return Listing(models=list(MODELS), aliases=dict(ALIASES), recipes=recipes)


def _first_comment(recipe: str) -> str:
    """A recipe's first line, which says what it does."""
    line = (RECIPES / f"{recipe}.yaml").read_text(encoding="utf-8").partition("\n")[0]
    return line.removeprefix("#").strip() if line.startswith("#") else ""
