"""Configuration files: the recipes that ship with the package, and the user's own."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from msgformer.errors import UserError
from msgformer.model_names import nearest

RECIPES = Path(__file__).parents[1] / "recipes"
"""The folder of the shipped recipes; each is named by its path in here, without ``.yaml``."""


def list_recipes() -> list[str]:
    """The names of the recipes, sorted."""
    return sorted(path.relative_to(RECIPES).with_suffix("").as_posix() for path in RECIPES.rglob("*.yaml"))


def find_config(name: str | Path) -> Path:
    """The YAML file that a path or a recipe's name stands for; a path wins.

    Raises:
        UserError: There is neither such a file nor such a recipe.
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


def load_config(name: str | Path) -> dict[str, Any]:
    """The options of a configuration file or recipe, over those of the one that it ``extends``, if it does.

    Raises:
        UserError: There is no such file or recipe, one can't be read, or one extends itself.
    """
    return _load_chain(find_config(name), ())


def _load_chain(path: Path, above: tuple[Path, ...]) -> dict[str, Any]:
    if path.resolve() in above:
        raise UserError(f"{path} extends itself; name another configuration there, or none")
    values = load_yaml(path)
    base = values.pop("extends", None)
    return values if base is None else merge_options(_load_chain(find_config(base), (*above, path.resolve())), values)


def merge_options(under: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """Options laid over others, groups of them member by member.

    The arguments of a model, ``model_args``, go with it, and are left out where ``over`` names another.
    """
    merged = dict(under)
    if over.get("model", under.get("model")) != under.get("model"):
        merged.pop("model_args", None)
    for key, value in over.items():
        both_groups = isinstance(value, Mapping) and isinstance(merged.get(key), Mapping)
        merged[key] = {**merged[key], **value} if both_groups else value
    return merged


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
        UserError: The file isn't readable as YAML, or holds something else than a mapping.
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
