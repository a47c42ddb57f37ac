"""What a model runs in while it is timed: PyTorch in its ways, exported files, and MindSpore."""

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
from msgformer.profiling.roofline import wait_for
from msgformer.tasks.export.run import export_card
from msgformer.tasks.export.source import ExportSource
from msgformer.training.build import checkpoint_gradients
from msgformer.training.optim import Rates, build_optimizer

DTYPES: dict[NumberFormat, torch.dtype] = {"bf16": torch.bfloat16, "fp16": torch.float16}
"""Of weights and images; float32 for the others."""

AMPERE = 8  # major compute capability, the first with tf32


@dataclass(frozen=True)
class Setting:
    """What everything that is timed together has in common.

    Attributes:
        mode: "infer" or "train".
        precision: The number format.
        device: Where PyTorch computes.
        threads: Threads of the CPU; None: as many as each library takes.
        size: Height and width of the images.
        trust: Whether machine code in exported files may run.
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
    def accelerator(self) -> str:
        """What exported files are told to run on."""
        return "cpu" if self.device.type == "cpu" else "gpu"

    def images(self, count: int, channels: int) -> Tensor:
        """The same random images [count, channels, height, width] each time."""
        images = torch.randn(count, channels, *self.size, generator=torch.Generator().manual_seed(0))
        return images.to(self.device, self.dtype)

    def check(self, backends: list[Backend]) -> None:
        """Make sure that the device can do what is asked.

        Raises:
            UserError: It can't.
        """
        kind = self.device.type
        if kind not in ("cpu", "cuda"):
            raise UserError(f"accelerator: {kind} can't be timed here; give cpu or gpu")
        if kind == "cuda" and any(backend in MINDSPORE for backend in backends):
            raise UserError("backend: MindSpore runs on the CPU here, and this on a GPU; give --accelerator cpu")
        if kind == "cpu" and "cudagraphs" in backends:
            raise UserError("backend: cudagraphs needs a GPU of NVIDIA's, and this runs on the CPU; give compile")
        if kind == "cpu" and self.precision in ("tf32", "fp16"):
            raise UserError(f"precision: {self.precision} needs a GPU, and this runs on the CPU; give float32 or bf16")
        if self.precision == "tf32" and torch.cuda.get_device_capability(self.device)[0] < AMPERE:
            raise UserError("precision: this GPU is older than tf32; give float32 or fp16")

    @contextmanager
    def applied(self) -> Iterator[None]:
        """With these threads and this precision of products; as it was afterwards."""
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
class Ready:
    """A model that can be timed.

    Attributes:
        run: One batch, to its end.
        model: What runs in PyTorch; None for an exported file, and in MindSpore.
        optimizer: What trains it.
    """

    run: Callable[[], object]
    model: nn.Module | None = None
    optimizer: Optimizer | None = None

    def stored_bytes(self) -> int:
        """What weights, buffers and the optimizer's state take."""
        tensors: list[Tensor] = []
        if self.model is not None:
            tensors += [*self.model.parameters(), *self.model.buffers()]
        if self.optimizer is not None:
            states: list[dict[str, Any]] = [*self.optimizer.state.values()]
            tensors += [value for state in states for value in state.values() if isinstance(value, Tensor)]
        return sum(tensor.nbytes for tensor in tensors)


def plain(source: ExportSource, setting: Setting) -> nn.Module:
    """A copy of the model as it is, in evaluation mode, where it is to run."""
    return copy.deepcopy(source.module).to(setting.device, setting.dtype)


def ready_in_torch(source: ExportSource, backend: Backend, images: Tensor, setting: Setting) -> Ready:
    """A model in PyTorch that answers about a batch, or takes a training step on it."""
    if setting.mode == "train":
        return _ready_to_train(source, backend, images, setting)
    faster = backend != "eager"
    model = optimize(source.module).to(setting.device, setting.dtype) if faster else plain(source, setting)
    call = _compiled(model, backend, setting)

    def infer() -> None:
        with torch.inference_mode():
            call(images)
        wait_for(setting.device)

    return Ready(infer, model)


def _ready_to_train(source: ExportSource, backend: Backend, images: Tensor, setting: Setting) -> Ready:
    model = plain(source, setting).train()
    if backend == "recompute":
        checkpoint_gradients(model, source.card.model, "backend recompute")
    optimizer = build_optimizer(model, OptimOptions(), Rates.of(OptimOptions(), len(images)))
    labels = torch.arange(len(images), device=setting.device) % len(source.card.classes)
    call = _compiled(model, backend, setting)

    def step() -> None:
        with torch.autocast(setting.device.type, torch.bfloat16, enabled=setting.precision == "bf16"):
            loss = F.cross_entropy(call(images), labels)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        wait_for(setting.device)

    return Ready(step, model, optimizer)


def _compiled(model: nn.Module, backend: Backend, setting: Setting) -> Callable[[Tensor], Any]:
    """The model compiled for one shape if the backend asks for that."""
    if backend == "compile":
        compiled = torch.compile(model, dynamic=False)
        return _frozen(compiled) if setting.mode == "infer" and setting.device.type == "cpu" else compiled
    if backend == "cudagraphs":
        compiled = torch.compile(model, dynamic=False, mode="reduce-overhead")

        def replay(images: Tensor) -> Any:
            torch.compiler.cudagraph_mark_step_begin()  # what the last call gave may be overwritten
            return compiled(images)

        return replay
    return model


def _frozen(compiled: Callable[[Tensor], Any]) -> Callable[[Tensor], Any]:
    """With weights as constants, laid out once, and the calls between kernels in C++ as well.

    Dynamo has to know of it while it reads the model: given as ``options`` to torch.compile, it would do nothing.
    """
    from torch._inductor import config  # slow to import

    def call(images: Tensor) -> Any:
        with config.patch(freezing=True, cpp_wrapper=True):
            return compiled(images)

    return call


def exported_file(source: ExportSource, backend: Backend, batch: int, folder: Path) -> Path:
    """A new file in a folder, of the model for batches of one size.

    Raises:
        UserError: The model has no such form.
    """
    card = export_card(source, FORMATS[backend], batch)
    path = Path(tempfile.mkdtemp(dir=folder)) / f"model{SUFFIXES[card.format]}"
    write_export(source.task.as_graph(optimize(source.module)), card, path)
    return path


def ready_from_file(path: Path, images: Tensor, setting: Setting) -> Ready:
    """An exported file that answers about a batch.

    Raises:
        UserError: It can't be run.
    """
    session: Session = open_session(path, setting.accelerator, setting.threads, trust=setting.trust)
    return Ready(lambda: session(images))


def ready_in_mindspore(source: ExportSource, backend: Backend, images: Tensor, setting: Setting) -> Ready:
    """A model in MindSpore that answers about a batch.

    Raises:
        UserError: MindSpore doesn't have the model, or runs with another number of threads already.
    """
    if setting.threads is not None:
        from msgformer.mindspore import limit_threads

        limit_threads(setting.threads)
    logits = mindspore_logits(source.module, source.card, graph=backend == "mindspore-graph")
    return Ready(lambda: logits(images))
