"""Where the verbs meet MindSpore: its checkpoints in and out, and its models. It is imported when it is needed."""

from __future__ import annotations

from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from msgformer.catalog import ALIASES, MODELS
from msgformer.errors import UserError

if TYPE_CHECKING:
    from torch import Tensor, nn

    from msgformer.training.checkpoint import ModelCard

Library = Literal["torch", "mindspore"]


def check_mindspore() -> None:
    """Make sure that MindSpore can work, as far as that can be seen without importing it.

    Raises:
        UserError: it isn't installed, or its binaries can't take the NumPy that is.
    """
    try:
        version("mindspore")
    except PackageNotFoundError as error:
        raise UserError(
            "MindSpore isn't installed; 'pip install msgformer[mindspore]' installs it, and NumPy 1 with it: best into "
            "an environment of its own"
        ) from error
    if int(version("numpy").partition(".")[0]) > 1:
        raise UserError(f"MindSpore can't work with NumPy {version('numpy')}; 'pip install \"numpy<2\"' mends it")


def is_mindspore(path: Path) -> bool:
    """Whether a file begins as MindSpore's checkpoints do: with the tag of a protocol buffer's first field."""
    with path.open("rb") as file:
        start = file.read(9)
    return path.suffix == ".ckpt" and start[:1] == b"\n" and start[8:] != b"{"


def read_mindspore(path: Path) -> dict[str, Any]:
    """The tensors of a model in a checkpoint of MindSpore, by this package's names.

    Raises:
        UserError: it can't be read.
    """
    import torch

    from msgformer.mindspore.weights import read_weights

    return {name: torch.from_numpy(value) for name, value in read_weights(path).items()}


def save_mindspore(state: dict[str, Any], path: Path) -> None:
    """Write tensors by this package's names as a checkpoint of MindSpore, in single precision."""
    from msgformer.mindspore.weights import write_weights

    write_weights({name: tensor.float().numpy() for name, tensor in state.items()}, path)


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
    if precision != "32-true":
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
    if card.model not in MODELS and card.model not in ALIASES:
        raise UserError(f"backend: MindSpore has this package's models only, not {card.model}; leave it out")

    import torch

    from msgformer.mindspore import classifier

    weights = {name: value.numpy() for name, value in model.state_dict().items()}
    settings = {"img_size": card.img_size, "num_classes": len(card.classes), **card.model_args}
    try:
        ask = classifier(card.model, weights, graph=graph, **settings)
    except (TypeError, ValueError) as error:
        raise UserError(f"backend: MindSpore can't take this {card.model}: {error}") from error
    return lambda images: torch.from_numpy(ask(images.numpy()))
