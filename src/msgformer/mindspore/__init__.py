"""The models as MindSpore cells, and conversion of weights from and to PyTorch; nothing here imports PyTorch.

The cells support graph and PyNative mode, ``ms.value_and_grad``, ``mindspore.train.Model``, and ``ms.export`` to MindIR
for one image size.
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
