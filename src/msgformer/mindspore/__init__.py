"""The same models as MindSpore cells, and their weights from and to PyTorch's; nothing here imports PyTorch.

Everything that MindSpore does with a cell works: graph and PyNative mode, ``ms.value_and_grad``,
``mindspore.train.Model``, and ``ms.export`` to MindIR for one size of images.
"""

from __future__ import annotations

from msgformer.mindspore.inference import Classifier, classifier, create_model, limit_threads, load_model
from msgformer.mindspore.msg_transformer import MsgTransformer
from msgformer.mindspore.sg_former import SgFormer
from msgformer.mindspore.weights import load_weights, mindspore_name, read_weights, torch_name, write_weights

__all__ = [
    "Classifier",
    "MsgTransformer",
    "SgFormer",
    "classifier",
    "create_model",
    "limit_threads",
    "load_model",
    "load_weights",
    "mindspore_name",
    "read_weights",
    "torch_name",
    "write_weights",
]
