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
from msgformer.catalog import resolve
from msgformer.models.checkpoint import read_checkpoint
from msgformer.models.convert import convert_state_dict
from msgformer.models.exchange import Exchange, GridExchange, register_exchange
from msgformer.models.messengers import NoMessengers
from msgformer.models.msg_transformer import MsgTransformer, register_messengers
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
