"""Checkpoints: one file that prediction can start from, and a training can go on from."""

from __future__ import annotations

import hashlib
import io
import json
import os
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch.plugins.io import TorchCheckpointIO
from lightning.pytorch.utilities import rank_zero_only
from torch import nn
from typing_extensions import override

from msgformer.errors import UserError
from msgformer.plugins import require_plugins
from msgformer.training.build import build_model
from msgformer.training.dense_build import build_dense

KEY = "msgformer"
PREFIX = "model."  # of the model's parameters inside the Lightning module
EMA_PREFIX = "ema.module."  # of the averaged ones

BEST, BEST_EMA, LAST, PREVIOUS = "best.ckpt", "best_ema.ckpt", "last.ckpt", "previous.ckpt"
KEPT = {LAST: PREVIOUS}
"""The checkpoint that a new one would replace, and the name under which it stays."""

SEAL = b"sha256:"
SEAL_LENGTH = len(SEAL) + 64


@dataclass(frozen=True)
class ModelCard:
    """What is known about a trained model beside its weights; plain values only, so that it loads safely.

    Attributes:
        model: Name in timm's registry.
        model_args: Further arguments of its constructor.
        classes: Class names, in the order of the outputs.
        preprocessing: How a picture becomes its input, as ``Preprocessing.to_dict`` gives it.
        data: What it was trained on: the folder (None for the embedded digits), the fraction held out, the seed.
        task: What it was trained for.
        version: Version of this package that wrote the file.
        plugins: Modules, or .py files, that must be imported before the model can be built.
    """

    model: str
    model_args: dict[str, Any]
    classes: list[str]
    preprocessing: dict[str, Any]
    data: dict[str, Any] = field(default_factory=dict)
    task: str = "classify"
    version: str = field(default_factory=lambda: version("msgformer"))
    plugins: list[str] = field(default_factory=list)

    @property
    def img_size(self) -> tuple[int, int]:
        """Height and width that the model was trained at."""
        _, height, width = self.preprocessing["input_size"]
        return height, width

    def write(self, checkpoint: dict[str, Any]) -> None:
        """Put the card into a checkpoint."""
        checkpoint[KEY] = asdict(self)

    def to_json(self) -> str:
        """The card as one JSON object, for files that hold text beside tensors."""
        return json.dumps(asdict(self), ensure_ascii=False)

    @classmethod
    def from_json(cls, text: str, path: Path) -> ModelCard:
        """The card in a file's text.

        Raises:
            UserError: it isn't one of this version's kind.
        """
        try:
            stored = json.loads(text)
        except ValueError as error:
            raise UserError(f"{path}: its model card can't be read ({error}); convert the checkpoint again") from error
        return cls.read({KEY: stored}, path)

    @classmethod
    def read(cls, checkpoint: Any, path: Path) -> ModelCard:
        """The card in a checkpoint.

        Raises:
            UserError: there is none, or not one of this version's kind.
        """
        stored = checkpoint.get(KEY) if isinstance(checkpoint, dict) else None
        if stored is None:
            raise UserError(
                f"{path} holds no model card of msgformer; give a best.ckpt or last.ckpt that 'msgformer train' wrote"
            )
        try:
            return cls(**stored)
        except TypeError as error:
            raise UserError(f"{path} was written by another version of msgformer ({error})") from error


def read_checkpoint(path: Path) -> dict[str, Any]:
    """The contents of a checkpoint file, on the CPU; nothing in it is executed.

    Raises:
        UserError: the file isn't a checkpoint, is damaged, or holds anything but tensors and plain values.
    """
    check_seal(path)
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises whatever a damaged pickle leads to
        if isinstance(error, OSError) and error.filename is not None:
            raise
        reason = " ".join(str(error).split())
        if "weights_only" in reason.lower() or "weights only" in reason.lower():
            reason = "it holds Python objects, which aren't loaded for safety"
        raise UserError(f"{path} can't be read as a checkpoint: {reason[:160] or type(error).__name__}") from error


def check_seal(path: Path) -> None:
    """Raises UserError if a checkpoint's contents aren't those that were written."""
    if is_sealed(path) is False:
        raise UserError(f"{path} is damaged: its contents don't match their checksum; copy it again or use another")


def find_resumable(run: Path) -> Path | None:
    """The newest checkpoint in a run folder that a training can go on from; None if none was written yet.

    Of a damaged one, and of what is taken instead, the user is told on standard error.

    Raises:
        UserError: all that there are are damaged.
    """
    found = [run / name for name in (LAST, PREVIOUS) if (run / name).is_file()]
    for number, path in enumerate(found):
        if is_sealed(path):
            if number:
                _tell(f"{found[0]} is damaged; going on from {path.name}, which was written before it")
            return path
    if found:
        names = " and ".join(path.name for path in found)
        raise UserError(f"resume: {names} in {run} can't be read (damaged); begin a new run")
    return None


