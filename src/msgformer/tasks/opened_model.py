"""An opened model of any kind: its card, its module or exported file, and its path."""

from __future__ import annotations

import copy
from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from msgformer.checkpoints.card import KEY, ModelCard
from msgformer.checkpoints.checkpoint_file import read_training_checkpoint, trained_weights
from msgformer.checkpoints.model_location import BEST, LAST, SAVED_CONFIG, ModelKind, ModelLocation, refuse_exported
from msgformer.checkpoints.weights_file import read_checkpoint
from msgformer.config.data_options import PreprocessOptions
from msgformer.data.preprocessing import Preprocessing
from msgformer.errors import UserError
from msgformer.exporters.runtime import open_session
from msgformer.exporters.session import Session
from msgformer.model_names import ALIASES
from msgformer.models.loading import load_weights, unwrap
from msgformer.models.registry import known_model
from msgformer.optimized.optimize import optimize
from msgformer.plugins import require_plugins
from msgformer.tasks import TASKS, Task, get_task
from msgformer.tasks.pretrained import read_pretrained
from msgformer.training.build import build_model, default_size
from msgformer.utils.safetensors_header import read_header

if TYPE_CHECKING:
    from msgformer.tasks.prediction.predictor import InferenceConfig

UNTRAINED_CLASSES = 1000
"""Number of classes of a model that is given by its name alone."""


class OpenedModel:
    """A model, its card and its origin.

    Args:
        card: The model card.
        module: The model; None for an exported file.
        session: The exported file; None for other models.
        path: File or folder that the model was opened from; None for a module in memory and for a name.
        run: Folder that may be the model's run folder.
        is_trained: Whether the weights are trained.

    Attributes:
        task: Task of the model.
    """

    def __init__(
        self,
        card: ModelCard,
        module: nn.Module | None,
        *,
        session: Session | None = None,
        path: Path | None = None,
        run: Path | None = None,
        is_trained: bool = True,
    ) -> None:
        self.card, self.session, self.path, self.run, self.is_trained = card, session, path, run, is_trained
        self.task: Task = get_task(card.task)
        self._module = module
        self._runners: dict[tuple[str, str, bool], Callable[..., Any]] = {}
        self._embedders: dict[tuple[str, str, bool], Callable[..., Any]] = {}

    @property
    def name(self) -> str:
        """Name of the model in messages."""
        return str(self.path or self.card.model)

    @property
    def module(self) -> nn.Module:
        """The unoptimized model with its weights.

        Raises:
            UserError: It is an exported file, which holds a graph and no module.
        """
        if self._module is None:
            refuse_exported(self.name)
        return self._module

    @cached_property
    def data(self) -> dict[str, Any]:
        """Training data of the model's run, as in `ModelCard.data`; empty if it is unknown.

        For an exported file it is read from a checkpoint in the same folder.
        """
        if self.session is None or self.path is None:
            return self.card.data
        return _data_beside(self.path, self.card)

    @property
    def num_parameters(self) -> int | None:
        """Number of parameters of the unoptimized model; None for an exported file."""
        return None if self._module is None else sum(parameter.numel() for parameter in self._module.parameters())

    def for_inference(self, *, optimized: bool = True) -> nn.Module:
        """Return the exported file as a module, or a new copy of the model, which the caller may modify.

        Args:
            optimized: Whether to optimize the copy.
        """
        if self.session is not None:
            return self.task.exported_module(self.session).eval()
        return optimize(self.module) if optimized else copy.deepcopy(self.module).eval()

    def runner(self, config: InferenceConfig) -> Callable[..., Any]:
        """Return a function that runs the model on its device; the first call creates it.

        Args:
            config: Device and precision.

        Raises:
            UserError: There is no such device or precision.
        """
        key = config.device, config.precision, config.optimize
        if key not in self._runners:
            self._runners[key] = config.placement().place(self.for_inference(optimized=config.optimize))
        return self._runners[key]

    def embedder(self, config: InferenceConfig) -> Callable[..., Any]:
        """Return a function that computes pooled features [B, D] of a batch; the first call creates it.

        Args:
            config: Device and precision.

        Raises:
            UserError: The model is an exported file, or has no features to pool.
        """
        key = config.device, config.precision, config.optimize
        if key not in self._embedders:
            self._embedders[key] = self.task.embedder(self, config)
        return self._embedders[key]

    def on_cpu(self) -> nn.Module:
        """Return the unoptimized model in evaluation mode on the CPU; a copy if the model itself isn't."""
        module = self.module
        devices = {tensor.device.type for tensor in (*module.parameters(), *module.buffers())}
        if not module.training and devices <= {"cpu"}:
            return module
        return copy.deepcopy(module).cpu().eval()

    def require_trained(self, command: str) -> None:
        """Refuse a model with random weights.

        Raises:
            UserError: The weights are random.
        """
        if not self.is_trained:
            raise UserError(
                f"{command}: {self.name} is untrained: the name alone has no weights; give a run folder, a checkpoint"
                " or an exported file"
            )


