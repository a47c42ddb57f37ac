"""Backends of a benchmark: PyTorch in several modes, exported files, and MindSpore."""

from __future__ import annotations

import copy
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.optim import Optimizer

from msgformer.checkpoints.export_card import SUFFIXES
from msgformer.config.training_options import OptimOptions
from msgformer.errors import UserError
from msgformer.exporters.runtime import open_session
from msgformer.exporters.session import Session
from msgformer.exporters.writer import write_export
from msgformer.mindspore_backend import mindspore_logits
from msgformer.optimized.optimize import optimize
from msgformer.profiling.benchmark_result import FORMATS, MINDSPORE, Backend, Mode, NumberFormat
from msgformer.profiling.roofline import synchronize
from msgformer.tasks.export.run import export_card
from msgformer.tasks.export.source import ExportSource
from msgformer.training.build import enable_grad_checkpointing
from msgformer.training.optim import Rates, build_optimizer

DTYPES: dict[NumberFormat, torch.dtype] = {"bf16": torch.bfloat16, "fp16": torch.float16}
"""Number formats of weights and images; float32 for the other settings."""

AMPERE = 8  # major compute capability; tf32 needs this generation or a later one


@dataclass(frozen=True)
class Setting:
    """Settings shared by all models that are timed together.

    Attributes:
        mode: "infer" or "train".
        precision: Number format.
        device: Device of PyTorch.
        threads: CPU threads; None for each library's own default.
        size: Height and width of the images.
        trust: Allow exported files to run machine code.
    """

    mode: Mode
    precision: NumberFormat
    device: torch.device
    threads: int | None
    size: tuple[int, int]
    trust: bool = False

    @property
    def dtype(self) -> torch.dtype:
        """Number format of weights and images."""
        return torch.float32 if self.mode == "train" else DTYPES.get(self.precision, torch.float32)

    @property
    def session_device(self) -> str:
        """Device for exported files: "cpu" or "gpu"."""
        return "cpu" if self.device.type == "cpu" else "gpu"

    def images(self, count: int, channels: int) -> Tensor:
        """Create random images, the same at each call.

        Args:
            count: Number of images.
            channels: Number of channels.

        Returns:
            Images [count, channels, H, W].
        """
        images = torch.randn(count, channels, *self.size, generator=torch.Generator().manual_seed(0))
        return images.to(self.device, self.dtype)

    def check(self, backends: list[Backend]) -> None:
        """Check that the device supports the backends and the number format.

        Raises:
            UserError: It does not.
        """
        kind = self.device.type
        if kind not in ("cpu", "cuda"):
            raise UserError(f"device: {kind} is not supported here; give cpu or cuda")
        if kind == "cuda" and any(backend in MINDSPORE for backend in backends):
            raise UserError("backend: MindSpore runs only on the CPU here, not on a GPU; give --device cpu")
        if kind == "cpu" and "cudagraphs" in backends:
            raise UserError("backend: cudagraphs needs an NVIDIA GPU, but the device is the CPU; use compile instead")
        if kind == "cpu" and self.precision in ("tf32", "fp16"):
            raise UserError(f"precision: {self.precision} needs a GPU, but the device is the CPU; give float32 or bf16")
        if self.precision == "tf32" and torch.cuda.get_device_capability(self.device)[0] < AMPERE:
            raise UserError("precision: this GPU does not support tf32; give float32 or fp16")

    @contextmanager
    def applied(self) -> Iterator[None]:
        """Set the number of threads and the precision of matrix products within the block."""
        threads, matmul, cudnn = (
            torch.get_num_threads(),
            torch.get_float32_matmul_precision(),
            torch.backends.cudnn.allow_tf32,
        )
        if self.threads is not None:
            torch.set_num_threads(self.threads)
        if self.device.type == "cuda":
            torch.set_float32_matmul_precision("high" if self.precision == "tf32" else "highest")
            torch.backends.cudnn.allow_tf32 = self.precision == "tf32"
        try:
            yield
        finally:
            torch.set_num_threads(threads)
            torch.set_float32_matmul_precision(matmul)
            torch.backends.cudnn.allow_tf32 = cudnn


@dataclass(frozen=True)
class PreparedModel:
    """A model that is ready to be timed.

    Attributes:
        run: Runs one batch and waits for the result.
        model: Module in PyTorch; None for an exported file, and in MindSpore.
        optimizer: Optimizer, in training.
    """

    run: Callable[[], object]
    model: nn.Module | None = None
    optimizer: Optimizer | None = None

    def stored_bytes(self) -> int:
        """Return the size in bytes of the weights, the buffers and the optimizer state."""
        tensors: list[Tensor] = []
        if self.model is not None:
            tensors += [*self.model.parameters(), *self.model.buffers()]
        if self.optimizer is not None:
            states: list[dict[str, Any]] = [*self.optimizer.state.values()]
            tensors += [value for state in states for value in state.values() if isinstance(value, Tensor)]
        return sum(tensor.nbytes for tensor in tensors)


