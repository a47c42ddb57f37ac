"""MindSpore for the commands: its checkpoints and models. The library is imported on first use."""

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
T = TypeVar("T")


def check_mindspore() -> None:
    """Check that MindSpore can be used, without importing it.

    Raises:
        UserError: It is not installed, or its binaries do not support the installed NumPy.
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
    """Return whether a file begins like a MindSpore checkpoint, with the tag of a protocol buffer field."""
    if path.suffix != ".ckpt" or not path.is_file() or is_safetensors(path):
        return False
    with path.open("rb") as file:
        return file.read(1) == b"\n"


def read_mindspore(path: Path) -> tuple[dict[str, Tensor], str | None]:
    """Read a MindSpore checkpoint.

    Returns:
        The tensors [...] of a model by this package's names, and the model card in JSON; None if the file
        has no card.

    Raises:
        UserError: The file can't be read.
    """
    import torch

    from msgformer.mindspore.weights import read_weights_and_card

    weights, card = read_weights_and_card(path)
    return {name: torch.from_numpy(value) for name, value in weights.items()}, card


def save_mindspore(state: dict[str, Tensor], path: Path, card: str | None) -> None:
    """Write a MindSpore checkpoint in single precision.

    Args:
        state: Tensors [...] by this package's names.
        path: File to write.
        card: Model card in JSON.
    """
    from msgformer.mindspore.weights import write_weights

    write_weights(arrays(state), path, card)


def arrays(state: dict[str, Tensor]) -> dict[str, Any]:
    """Convert tensors to NumPy arrays in single precision."""
    return {name: tensor.float().cpu().numpy() for name, tensor in state.items()}


def check_backend(backend: Library, device: str, precision: str) -> None:
    """Check that a library supports the requested device and precision, before the checkpoint is read.

    Args:
        backend: The library.
        device: Requested device.
        precision: Requested number format.

    Raises:
        UserError: MindSpore is not available, or does not support the device or number format.
    """
    if backend == "torch":
        return
    check_mindspore()
    if device not in ("auto", "cpu"):
        raise UserError(f"device: MindSpore models run on the CPU only, not on {device!r}; omit the option")
    if precision not in ("float32", "32-true"):
        raise UserError(f"precision: MindSpore models run in 32-true only, not in {precision!r}; omit the option")


def mindspore_logits(model: nn.Module, card: ModelCard, *, graph: bool = False) -> Callable[[Tensor], Tensor]:
    """Convert a trained PyTorch model to a MindSpore function.

    Args:
        model: Model with the weights.
        card: Card of its checkpoint.
        graph: Compile a graph per image shape.

    Returns:
        Function from images [B, channels, height, width] to logits [B, classes], both on the CPU.

    Raises:
        UserError: MindSpore does not have the model, or not with these settings.
    """
    import torch

    from msgformer.mindspore import classifier

    predict = _create("backend", card, partial(classifier, weights=arrays(model.state_dict()), graph=graph))
    return lambda images: torch.from_numpy(predict(images.numpy()))


def check_model(card: ModelCard, state: dict[str, Tensor]) -> None:
    """Check that MindSpore supports a trained model.

    Args:
        card: Card of the model.
        state: Its weights, [...] by name.

    Raises:
        UserError: MindSpore does not have the model, or not with these settings.
    """
    from msgformer.mindspore import create_model, load_weights

    load_weights(_create("to", card, create_model), arrays(state))


def _create(option: str, card: ModelCard, make: Callable[..., T]) -> T:
    """Create an object from the name and settings of a card; raise UserError naming the option on failure."""
    if card.model not in MODELS and card.model not in ALIASES:
        raise UserError(f"{option}: MindSpore supports this package's models only, not {card.model}; omit the option")
    settings = {"img_size": card.img_size, "num_classes": len(card.classes), **card.model_args}
    try:
        return make(card.model, **settings)
    except (TypeError, ValueError) as error:
        raise UserError(f"{option}: MindSpore does not support this {card.model}: {error}; omit the option") from error