def open_model(
    location: ModelLocation,
    *,
    img_size: tuple[int, int] | None = None,
    device: str = "auto",
    trust: bool = False,
) -> OpenedModel:
    """Open a model.

    Args:
        location: Location of the model.
        img_size: Height and width of the images, for a model given by its name or by converted weights.
        device: Device that an exported file runs on.
        trust: Allow machine code in the file to run, for files of AOTInductor.

    Raises:
        UserError: The file can't be opened, or doesn't match its card.
    """
    return _OPENERS[location.kind](location, img_size, device, trust)


def load_model(path: Path) -> tuple[nn.Module, ModelCard]:
    """Load the trained model of a checkpoint.

    Args:
        path: The checkpoint.

    Returns:
        The unoptimized model in evaluation mode, and its card.

    Raises:
        UserError: The file is no checkpoint of this package, or its weights don't fit its card.
    """
    checkpoint = read_training_checkpoint(path)
    card = read_card(checkpoint, path)
    return restore(card, trained_weights(checkpoint), path), card


def restore(card: ModelCard, weights: dict[str, Any], path: Path) -> nn.Module:
    """Build the model that a card describes, with trained weights and in evaluation mode.

    Args:
        card: The model card.
        weights: Parameters and buffers by name.
        path: The file of the weights, for messages.

    Raises:
        UserError: The weights don't fit the card.
    """
    require_plugins(card.plugins, path)
    model = get_task(card.task).build_model(card)
    try:
        model.load_state_dict(weights)
    except RuntimeError as error:
        raise UserError(f"{path}: its weights don't fit {card.model}: {' '.join(str(error).split())[:200]}") from error
    return model.eval()


def read_card(checkpoint: Any, path: Path) -> ModelCard:
    """Read a checkpoint's card.

    Args:
        checkpoint: Content of the file.
        path: The file, for messages.

    Raises:
        UserError: There is no card, or it is of a task that this version doesn't have.
    """
    return check_task(ModelCard.read(checkpoint, path), path)


def check_task(card: ModelCard, path: Path) -> ModelCard:
    """Return a card if this version has its task.

    Args:
        card: The card.
        path: Its file, for messages.

    Raises:
        UserError: This version doesn't have the task.
    """
    if card.task not in TASKS:
        raise UserError(
            f"{path} was written by another version of msgformer (task {card.task!r}); use version {card.version}"
        )
    return card


def name_model(name: str, size: tuple[int, int] | None = None, classes: int = UNTRAINED_CLASSES) -> OpenedModel:
    """Build a classifier by its name, with random weights of a fixed seed.

    Args:
        name: A model of this package or of timm.
        size: Height and width of the images; None for the model's default.
        classes: Number of outputs.

    Raises:
        UserError: There is no such model.
    """
    name = known_model(name)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = build_model(name, classes, size or default_size(name), {}).eval()
    side = size or tuple(model.pretrained_cfg["input_size"][1:])  # type: ignore[index]
    preprocessing = Preprocessing.of(model, side, 3, PreprocessOptions())
    card = ModelCard(name, {}, [str(label) for label in range(classes)], preprocessing.to_dict())
    return OpenedModel(card, model, is_trained=False)