def copy_model(source: ExportSource, setting: Setting) -> nn.Module:
    """Copy the unoptimized model to the device, in the number format.

    Args:
        source: Model.
        setting: Device and number format.
    """
    return copy.deepcopy(source.module).to(setting.device, setting.dtype)


def prepare_torch(source: ExportSource, backend: Backend, images: Tensor, setting: Setting) -> PreparedModel:
    """Prepare a model in PyTorch for inference or for training steps.

    Args:
        source: Model.
        backend: Backend of PyTorch.
        images: Batch [B, C, H, W].
        setting: Mode, device and number format.
    """
    if setting.mode == "train":
        return _prepare_training(source, backend, images, setting)
    is_eager = backend == "eager"
    model = copy_model(source, setting) if is_eager else optimize(source.module).to(setting.device, setting.dtype)
    call = _compiled(model, backend, setting)

    def infer() -> None:
        with torch.inference_mode():
            call(images)
        synchronize(setting.device)

    return PreparedModel(infer, model)


def _prepare_training(source: ExportSource, backend: Backend, images: Tensor, setting: Setting) -> PreparedModel:
    model = copy_model(source, setting).train()
    if backend == "recompute":
        enable_grad_checkpointing(model, source.card.model, "backend recompute")
    optimizer = build_optimizer(model, OptimOptions(), Rates.of(OptimOptions(), len(images)))
    labels = torch.arange(len(images), device=setting.device) % len(source.card.classes)
    call = _compiled(model, backend, setting)

    def step() -> None:
        with torch.autocast(setting.device.type, torch.bfloat16, enabled=setting.precision == "bf16"):
            loss = F.cross_entropy(call(images), labels)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        synchronize(setting.device)

    return PreparedModel(step, model, optimizer)


def _compiled(model: nn.Module, backend: Backend, setting: Setting) -> Callable[[Tensor], Any]:
    """Compile the model for one input shape if the backend is a compiled one."""
    if backend == "compile":
        compiled = torch.compile(model, dynamic=False)
        return _frozen(compiled) if setting.mode == "infer" and setting.device.type == "cpu" else compiled
    if backend == "cudagraphs":
        compiled = torch.compile(model, dynamic=False, mode="reduce-overhead")

        def replay(images: Tensor) -> Any:
            torch.compiler.cudagraph_mark_step_begin()  # the output of the last call may be overwritten
            return compiled(images)

        return replay
    return model


def _frozen(compiled: Callable[[Tensor], Any]) -> Callable[[Tensor], Any]:
    """Compile with frozen weights, which are packed once, and a C++ wrapper around the kernels.

    The settings must be active while Dynamo traces the model: as ``options`` of torch.compile, which is public, they
    have no effect.
    """
    from torch._inductor import config  # slow to import

    def call(images: Tensor) -> Any:
        with config.patch(freezing=True, cpp_wrapper=True):
            return compiled(images)

    return call


def export_file(source: ExportSource, backend: Backend, batch: int, folder: Path) -> Path:
    """Export a model for one batch size.

    Args:
        source: Model.
        backend: Backend that runs the file.
        batch: Images per batch.
        folder: Folder in which to create the file.

    Returns:
        Path of the file.

    Raises:
        UserError: The model can't be exported to this format.
    """
    card = export_card(source, FORMATS[backend], batch)
    path = Path(tempfile.mkdtemp(dir=folder)) / f"model{SUFFIXES[card.format]}"
    write_export(source.task.as_graph(optimize(source.module)), card, path)
    return path


def prepare_file(path: Path, images: Tensor, setting: Setting) -> PreparedModel:
    """Prepare an exported file for inference.

    Args:
        path: Exported file.
        images: Batch [B, C, H, W].
        setting: Device and threads.

    Raises:
        UserError: The file can't be run.
    """
    session: Session = open_session(path, setting.session_device, setting.threads, trust=setting.trust)
    return PreparedModel(lambda: session(images))


def prepare_mindspore(source: ExportSource, backend: Backend, images: Tensor, setting: Setting) -> PreparedModel:
    """Prepare a model in MindSpore for inference.

    Args:
        source: Model.
        backend: "mindspore" or "mindspore-graph".
        images: Batch [B, C, H, W].
        setting: Threads.

    Raises:
        UserError: The model is not available in MindSpore, or MindSpore already runs with another number of threads.
    """
    if setting.threads is not None:
        from msgformer.mindspore import limit_threads

        limit_threads(setting.threads)
    logits = mindspore_logits(source.module, source.card, graph=backend == "mindspore-graph")
    return PreparedModel(lambda: logits(images))
