"""A model as a function of NumPy arrays, for programs that know nothing else of MindSpore."""

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
from msgformer.mindspore.weights import load_weights, read_checkpoint
from msgformer.model_names import resolve

Classifier = Callable[[np.ndarray], np.ndarray]
"""From images [B, 3, S, T] to logits [B, classes]."""


def create_model(name: str, **kwargs: Any) -> Backbone:
    """One of this package's models as a MindSpore cell, by its name or its released name.

    Args:
        name: As `msgformer.list_models` gives it, or as the papers' code calls it.
        **kwargs: Settings of `MsgTransformer` or `SgFormer`.

    Returns:
        The model with new weights; like every cell it begins in evaluation mode.

    Raises:
        UserError: no model of this package has that name.
        ValueError: settings that contradict each other, or an exchange that MindSpore hasn't.
    """
    name = resolve(name)
    family = sg_former if name.startswith("sgformer") else msg_transformer
    return getattr(family, name)(**kwargs)


def classifier(name: str, weights: Mapping[str, np.ndarray], *, graph: bool = False, **settings: Any) -> Classifier:
    """A model with given weights as a function from images to logits.

    It has MindSpore wait for each operator from now on, in the whole process: the threads that would prepare the next
    ones meanwhile wait busily, and take eight times the model's own share of a CPU.

    Args:
        name: As of `create_model`.
        weights: Arrays by the PyTorch models' names, as `read_weights` gives them.
        graph: Compile a graph for every new shape of images instead of running one operator after the other.
        **settings: Settings of `MsgTransformer` or `SgFormer`.

    Returns:
        A function of float32 images of any size, whose logits are float32 too.

    Raises:
        UserError: no model of this package has that name, or the weights are of another one.
        ValueError: settings that contradict each other, or an exchange that MindSpore hasn't.
    """
    model = create_model(name, **settings)
    load_weights(model, weights)
    ms.runtime.launch_blocking()
    run = ms.jit(model.construct) if graph else model

    def ask(images: np.ndarray) -> np.ndarray:
        return run(Tensor(images, ms.float32)).asnumpy()

    return ask


def load_model(path: str | Path) -> Backbone:
    """The trained model in a file of ``msgformer convert``, whatever its widths and settings.

    Args:
        path: A MindSpore checkpoint or a safetensors file that was converted from a training's checkpoint.

    Returns:
        The model with its weights, for images of any size, with one output for each class.

    Raises:
        UserError: the file can't be read, doesn't say what it is of, or is of a model that MindSpore hasn't.
    """
    stored = read_checkpoint(path)
    if stored.card is None:
        raise UserError(f"'{path}' doesn't say which model it is of; convert a checkpoint of 'msgformer train'")
    try:
        card = json.loads(stored.card)
        _, height, width = card["preprocessing"]["input_size"]
        model = create_model(
            card["model"], img_size=(height, width), num_classes=len(card["classes"]), **card["model_args"]
        )
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(f"'{path}' is of a model that MindSpore can't take: {error}") from error
    load_weights(model, stored.weights)
    return model


@lru_cache
def limit_threads(count: int) -> None:
    """Gives MindSpore's operators so many threads of the CPU, for good and in the whole process.

    Args:
        count: Threads; to be given before the first model runs.

    Raises:
        UserError: another number was given before.
    """
    try:
        op_tuning.threads_num(count)
    except RuntimeError as error:
        raise UserError(
            f"threads: MindSpore takes a number once in a process, and {count} isn't it; start another process"
        ) from error