def wrap_module(module: nn.Module) -> OpenedModel:
    """Open a model that was built in Python, such as by `msgformer.create_model`.

    Args:
        module: A classifier of this package or of timm, a detector or a segmenter.

    Raises:
        UserError: It is another module.
    """
    for name in reversed(TASKS):  # classifiers last, since their check accepts any module with timm's configuration
        card = get_task(name).describe_module(module)
        if card is not None:
            return OpenedModel(card, module)
    raise UserError(
        f"model: {type(module).__name__} is neither a classifier of timm's kind nor a detector or segmenter;"
        " give a path, or a module of msgformer.create_model, create_detector or create_segmenter"
    )


def _open_checkpoint(location: ModelLocation, *_: Any) -> OpenedModel:
    path = location.path
    checkpoint = read_training_checkpoint(path)
    card = read_card(checkpoint, path)
    return OpenedModel(card, restore(card, trained_weights(checkpoint), path), path=path, run=path.parent)


def _open_exported(location: ModelLocation, _: Any, device: str, trust: bool) -> OpenedModel:
    path = location.path
    kind = device.partition(":")[0]
    session = open_session(path, {"cuda": "gpu"}.get(kind, kind), trust=trust)
    found = session.card
    card = ModelCard(found.model, {}, found.classes, found.preprocessing, {}, found.task, found.version)
    return OpenedModel(card, None, session=session, path=path, run=path.parent)


def _data_beside(path: Path, card: ModelCard) -> dict[str, Any]:
    """Return the data of the run in whose folder an exported file is; empty for another folder."""
    beside = next((path.parent / name for name in (BEST, LAST) if (path.parent / name).is_file()), None)
    if beside is None:
        return {}
    run = read_card(read_training_checkpoint(beside), beside)
    return run.data if run.classes == card.classes else {}


def _open_converted(location: ModelLocation, size: tuple[int, int] | None, *_: Any) -> OpenedModel:
    """Open weights of 'msgformer convert', whose file names the model and may hold a card."""
    path = location.path
    state, header = read_checkpoint(path), read_header(path)
    if KEY in header:
        card = check_task(ModelCard.from_json(header[KEY], path), path)
        return OpenedModel(card, restore(card, state, path), path=path)
    name, classifier = header.get("model"), unwrap(state).get("head.fc.weight")
    if name is None or classifier is None:
        raise UserError(f"{path} doesn't name its classifier; give a file of 'msgformer convert'")
    model = name_model(name, size, len(classifier))
    load_weights(model.module, path)
    return OpenedModel(model.card, model.module, path=path)


def _open_saved(location: ModelLocation, *_: Any) -> OpenedModel:
    saved = read_pretrained(location.path)
    if saved.card is not None:
        card = read_card({KEY: saved.card}, location.path / SAVED_CONFIG)
    else:  # written by timm
        arguments = {key: value for key, value in saved.model_args.items() if key not in ("num_classes", "img_size")}
        card = ModelCard(saved.model, arguments, saved.class_names, saved.preprocessing)
    return OpenedModel(card, restore(card, read_checkpoint(saved.weights), saved.weights), path=location.path)


def _open_name(location: ModelLocation, size: tuple[int, int] | None, *_: Any) -> OpenedModel:
    name = str(location.path)
    return name_model(ALIASES.get(name, name), size)


_OPENERS: dict[ModelKind, Callable[..., OpenedModel]] = {
    ModelKind.CHECKPOINT: _open_checkpoint,
    ModelKind.EXPORTED: _open_exported,
    ModelKind.CONVERTED: _open_converted,
    ModelKind.SAVED: _open_saved,
    ModelKind.NAME: _open_name,
}
