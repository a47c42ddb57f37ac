"""The backbones. Importing this package registers them with timm: ``timm.create_model("msg_transformer_tiny")``."""

from __future__ import annotations

from typing import Any

from timm import create_model as timm_create_model
from torch import nn

# These register what they hold.
import msgformer.models.cls_token
import msgformer.models.coverage
import msgformer.models.exchange_extensions
import msgformer.models.sg_ablations  # noqa: F401
from msgformer.models.checkpoint import read_checkpoint
from msgformer.models.convert import convert_state_dict
from msgformer.models.exchange import Exchange, GridExchange, register_exchange
from msgformer.models.messengers import NoMessengers
from msgformer.models.msg_transformer import MsgTransformer, register_messengers
from msgformer.models.registry import known_model
from msgformer.models.sg_former import SgFormer

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
        name: As `msgformer.list_models` gives it, as the papers' code calls it, or any name that timm knows.
        pretrained: Load weights from where ``pretrained_cfg`` says; none are published with this package.
        **kwargs: Arguments of `MsgTransformer`, `SgFormer` or timm's model, and of ``timm.create_model``.

    Returns:
        The model; with ``features_only=True`` a module that returns a list of maps [B, C, H, W].

    Raises:
        UserError: neither this package nor timm has a model of that name, or ``pretrained`` finds nothing to load.
    """
    return timm_create_model(known_model(name), pretrained=pretrained, **kwargs)
