"""The backbones. Importing this package registers them with timm: ``timm.create_model("msg_transformer_tiny")``."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from timm import create_model as timm_create_model
from torch import nn

# Importing these modules registers their models, messengers and exchanges.
import msgformer.models.ablations.sg_former
import msgformer.models.extensions.cls_token
import msgformer.models.extensions.coverage
import msgformer.models.extensions.exchange  # noqa: F401
from msgformer.checkpoints.weights_file import read_checkpoint
from msgformer.models.exchange import Exchange, GridExchange, register_exchange, registered_exchange
from msgformer.models.guided_attention import GUIDED, HYBRID
from msgformer.models.messenger_registry import register_messengers, registered_messengers
from msgformer.models.messengers import NoMessengers
from msgformer.models.msg_transformer import MsgTransformer
from msgformer.models.official_weights import convert_state_dict
from msgformer.models.registry import known_model
from msgformer.models.sg_former import SgFormer
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
    """Create a model of this package or of timm.

    Args:
        name: Name from `msgformer.list_models`, a name of the papers' code, or any name of a timm model.
        pretrained: Load weights from the source in ``pretrained_cfg``; none are published with this package.
        **kwargs: Arguments of `MsgTransformer`, `SgFormer` or timm's model, and of ``timm.create_model``.

    Returns:
        The model; with ``features_only=True`` a module that returns a list of maps [B, C, H, W].

    Raises:
        UserError: Neither this package nor timm has a model of that name, or ``pretrained`` finds no weights.
    """
    return timm_create_model(known_model(name), pretrained=pretrained, **kwargs)


def plugins_of(model_args: Mapping[str, Any]) -> list[str]:
    """Return the plug-ins that define the classes named in a model's arguments.

    Args:
        model_args: Arguments of `create_model`.

    Returns:
        Plug-in names as a run records them.
    """
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
