"""Names of the models, readable without torch, so that listings and suggestions answer at once."""

from __future__ import annotations

import difflib
from collections.abc import Sequence

from msgformer.errors import UserError

MODELS: tuple[str, ...] = (
    "msg_transformer_tiny",
    "msg_transformer_small",
    "msg_transformer_base",
    "msg_transformer_v1_tiny",
    "msg_transformer_v1_small",
    "msg_transformer_v1_base",
    "sgformer_small",
    "sgformer_medium",
    "sgformer_base",
)
"""Every model of this package, by its name in timm's registry."""

HUB_PREFIXES = ("hf-hub:", "hf_hub:", "local-dir:")
"""Prefixes with which timm loads a model by its own configuration."""

ALIASES: dict[str, str] = {
    "msg_tiny_p4_win7_224": "msg_transformer_tiny",
    "msg_small_p4_win7_224": "msg_transformer_small",
    "msg_base_p4_win7_224": "msg_transformer_base",
    "sgformer_s": "sgformer_small",
    "sgformer_m": "sgformer_medium",
    "sgformer_b": "sgformer_base",
}
"""Names in the papers' released code, and what they are called here."""


def list_models() -> list[str]:
    """The names of all models, as ``timm.create_model`` and :func:`msgformer.create_model` take them."""
    return list(MODELS)


def nearest(word: str, known: Sequence[str], cutoff: float = 0.5) -> str:
    """``"; did you mean 'X'?"`` for the known word that is most like ``word``, or nothing.

    Words less alike than ``cutoff``, 0..1, don't count.
    """
    close = difflib.get_close_matches(word, known, n=1, cutoff=cutoff)
    return f"; did you mean {close[0]!r}?" if close else ""


def resolve(name: str) -> str:
    """This package's name for a model that may be given by its released name.

    Raises:
        UserError: no model of this package has that name; the nearest one is suggested.
    """
    name = ALIASES.get(name, name)
    if name not in MODELS:
        known = [*MODELS, *ALIASES]
        raise UserError(f"unknown model {name!r}{nearest(name, known)} ('msgformer models' shows all)")
    return name
