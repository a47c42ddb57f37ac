"""Locations of models: which files can be opened as a model, and of which kind they are.

This module deserializes nothing and imports neither torch nor NumPy, so that a wrong path is reported quickly.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import NoReturn

from msgformer.checkpoints.export_card import EXPORTED_SUFFIXES, is_exported
from msgformer.data.files.folder import require_path
from msgformer.errors import UserError
from msgformer.model_names import ALIASES, HUB_PREFIXES, MODELS

BEST, LAST = "best.ckpt", "last.ckpt"
"""Checkpoints of the best and of the last epoch in a run folder."""

SAVED_CONFIG, SAVED_WEIGHTS = "config.json", ("model.safetensors", "pytorch_model.bin")
"""Files that ``save_pretrained`` writes, as timm and the Hub name them; one of the weights files is enough."""

WEIGHTS_SUFFIXES = (".ckpt", ".pt", ".pth", ".safetensors")
"""Suffixes of weights files, which distinguish a missing file from a model's name."""

ZIP_MAGIC = b"PK\x03\x04"  # torch.save writes zip archives


class ModelKind(Enum):
    """Kind of a model's location."""

    CHECKPOINT = "checkpoint"
    """A checkpoint of a training."""
    EXPORTED = "exported file"
    """A file of 'msgformer export'."""
    CONVERTED = "safetensors file"
    """Weights of 'msgformer convert', with a header that names the model."""
    SAVED = "saved folder"
    """A folder of ``save_pretrained``."""
    NAME = "name"
    """A model of this package or of timm, without weights."""


@dataclass(frozen=True)
class ModelLocation:
    """Location of a model.

    Attributes:
        kind: Kind of the location.
        path: The file or folder to open; for a name, the name itself.
    """

    kind: ModelKind
    path: Path

    def __str__(self) -> str:
        return str(self.path)

    @property
    def run(self) -> Path | None:
        """Folder that may hold the record of a run."""
        return self.path.parent if self.kind in (ModelKind.CHECKPOINT, ModelKind.EXPORTED) else None

    @property
    def is_trained(self) -> bool:
        """Whether the model has weights."""
        return self.kind is not ModelKind.NAME


def find_model(model: str | Path, key: str = "model") -> ModelLocation:
    """Find the location of a model.

    Args:
        model: Run folder (its best epoch, or the last if there is no best), checkpoint, exported file, converted
            ``.safetensors``, folder of ``save_pretrained``, or a model's name. An existing path wins over a name.
        key: Name of the argument, for messages.

    Raises:
        UserError: The path doesn't exist, or holds no model.
    """
    path = Path(model).expanduser()
    if not path.exists() and is_name(str(model)):
        return ModelLocation(ModelKind.NAME, Path(str(model)))
    path = require_path(path, key)
    if path.is_dir():
        return _find_in_folder(path, key)
    if is_exported(path):
        return ModelLocation(ModelKind.EXPORTED, path)
    if path.suffix.lower() == ".safetensors":
        return ModelLocation(ModelKind.CONVERTED, path)
    check_kind(path, key)
    return ModelLocation(ModelKind.CHECKPOINT, path)


def refuse_exported(name: object) -> NoReturn:
    """Say that an exported file can't be used where the model itself is needed.

    Args:
        name: The file, for the message.

    Raises:
        UserError: Always.
    """
    raise UserError(f"{name} is an exported file, which holds no PyTorch module; give its checkpoint")


def find_trained_model(model: str | Path, key: str = "model") -> ModelLocation:
    """Find a model that has weights.

    Args:
        model: As for `find_model`, but no name.
        key: Name of the argument, for messages.

    Raises:
        UserError: As of `find_model`, or only a name is given, which has no weights.
    """
    location = find_model(model, key)
    if location.is_trained:
        return location
    name = str(model)
    if name not in MODELS and name not in ALIASES and not name.startswith(HUB_PREFIXES):
        require_path(Path(name), key)  # a mistyped path rather than one of timm's models
    raise UserError(
        f"{key}: {name} is untrained: the name alone has no weights; give a run folder, a checkpoint or"
        " an exported file"
    )


def find_checkpoint(path: Path, key: str = "model") -> Path:
    """Find a checkpoint.

    Args:
        path: A checkpoint, or a run folder, of which the best epoch is taken, or the last if there is no best.
        key: Name of the argument, for messages.

    Raises:
        UserError: There is no checkpoint, or the file is not one.
    """
    path = require_path(path.expanduser(), key)
    if path.is_dir():
        return _find_in_run(path, key)
    check_kind(path, key)
    return path


def is_name(model: str) -> bool:
    """Return whether a string that is no existing path may be a model's name."""
    if model.startswith(HUB_PREFIXES):
        return True
    path = Path(model)
    return len(path.parts) == 1 and path.suffix.lower() not in (*WEIGHTS_SUFFIXES, *EXPORTED_SUFFIXES)


def check_kind(path: Path, key: str = "model") -> None:
    """Check by its first bytes that a file may be a checkpoint.

    Args:
        path: The file.
        key: Name of the argument, for messages.

    Raises:
        UserError: The file is empty, a web page, or otherwise not a checkpoint.
    """
    with path.open("rb") as file:
        head = file.read(512)
    if head.startswith(ZIP_MAGIC):
        return
    if not head:
        raise UserError(f"{key}: {path} is empty; copy or download it again")
    if head.lstrip().lower().startswith((b"<!doctype", b"<html", b"<?xml")):
        raise UserError(f"{key}: {path} is a web page, not a checkpoint; download the file itself")
    raise UserError(
        f"{key}: {path} is not a checkpoint of msgformer (best.ckpt or last.ckpt in a run folder);"
        " 'msgformer convert' reads official ones"
    )


def _find_in_folder(folder: Path, key: str) -> ModelLocation:
    if (folder / SAVED_CONFIG).is_file() and any((folder / name).is_file() for name in SAVED_WEIGHTS):
        return ModelLocation(ModelKind.SAVED, folder)
    return ModelLocation(ModelKind.CHECKPOINT, _find_in_run(folder, key))


def _find_in_run(run: Path, key: str) -> Path:
    found = next((run / name for name in (BEST, LAST) if (run / name).is_file()), None)
    if found is None:
        raise UserError(f"{key}: no {BEST} or {LAST} in {run}; give a run folder of 'msgformer train'")
    check_kind(found, key)
    return found
