"""Configuration files: the bundled recipes, and the user's own YAML files."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from msgformer.config.constraints import GROUPS
from msgformer.config.renamed_arguments import print_warning, use_new_options
from msgformer.errors import UserError
from msgformer.model_names import nearest

RECIPES = Path(__file__).parents[1] / "recipes"
"""Folder of the bundled recipes; each is named by its path in this folder, without ``.yaml``."""

CONFIG_FILE = "config.yaml"
"""Configuration that a run writes into its folder."""


def list_recipes() -> list[str]:
    """Return the sorted names of the recipes."""
    return sorted(path.relative_to(RECIPES).with_suffix("").as_posix() for path in RECIPES.rglob("*.yaml"))


def find_config(name: str | Path) -> Path:
    """Return the YAML file of a path or a recipe name; an existing path takes precedence.

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
        " ('msgformer recipes' lists all of them)"
    )


def load_config(name: str | Path) -> dict[str, Any]:
    """Load the options of a configuration file or recipe, including those of the one that it ``extends``.

    Old names of options are replaced, with a warning unless a run wrote the file.

    Raises:
        UserError: There is no such file or recipe, it can't be read, or it extends itself.
    """
    return _load_chain(find_config(name), ())


def named_config(given: Mapping[str, Any]) -> tuple[str, dict[str, Any]] | None:
    """Load the file or recipe that ``config`` names, if it is given."""
    config = given.get("config")
    return None if config is None else (str(config), load_config(config))


def _load_chain(path: Path, above: tuple[Path, ...]) -> dict[str, Any]:
    if path.resolve() in above:
        raise UserError(f"{path} extends itself; let it extend another configuration, or none")
    values = use_new_options(load_yaml(path), GROUPS, lambda line: _warn(path, line))
    base = values.pop("extends", None)
    return values if base is None else merge_options(_load_chain(find_config(base), (*above, path.resolve())), values)


def _warn(path: Path, line: str) -> None:
    """Warn about an old name in a file that a user wrote."""
    if path.name != CONFIG_FILE:
        print_warning(f"{path}: {line}")


def merge_options(base: Mapping[str, Any], overrides: Mapping[str, Any]) -> dict[str, Any]:
    """Merge options; groups are merged member by member.

    The ``model_args`` of the base are dropped if the overrides name another model.

    Args:
        base: Options.
        overrides: Options that take precedence.
    """
    merged = dict(base)
    if overrides.get("model", base.get("model")) != base.get("model"):
        merged.pop("model_args", None)
    for key, value in overrides.items():
        both_groups = isinstance(value, Mapping) and isinstance(merged.get(key), Mapping)
        merged[key] = {**merged[key], **value} if both_groups else value
    return merged


class _UniqueKeyLoader(yaml.SafeLoader):
    """YAML loader that refuses duplicate keys instead of dropping the first value."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[str] = set()
        for key, _ in node.value:
            if key.value in seen:
                raise yaml.MarkedYAMLError(problem=f"{key.value!r} is given twice", problem_mark=key.start_mark)
            seen.add(key.value)
        return super().construct_mapping(node, deep)


def load_yaml(path: Path) -> dict[str, Any]:
    """Load the mapping in a YAML file; an empty file is an empty mapping.

    Raises:
        UserError: The file is not valid YAML, or does not hold a mapping.
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
