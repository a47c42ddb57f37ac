"""The same models as MindSpore cells, and their weights from and to PyTorch's; nothing here imports PyTorch.

Everything that MindSpore does with a cell works: graph and PyNative mode, ``ms.value_and_grad``,
``mindspore.train.Model``, and ``ms.export`` to MindIR for one size of images.
"""

from __future__ import annotations

from typing import Any

from mindspore import nn

from msgformer.catalog import resolve
from msgformer.mindspore import msg_transformer, sg_former
from msgformer.mindspore.msg_transformer import MsgTransformer
from msgformer.mindspore.sg_former import SgFormer
from msgformer.mindspore.weights import load_weights, mindspore_name, read_weights, torch_name, write_weights

__all__ = [
    "MsgTransformer",
    "SgFormer",
    "create_model",
    "load_weights",
    "mindspore_name",
    "read_weights",
    "torch_name",
    "write_weights",
]


def create_model(name: str, **kwargs: Any) -> nn.Cell:
    """One of this package's models as a MindSpore cell, by its name or its released name.

    Args:
        name: As `msgformer.list_models` gives it, or as the papers' code calls it.
        **kwargs: Settings of `MsgTransformer` or `SgFormer`.

    Returns:
        The model with new weights; like every cell it begins in evaluation mode.

    Raises:
        UserError: no model of this package has that name.
    """
    name = resolve(name)
    family = sg_former if name.startswith("sgformer") else msg_transformer
    return getattr(family, name)(**kwargs)
