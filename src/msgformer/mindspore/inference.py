"""Models as functions of NumPy arrays, for programs that do not use MindSpore otherwise."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

import mindspore as ms
import numpy as np
from mindspore import Tensor
from mindspore.device_context.cpu import op_tuning

from msgformer.errors import UserError
from msgformer.mindspore import msg_transformer, sg_former
from msgformer.mindspore.backbone import Backbone
from msgformer.mindspore.weights import load_weights, read_weights_and_card
from msgformer.model_names import resolve

Classifier = Callable[[np.ndarray], np.ndarray]
"""Function from images [B, 3, S, T] to logits [B, classes]."""


def create_model(name: str, **kwargs: Any) -> Backbone:
    """Create a model of this package as a MindSpore cell.

    Args:
        name: Name from `msgformer.list_models`, or a name of the papers' code.
        **kwargs: Settings of `MsgTransformer` or `SgFormer`.

    Returns:
        The model with new weights; like every cell it starts in evaluation mode.

    Raises:
        UserError: No model of this package has that name.
        ValueError: Settings contradict each other, or MindSpore does not have the exchange.
    """
    name = resolve(name)
    family = sg_former if name.startswith("sgformer") else msg_transformer
    model: Backbone = getattr(family, name)(**kwargs)
    return model


def classifier(name: str, weights: Mapping[str, np.ndarray], *, graph: bool = False, **settings: Any) -> Classifier:
    """Create a function from images to logits of a model with given weights.

    From this call on, MindSpore waits for each operator, in the whole process. The threads that prepare the next
    operators would otherwise wait busily, and use eight times the CPU time of the model.

    Args:
        name: Name of the model, see `create_model`.
        weights: Arrays by the PyTorch models' names, as `read_weights` returns them.
        graph: Compile a graph per image shape instead of running operators one by one.
        **settings: Settings of `MsgTransformer` or `SgFormer`.

    Returns:
        A function from float32 images of any size to float32 logits.

    Raises:
        UserError: No model of this package has that name, or the weights belong to another model.
        ValueError: Settings contradict each other, or MindSpore does not have the exchange.
    """
    model = create_model(name, **settings)
    load_weights(model, weights)
    ms.runtime.launch_blocking()
    run = ms.jit(model.construct) if graph else model

    def predict(images: np.ndarray) -> np.ndarray:
        logits: np.ndarray = run(Tensor(images, ms.float32)).asnumpy()
        return logits

    return predict


def load_model(path: str | Path) -> Backbone:
    """Load the trained model of a file from ``msgformer convert``, with its settings.

    Args:
        path: MindSpore checkpoint or safetensors file that was converted from a training checkpoint.

    Returns:
        The model with its weights, for images of any size, with one output per class.

    Raises:
        UserError: The file can't be read, does not name its model, or MindSpore does not support the model.
    """
    stored = read_weights_and_card(path)
    if stored.card is None:
        raise UserError(f"'{path}' does not name its model; convert a checkpoint of 'msgformer train'")
    try:
        card = json.loads(stored.card)
        _, height, width = card["preprocessing"]["input_size"]
        model = create_model(
            card["model"], img_size=(height, width), num_classes=len(card["classes"]), **card["model_args"]
        )
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(f"the model of '{path}' is not supported in MindSpore: {error}") from error
    load_weights(model, stored.weights)
    return model


@lru_cache
def limit_threads(count: int) -> None:
    """Set the number of CPU threads of MindSpore's operators, once per process.

    Args:
        count: Number of threads; set it before the first model runs.

    Raises:
        UserError: Another number was set before.
    """
    try:
        op_tuning.threads_num(count)
    except RuntimeError as error:
        raise UserError(
            f"threads: MindSpore accepts one number per process, and {count} is another one; start a new process"
        ) from error
