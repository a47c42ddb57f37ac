"""Where the verbs meet MindSpore: its checkpoints in and out, and its models. It is imported when it is needed."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from msgformer.errors import UserError
from msgformer.model_names import ALIASES, MODELS
from msgformer.utils.safetensors_header import is_safetensors

if TYPE_CHECKING:
    from torch import Tensor, nn

    from msgformer.checkpoints.card import ModelCard

Library = Literal["torch", "mindspore"]
Made = TypeVar("Made")


def check_mindspore() -> None:
    """Make sure that MindSpore can work, as far as that can be seen without importing it.

    Raises:
        UserError: it isn't installed, or its binaries can't take the NumPy that is.
    """
    try:
        version("mindspore")
    except PackageNotFoundError as error:
        raise UserError(
            "MindSpore isn't installed; 'uv sync --extra mindspore' installs it together with NumPy 1; use a separate"
            " environment for it"
        ) from error
    if int(version("numpy").partition(".")[0]) > 1:
        raise UserError(f"MindSpore can't work with NumPy {version('numpy')}; 'uv pip install \"numpy<2\"' fixes it")


def is_mindspore(path: Path) -> bool:
    """Whether there is a file that begins as MindSpore's checkpoints do: with the tag of a protocol buffer's field."""
    if path.suffix != ".ckpt" or not path.is_file() or is_safetensors(path):
        return False
    with path.open("rb") as file:
        return file.read(1) == b"\n"


def read_mindspore(path: Path) -> tuple[dict[str, Tensor], str | None]:
    """What a checkpoint of MindSpore holds.

    Returns:
        The tensors of a model by this package's names, and what is said about a trained one in JSON.

    Raises:
        UserError: it can't be read.
    """
    import torch

    from msgformer.mindspore.weights import read_checkpoint

    weights, card = read_checkpoint(path)
    return {name: torch.from_numpy(value) for name, value in weights.items()}, card


def save_mindspore(state: dict[str, Tensor], path: Path, card: str | None) -> None:
    """Write tensors by this package's names, and what is said about them, as a checkpoint in single precision."""
    from msgformer.mindspore.weights import write_weights

    write_weights(arrays(state), path, card)


def arrays(state: dict[str, Tensor]) -> dict[str, Any]:
    """Tensors as arrays in single precision."""
    return {name: tensor.float().numpy() for name, tensor in state.items()}


def check_backend(backend: Library, accelerator: str, precision: str) -> None:
    """Make sure that a library can answer as it is asked to, as far as that can be seen without the checkpoint.

    Raises:
        UserError: MindSpore isn't there, or is asked for another device than the CPU or another number format.
    """
    if backend == "torch":
        return
    check_mindspore()
    if accelerator not in ("auto", "cpu"):
        raise UserError(f"accelerator: MindSpore's models answer on the CPU here, not on {accelerator!r}; leave it out")
    if precision not in ("float32", "32-true"):
        raise UserError(f"precision: MindSpore's models answer in 32-true here, not in {precision!r}; leave it out")


def mindspore_logits(model: nn.Module, card: ModelCard, *, graph: bool = False) -> Callable[[Tensor], Tensor]:
    """A trained model of PyTorch as one of MindSpore.

    Args:
        model: What to take the weights of.
        card: What its checkpoint says about it.
        graph: Compile a graph for each shape of images.

    Returns:
        From images [B, channels, height, width] to logits [B, classes], both on the CPU.

    Raises:
        UserError: MindSpore doesn't have the model, or not with these settings.
    """
    import torch

    from msgformer.mindspore import classifier

    ask = _taken("backend", card, partial(classifier, weights=arrays(model.state_dict()), graph=graph))
    return lambda images: torch.from_numpy(ask(images.numpy()))


def check_model(card: ModelCard, state: dict[str, Tensor]) -> None:
    """Make sure that MindSpore has a trained model.

    Args:
        card: What is known about it.
        state: Its weights.

    Raises:
        UserError: MindSpore doesn't have the model, or not with these settings.
    """
    from msgformer.mindspore import create_model, load_weights

    load_weights(_taken("to", card, create_model), arrays(state))


def _taken(option: str, card: ModelCard, make: Callable[..., Made]) -> Made:
    """What is made in MindSpore by a card's name and settings; raises UserError, naming the option, if it can't be."""
    if card.model not in MODELS and card.model not in ALIASES:
        raise UserError(f"{option}: MindSpore has this package's models only, not {card.model}; leave it out")
    settings = {"img_size": card.img_size, "num_classes": len(card.classes), **card.model_args}
    try:
        return make(card.model, **settings)
    except (TypeError, ValueError) as error:
        raise UserError(f"{option}: MindSpore can't take this {card.model}: {error}; leave it out") from error
