"""Names of models: this package's, the released ones, and all that timm knows."""

from __future__ import annotations

import importlib
import warnings

from timm.models import is_model, list_models

from msgformer.catalog import ALIASES, HUB_PREFIXES, MODELS, nearest
from msgformer.errors import UserError
from msgformer.packages import require_package
from msgformer.plugins import load_installed_plugins

FASTERVIT = "faster_vit_"
"""How the models of NVIDIA's package are called, which it registers with timm."""


def known_model(name: str) -> str:
    """The name under which timm has the model.

    Raises:
        UserError: neither this package nor timm has it; names the nearest one. Or the package that has it is missing.
    """
    load_installed_plugins()
    name = ALIASES.get(name, name)
    if name.startswith(FASTERVIT):
        require_package("fastervit", "fastervit", f"model {name!r}")
        with warnings.catch_warnings(action="ignore"):  # it takes timm's functions from where they were once
            importlib.import_module("fastervit.models")
    if name not in MODELS and not name.startswith(HUB_PREFIXES) and not is_model(name):
        known = [*MODELS, *ALIASES, *list_models()]
        raise UserError(f"unknown model {name!r}{nearest(name, known)} ('msgformer models' shows this package's)")
    return name
