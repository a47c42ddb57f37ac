"""Configuration files: the recipes that ship with the package, and the user's own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from msgformer.catalog import nearest
from msgformer.errors import UserError

RECIPES = Path(__file__).parents[1] / "recipes"
"""The folder of the shipped recipes; each is named by its path in here, without ``.yaml``."""


def list_recipes() -> list[str]:
    """The names of the recipes, sorted."""
    return sorted(path.relative_to(RECIPES).with_suffix("").as_posix() for path in RECIPES.rglob("*.yaml"))


def find_config(name: str | Path) -> Path:
    """The YAML file that a path or a recipe's name stands for; a path wins.

    Raises:
        UserError: there is neither such a file nor such a recipe.
    """
    path = Path(name)
    if path.is_file():
        return path
    recipes = list_recipes()
    if str(name) in recipes:
        return RECIPES / f"{name}.yaml"
    raise UserError(
        f"no configuration file or recipe {str(name)!r}{nearest(str(name), recipes)}"
        " ('msgformer recipes' shows them all)"
    )


class _UniqueKeyLoader(yaml.SafeLoader):
    """Reads YAML, and refuses a key that is given twice instead of dropping its first value."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[str] = set()
        for key, _ in node.value:
            if key.value in seen:
                raise yaml.MarkedYAMLError(problem=f"{key.value!r} is given twice", problem_mark=key.start_mark)
            seen.add(key.value)
        return super().construct_mapping(node, deep)


def load_yaml(path: Path) -> dict[str, Any]:
    """The mapping in a YAML file; an empty file is an empty one.

    Raises:
        UserError: the file isn't readable as YAML, or holds something else than a mapping.
    """
    try:
        loaded = yaml.load(path.read_text(encoding="utf-8"), Loader=_UniqueKeyLoader)
    except yaml.MarkedYAMLError as error:
        line = f", line {error.problem_mark.line + 1}" if error.problem_mark else ""
        raise UserError(f"{path}{line}: {error.problem}") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UserError(f"{path} is not readable as YAML: {' '.join(str(error).split())}") from error
    if not isinstance(loaded, dict | None):
        raise UserError(f"{path} must hold options ('name: value'), not {type(loaded).__name__}")
    return loaded or {}
