"""Names of the models, available without importing torch, so that listings and suggestions are fast."""

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
"""Names in timm's registry of all models of this package."""

HUB_PREFIXES = ("hf-hub:", "hf_hub:", "local-dir:")
"""Prefixes by which timm loads a model from the Hub or a folder, with its configuration."""

ALIASES: dict[str, str] = {
    "msg_tiny_p4_win7_224": "msg_transformer_tiny",
    "msg_small_p4_win7_224": "msg_transformer_small",
    "msg_base_p4_win7_224": "msg_transformer_base",
    "sgformer_s": "sgformer_small",
    "sgformer_m": "sgformer_medium",
    "sgformer_b": "sgformer_base",
}
"""Names in the released code of the papers, with this package's names."""


def list_models() -> list[str]:
    """Return the names of all models, for ``timm.create_model`` and `msgformer.create_model`."""
    return list(MODELS)


def nearest(word: str, known: Sequence[str], cutoff: float = 0.5) -> str:
    """Return ``"; did you mean 'X'?"`` with the most similar known word, or an empty string if none is similar.

    Args:
        word: The unknown word.
        known: The known words.
        cutoff: Minimum similarity, 0..1.
    """
    close = difflib.get_close_matches(word, known, n=1, cutoff=cutoff)
    return f"; did you mean {close[0]!r}?" if close else ""


def resolve(name: str) -> str:
    """Return this package's name of a model given by that name or by its name in the released code.

    Raises:
        UserError: No model of this package has that name; the message suggests the most similar one.
    """
    name = ALIASES.get(name, name)
    if name not in MODELS:
        known = [*MODELS, *ALIASES]
        raise UserError(f"unknown model {name!r}{nearest(name, known)} ('msgformer models' shows all)")
    return name