@rank_zero_only
def _tell(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def read_task(path: Path) -> str:
    """What the model in a checkpoint was trained for; the errors are those of :func:`load_model`."""
    return ModelCard.read(read_checkpoint(path), path).task


def load_model(path: Path) -> tuple[nn.Module, ModelCard]:
    """The trained model in a checkpoint, in evaluation mode, and its card.

    Raises:
        UserError: the file isn't a checkpoint of this package, or its weights don't fit its card.
    """
    checkpoint = read_checkpoint(path)
    card = ModelCard.read(checkpoint, path)
    return restore(card, trained_weights(checkpoint), path), card


def trained_weights(checkpoint: dict[str, Any], *, ema: bool = False) -> dict[str, Any]:
    """The model's parameters and buffers in what a training stored, the averaged ones if ``ema`` and there are any."""
    state = checkpoint["state_dict"]
    prefix = EMA_PREFIX if ema and any(name.startswith(EMA_PREFIX) for name in state) else PREFIX
    return {name.removeprefix(prefix): value for name, value in state.items() if name.startswith(prefix)}


def restore(card: ModelCard, weights: dict[str, Any], path: Path) -> nn.Module:
    """The model that a card describes, with trained weights and in evaluation mode.

    Args:
        card: What is known about it.
        weights: Its parameters and buffers by name.
        path: The file that they are from, for the message.

    Raises:
        UserError: the weights don't fit the card.
    """
    require_plugins(card.plugins, path)
    model = _build(card)
    try:
        model.load_state_dict(weights)
    except RuntimeError as error:
        raise UserError(f"{path}: its weights don't fit {card.model}: {' '.join(str(error).split())[:200]}") from error
    return model.eval()


def _build(card: ModelCard) -> nn.Module:
    if card.task == "classify":
        return build_model(card.model, len(card.classes), card.img_size, card.model_args)
    return build_dense(card.task, card.model, len(card.classes), card.model_args)


def seal(archive: io.BytesIO) -> None:
    """Add a checksum of what is before it to a zip archive, as the archive's comment.

    Torch reads a stored tensor without a look at the archive's own checksums.

    Raises:
        ValueError: the archive has a comment already.
    """
    with archive.getbuffer() as view:
        if view[-2:] != b"\0\0":
            raise ValueError("the archive has a comment, so that there is no place for a checksum")
        view[-2:] = SEAL_LENGTH.to_bytes(2, "little")  # what ends an archive is the length of its comment
        digest = hashlib.sha256(view).hexdigest()
    archive.seek(0, os.SEEK_END)
    archive.write(SEAL + digest.encode())


def is_sealed(path: Path) -> bool | None:
    """Whether a file matches the checksum at its end; None if there is none."""
    with path.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        body = max(0, size - SEAL_LENGTH)
        file.seek(body)
        end = file.read()
        if not end.startswith(SEAL):
            return None
        file.seek(0)
        digest, left = hashlib.sha256(), body
        while left:
            block = file.read(min(left, 1 << 20))
            digest.update(block)
            left -= len(block)
    return end == SEAL + digest.hexdigest().encode()


class AtomicCheckpointIO(TorchCheckpointIO):
    """Writes a checkpoint, with a checksum, beside its place and then moves it there; reads plain values only.

    A process that is killed while it writes leaves the file before it untouched.

    Args:
        clean: Returns what is saved of a checkpoint; by default all of it.
    """

    def __init__(self, clean: Callable[[dict[str, Any]], dict[str, Any]] = lambda checkpoint: checkpoint) -> None:
        self._clean = clean

    @override
    def save_checkpoint(self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any = None) -> None:
        """Write ``checkpoint`` to ``path``, and keep a last checkpoint that is there already as the previous one.

        ``storage_options`` don't apply to local files.
        """
        buffer = io.BytesIO()  # since torch tells of a full disk only as an error in its file format
        torch.save(self._clean(checkpoint), buffer)
        seal(buffer)
        path = Path(path)
        path.parent.mkdir(parents=True, exist_ok=True)  # as Lightning's own does, which its callbacks rely on
        write_atomically(path, lambda partial: partial.write_bytes(buffer.getbuffer()), keep=KEPT.get(path.name))

    @override
    def load_checkpoint(
        self, path: str | Path, map_location: Any = "cpu", weights_only: bool | None = True
    ) -> dict[str, Any]:
        """Read a checkpoint; ``map_location`` and ``weights_only`` are ignored in favour of CPU and True."""
        return read_checkpoint(Path(path))


def write_atomically(path: Path, write: Callable[[Path], object], keep: str | None = None) -> None:
    """Have ``write`` fill a file beside ``path``, and move it there once it is safely on the disk.

    Args:
        path: Where the file is to be.
        write: Called with the path to write to.
        keep: Name under which the file that is there already stays; None: it is replaced.

    Raises:
        OSError: the file system refuses, as where the disk is full; the error names ``path``.
    """
    partial = path.with_name(f".{path.name}.partial")
    try:
        write(partial)
        with partial.open("rb+") as file:
            os.fsync(file.fileno())
        if keep is not None and path.exists():
            path.replace(path.with_name(keep))
        partial.replace(path)
    except OSError as error:
        error.filename = str(path)
        raise
    finally:
        partial.unlink(missing_ok=True)
