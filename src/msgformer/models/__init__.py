"""The backbones. Importing this package registers them with timm: ``timm.create_model("msg_transformer_tiny")``."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from timm import create_model as timm_create_model
from torch import nn

# These register what they hold.
import msgformer.models.cls_token
import msgformer.models.coverage
import msgformer.models.exchange_extensions
import msgformer.models.sg_ablations  # noqa: F401
from msgformer.catalog import resolve
from msgformer.models.checkpoint import read_checkpoint
from msgformer.models.convert import convert_state_dict
from msgformer.models.exchange import Exchange, GridExchange, register_exchange, registered_exchange
from msgformer.models.messengers import NoMessengers
from msgformer.models.msg_transformer import MsgTransformer, register_messengers, registered_messengers
from msgformer.models.sg_former import GUIDED, HYBRID, SgFormer
from msgformer.plugins import load_installed_plugins, plugin_of

__all__ = [
    "Exchange",
    "GridExchange",
    "MsgTransformer",
    "NoMessengers",
    "SgFormer",
    "convert_state_dict",
    "create_model",
    "read_checkpoint",
    "register_exchange",
    "register_messengers",
]


def create_model(name: str, pretrained: bool = False, **kwargs: Any) -> nn.Module:
    """One of this package's models, by its name or its released name.

    Args:
        name: As `msgformer.list_models` gives it, or as the papers' code calls it.
        pretrained: Load weights from where ``pretrained_cfg`` says; none are published with this package.
        **kwargs: Settings of `MsgTransformer` or `SgFormer`, or of ``timm.create_model``.

    Returns:
        The model; with ``features_only=True`` a module that returns a list of maps [B, C, H, W].

    Raises:
        UserError: no model of this package has that name.
    """
    return timm_create_model(resolve(name), pretrained=pretrained, **kwargs)


def plugins_of(model_args: Mapping[str, Any]) -> list[str]:
    """The plug-ins whose classes a model with these arguments consists of, as a run records them."""
    load_installed_plugins()
    finders: dict[str, Callable[[str], Any]] = {
        "exchange": registered_exchange,
        "messengers": registered_messengers,
        "attention": HYBRID.get,
        "reallocation": GUIDED.get,
    }
    classes = (finders[key](value) for key, value in model_args.items() if key in finders and isinstance(value, str))
    found = (plugin_of(cls) for cls in classes if isinstance(cls, type))
    return list(dict.fromkeys(name for name in found if name is not None))
