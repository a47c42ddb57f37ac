"""Ablation tables of the papers: rows, published scores, and small models that a CPU can train."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from msgformer.config.recipes import load_config

TableName = Literal["table4", "table5", "table6", "table7", "sgformer"]


@dataclass(frozen=True)
class AblationRow:
    """A row of a table.

    Attributes:
        name: Name of the row.
        recipe: Recipe of the row at the published model size, in ``ablations/``.
        published: Published top-1 accuracy on ImageNet-1k, in percent.
        size: Name in ``SMALL`` of the small model for this row.
    """

    name: str
    recipe: str
    published: float | None
    size: str


@dataclass(frozen=True)
class Table:
    """An ablation table.

    Attributes:
        title: Title of the table.
        rows: Rows in the published order.
    """

    title: str
    rows: tuple[AblationRow, ...]


def _row(name: str, recipe: str, published: float | None, size: str) -> AblationRow:
    return AblationRow(name, f"ablations/{recipe}", published, size)


TABLES: dict[TableName, Table] = {
    "table4": Table(
        "MSG-Transformer, Table 4: messengers and their exchange",
        (
            _row("T: no messengers", "table4_t_none", 80.2, "msg"),
            _row("T: messengers, no exchange", "table4_t_messengers", 80.5, "msg"),
            _row("T: messengers, shuffle", "table4_t_shuffle", 81.1, "msg"),
            _row("S: no messengers", "table4_s_none", 81.2, "msg_deeper"),
            _row("S: messengers, no exchange", "table4_s_messengers", 81.9, "msg_deeper"),
            _row("S: messengers, shuffle", "table4_s_shuffle", 83.0, "msg_deeper"),
        ),
    ),
    "table5": Table(
        "MSG-Transformer, Table 5: initialization of the messengers, or of DeiT's CLS token",
        (
            _row("messengers learned", "table5_learned", 80.9, "msg"),
            _row("messengers learned, random in evaluation", "table5_random_eval", 80.8, "msg"),
            _row("messengers random throughout", "table5_random", 80.8, "msg"),
            _row("CLS learned", "table5_cls_learned", 79.9, "deit"),
            _row("CLS learned, random in evaluation", "table5_cls_random_eval", 77.7, "deit"),
            _row("CLS random throughout", "table5_cls_random", None, "deit"),
        ),
    ),
    "table6": Table(
        "MSG-Transformer, Table 6: wide and shallow, or deep and narrow",
        (
            _row("Swin, wide", "table6_swin_wide", 81.3, "swin_wide"),
            _row("Swin, deep and narrow", "table6_swin_deep", 81.3, "swin_deep"),
            _row("MSG-Transformer, wide", "table6_msg_wide", 81.1, "msg_wide"),
            _row("MSG-Transformer, deep and narrow", "table6_msg_deep", 82.1, "msg_deep"),
        ),
    ),
    "table7": Table(
        "MSG-Transformer, Table 7: sides of the shuffle regions",
        (
            _row("2, 2, 2, 1", "table7_2221", 80.6, "msg"),
            _row("4, 2, 2, 1", "table7_4221", 80.8, "msg"),
            _row("4, 4, 2, 1", "table7_4421", 80.9, "msg"),
        ),
    ),
    "sgformer": Table(
        "SG-Former: scales, reallocation, token orders and the local positional term",
        (
            _row("as published", "sgformer_significance", 83.2, "sg"),
            _row("local attention only", "sgformer_local", None, "sg"),
            _row("global attention only", "sgformer_global", None, "sg"),
            _row("uniform reallocation", "sgformer_uniform", None, "sg"),
            _row("random reallocation", "sgformer_random", None, "sg"),
            _row("one token order", "sgformer_one_order", None, "sg"),
            _row("no local positional term", "sgformer_no_local_position", None, "sg"),
        ),
    ),
}
"""Tables by their name for ``msgformer study``."""

_WINDOWS: dict[str, Any] = {"window_size": 2, "num_heads": [1, 2, 4]}
_WIDE: dict[str, Any] = {"embed_dim": 48, "depths": [2, 2, 2], "num_heads": [3, 6, 12], "window_size": 2}
_DEEP: dict[str, Any] = {"embed_dim": 32, "depths": [2, 4, 4], "num_heads": [2, 4, 8], "window_size": 2}

SMALL_SIDE = 64
"""Image size of the small models, in pixels."""

SMALL: dict[str, dict[str, Any]] = {
    "msg": {**_WINDOWS, "embed_dim": 32, "depths": [1, 1, 2]},
    "msg_deeper": {**_WINDOWS, "embed_dim": 32, "depths": [1, 1, 4]},
    "msg_wide": _WIDE,
    "msg_deep": _DEEP,
    "swin_wide": _WIDE,
    "swin_deep": _DEEP,
    "deit": {"patch_size": 8, "embed_dim": 48, "depth": 4, "num_heads": 3},
    "sg": {
        "embed_dims": [16, 32, 64],
        "depths": [2, 2, 2],
        "num_heads": [2, 2, 4],
        "reductions": [8, 4, 2],
        "window_size": 4,
    },
}
"""Constructor arguments of the small models, for images of 64 x 64 pixels.

Windows of 2 x 2 tokens give grids of 8 x 8, 4 x 4 and 2 x 2 windows, like windows of 7 x 7 tokens at 224 x 224. The
fourth stage is left out, because a single window would cover the whole image.
"""


def small_model_args(row: AblationRow) -> dict[str, Any]:
    """Return the constructor arguments of the small model for a row."""
    arguments = {**load_config(row.recipe)["model_args"], **SMALL[row.size]}
    stages = len(arguments["depths"]) if "depths" in arguments else 0
    if row.size.startswith("msg"):
        arguments["shuffle_sizes"] = arguments.get("shuffle_sizes", [4, 4, 2, 1])[:stages]
    arguments["drop_path_rate"] = 0.0
    return arguments
