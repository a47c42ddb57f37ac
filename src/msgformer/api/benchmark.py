"""``msgformer benchmark``: how fast models are on this machine, beside each other and beside what it could do."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, TypeVar

from msgformer.api.ranges import check_choices, check_ranges
from msgformer.api.runs import check_new_folder
from msgformer.api.train_settings import check_model
from msgformer.deploy.card import Format
from msgformer.deploy.packages import require_writer
from msgformer.errors import UserError
from msgformer.mindspore_backend import check_mindspore
from msgformer.model_types import ModelsLike
from msgformer.result import Result, text_table
from msgformer.training.options import Progress

Mode = Literal["infer", "train"]
Backend = Literal[
    "eager",
    "optimized",
    "compile",
    "cudagraphs",
    "recompute",
    "onnxruntime",
    "openvino",
    "mindspore",
    "mindspore-graph",
]
NumberFormat = Literal["float32", "tf32", "bf16", "fp16"]

FORMATS: dict[str, Format] = {"onnxruntime": "onnx", "openvino": "openvino"}
"""Backends that run an exported file, and its format."""

MINDSPORE: tuple[Backend, ...] = ("mindspore", "mindspore-graph")
"""Backends that run in MindSpore: one operator after the other, and as a graph."""

TRAINING: tuple[Backend, ...] = ("eager", "compile", "cudagraphs", "recompute")
"""Backends that can train; the last can do nothing else."""

HEADER = ("MODEL", "BACKEND", "BATCH", "SIZE", "MS", "QUARTILES", "IMAGES/S", "RATIO", "QUARTILES", "MIB", "OF LIMIT")

T = TypeVar("T")


@dataclass(frozen=True)
class Timing:
    """How fast one model is in one backend, with batches of one size.

    Attributes:
        model: Its name, or its file.
        backend: What ran it; of an exported file, its format.
        batch: Images at once, fewer than were asked for where those didn't fit in memory.
        height: Of the images, in pixels.
        width: Likewise.
        ms: Median milliseconds of a batch; of a training step where the mode is "train".
        low_ms: Lower quartile.
        high_ms: Upper quartile.
        images_per_second: By the median.
        ratio: Median over the rounds of its time for an image divided by the reference's in the same round.
        low_ratio: Lower quartile of that.
        high_ratio: Upper quartile.
        memory_mib: Most memory that it took, weights included, in MiB; None where that can't be measured.
        floor_ms: The sum of the model's own matrix products and convolutions, each in the fastest time that was
            measured for it; None in training, and for exported files that were given as such.
        of_limit: The median time divided by that.
        seconds: Of each round.
    """

    model: str
    backend: str
    batch: int
    height: int
    width: int
    ms: float
    low_ms: float
    high_ms: float
    images_per_second: float
    ratio: float
    low_ratio: float
    high_ratio: float
    memory_mib: float | None
    floor_ms: float | None
    of_limit: float | None
    seconds: list[float]

    def cells(self) -> tuple[str, ...]:
        """Its row in the table."""
        return (
            self.model,
            self.backend,
            str(self.batch),
            f"{self.height} x {self.width}",
            f"{self.ms:.1f}",
            f"{self.low_ms:.1f}..{self.high_ms:.1f}",
            f"{self.images_per_second:.1f}",
            f"{self.ratio:.3f}",
            f"{self.low_ratio:.3f}..{self.high_ratio:.3f}",
            "-" if self.memory_mib is None else f"{self.memory_mib:.0f}",
            "-" if self.of_limit is None else f"{self.of_limit:.2f}",
        )


@dataclass(frozen=True)
class Benchmark(Result):
    """How fast models are.

    Attributes:
        timings: One for each model, backend, size and batch.
        mode: What was timed: "infer" or "train".
        precision: The number format.
        reference: The model and the backend that ratios are to.
        rounds: How often each was timed.
        device: "cpu" or "cuda".
        machine: System, processor, cores, threads, memory, GPUs.
        packages: Versions of the libraries.
        output: The folder that everything was written to.
    """

    timings: list[Timing]
    mode: Mode
    precision: NumberFormat
    reference: str
    rounds: int
    device: str
    machine: dict[str, Any]
    packages: dict[str, str]
    output: Path | None = None

    def table(self) -> str:
        """One row a timing, then what holds for all."""
        rows = [timing.cells() for timing in self.timings]
        processor = self.machine["gpus"][0] if self.device == "cuda" else self.machine["processor"]
        about = f"{self.mode}, {self.precision}, {self.rounds} rounds in turns, ratios to {self.reference}"
        where = f"{processor}, {self.machine['threads']} of {self.machine['cores']} cores"
        versions = ", ".join(f"{name} {number}" for name, number in self.packages.items())
        written = [] if self.output is None else [f"written to {self.output}"]
        return "\n".join([text_table(HEADER, rows), "", about, f"{where}; {versions}", *written])


def benchmark(
    models: ModelsLike,
    *,
    against: str | list[str] | None = None,
    mode: Mode = "infer",
    backend: Backend | list[Backend] = "eager",
    batch: int | list[int] = 1,
    img_size: int | tuple[int, int] | list[tuple[int, int]] = 224,
    threads: int | None = None,
    precision: NumberFormat = "float32",
    rounds: int = 20,
    accelerator: str = "auto",
    trust: bool = False,
    output: Path | None = None,
    progress: Progress = "auto",
) -> Benchmark:
    """Time models in turns, A B A B, and say how far each is from what this machine could do.

    Args:
        models: Names of models of this package or of timm, run folders, checkpoints of classifiers, or files of
            'msgformer export', which run in their own library. Models by name have random weights.
        against: Model to compare with, or a list of them, '[NAME, NAME]'; ratios are to the first of them, otherwise
            to the first model, in the first backend.
        mode: "infer", or "train" for whole training steps: forward, backward and the recipe's optimiser.
        backend: What runs the models, one or several, as in --backend eager compile: "eager" is PyTorch as it is,
            "optimized" msgformer.optimize, "compile" torch.compile of that, "cudagraphs" the same with CUDA graphs,
            "recompute" eager training that computes activations again in the backward pass, "onnxruntime" and
            "openvino" exported files, "mindspore" and "mindspore-graph" MindSpore on the CPU, one operator after the
            other and as a graph.
        batch: Images at once, one number or several, as in --batch 1 8 64; what doesn't fit in memory is halved.
        img_size: Side of the square, or height and width, of the images; or a list of such pairs,
            '[[224, 224], [448, 448]]'.
        threads: Threads of the CPU; by default as many as each library takes.
        precision: "float32"; "tf32" on GPUs; "bf16", or "fp16" on GPUs, for weights and images, in training by
            autocast.
        rounds: How often each is timed, after two rounds that aren't.
        accelerator: Device: "auto", "cpu" or "gpu".
        trust: Allow machine code in files to run, of which files of AOTInductor consist.
        output: New folder for benchmark.json, benchmark.csv, and plots where there are several sizes or batches.
        progress: A "bar", "lines" or "none"; "auto" is a bar in a terminal, otherwise lines.

    Returns:
        Times, ratios, memory, floors and the machine.

    Raises:
        UserError: there is no such model or device, something isn't possible together, a model doesn't take such
            images, not even one image fits in memory, or the output can't be written.
    """
    check_choices(benchmark, locals())
    in_memory, names = _names(_listed(models))
    rivals, backends, batches = (_listed(one) for one in (against or [], backend, batch))
    sizes = _sizes(img_size)
    sides = [side for size in sizes for side in size]
    check_ranges({"batch": batches, "img_size": sides, "threads": threads, "rounds": rounds})
    _check_choices(mode, backends, precision)
    for name in (*names, *rivals):
        if name not in in_memory and not Path(name).exists():
            check_model(name)
    output = None if output is None else Path(output)
    check_new_folder(output)

    from msgformer.api.benchmark_files import write_benchmark
    from msgformer.api.benchmarking import Plan, run_benchmark
    from msgformer.trained_model import open_any

    plan = Plan(names, rivals, mode, backends, batches, sizes, threads, precision, rounds, accelerator, progress)
    opened = {name: open_any(model) for name, model in in_memory.items()}
    result = run_benchmark(replace(plan, trust=trust, in_memory=opened), output)
    if output is not None:
        write_benchmark(result, output)
    return result


def _names(models: Sequence[Any]) -> tuple[dict[str, Any], list[str]]:
    """Return models in memory by the names under which they are timed, and all names in their order.

    An exported file is opened anew, since each library runs it with its own settings.
    """
    in_memory: dict[str, Any] = {}
    names: list[str] = []
    for number, model in enumerate(models, 1):
        opened = getattr(model, "opened", None)
        path = model if isinstance(model, str | Path) else getattr(opened, "path", None)
        if isinstance(model, str | Path) or (opened is not None and opened.session is not None):
            names.append(str(path))
            continue
        name = str(path or f"{type(model).__name__} {number}")
        names.append(f"{name} {number}" if name in names else name)
        in_memory[names[-1]] = model
    return in_memory, names


def _listed(value: T | Sequence[T]) -> list[Any]:
    """One or several, each once, in their order."""
    several = isinstance(value, list | tuple)
    return list(dict.fromkeys(value)) if several else [value]  # type: ignore[arg-type]


def _sizes(img_size: int | Sequence[Any]) -> list[tuple[int, int]]:
    """Heights and widths; a pair of numbers is one size, as in every command."""
    if isinstance(img_size, int):
        return [(img_size, img_size)]
    if all(isinstance(side, int) for side in img_size):
        if len(img_size) != 2:
            raise UserError(f"img_size: {list(img_size)} isn't height and width; give sizes as [[H, W], [H, W]]")
        return [(img_size[0], img_size[1])]
    return list(dict.fromkeys((height, width) for height, width in img_size))


def _check_choices(mode: Mode, backends: Sequence[Backend], precision: NumberFormat) -> None:
    """Refuse, as far as that can be told without PyTorch, what doesn't go together."""
    for backend in backends:
        if mode == "train" and backend not in TRAINING:
            raise UserError(f"backend: {backend} can't train; give one of {', '.join(TRAINING)}, or --mode infer")
        if mode == "infer" and backend == "recompute":
            raise UserError("backend: recompute saves memory in training; give --mode train, or eager")
        if backend in (*FORMATS, *MINDSPORE) and precision != "float32":
            raise UserError(f"precision: {backend} runs float32 here, not {precision}; leave --precision out")
        if backend in FORMATS:
            require_writer(FORMATS[backend], f"backend {backend}")
        if backend in MINDSPORE:
            check_mindspore()
    if mode == "train" and precision == "fp16":
        raise UserError("precision: fp16 trains with scaled losses alone, which aren't timed here; give bf16")
