"""``msgformer benchmark``: time models on this machine, and compare them with each other and with the roofline."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

from msgformer.config.constraints import check_choices, check_ranges
from msgformer.config.renamed_arguments import renamed_arguments
from msgformer.config.training_options import Progress
from msgformer.errors import UserError
from msgformer.exporters.packages import require_writer
from msgformer.mindspore_backend import check_mindspore
from msgformer.model_types import ModelsLike
from msgformer.profiling.benchmark_result import (
    FORMATS,
    JSON,
    MINDSPORE,
    TRAINING,
    Backend,
    Benchmark,
    Mode,
    NumberFormat,
)
from msgformer.runs.train_settings import check_model
from msgformer.utils.output_path import check_output_folder, stage_if_used

T = TypeVar("T")


@renamed_arguments(models="model", batch="batch_size", accelerator="device")
def benchmark(
    model: ModelsLike,
    *,
    against: str | list[str] | None = None,
    mode: Mode = "infer",
    backend: Backend | list[Backend] = "eager",
    batch_size: int | list[int] = 1,
    img_size: int | tuple[int, int] | list[tuple[int, int]] = 224,
    threads: int | None = None,
    precision: NumberFormat = "float32",
    rounds: int = 20,
    device: str = "auto",
    trust: bool = False,
    output: Path | None = None,
    overwrite: bool = False,
    progress: Progress = "auto",
) -> Benchmark:
    """Time models alternately (A B A B), and compare each with the roofline of this machine.

    The roofline of a model is the sum of its matrix products and convolutions, each at the fastest time measured for it
    on this machine. Alternating the models keeps a slow phase of the machine from favoring one of them.

    Args:
        model: Names of models of this package or of timm (random weights), run folders, checkpoints of classifiers, or
            files of 'msgformer export', which run in their own library.
        against: Model to compare with, or a list of them, '[NAME, NAME]'. Ratios are relative to the first of them, or
            to the first model if none is given, in the first backend.
        mode: "infer", or "train" for whole training steps: forward, backward and the recipe's optimizer.
        backend: What runs the models, one or several, as in --backend eager compile. "eager" is plain PyTorch,
            "optimized" is msgformer.optimize, "compile" is torch.compile of that, "cudagraphs" is the same with CUDA
            graphs, "recompute" is eager training with gradient checkpointing, "onnxruntime" and "openvino" run exported
            files, "mindspore" and "mindspore-graph" run MindSpore on the CPU, eagerly and as a graph.
        batch_size: Images per batch, one number or several, as in --batch_size 1 8 64; a batch that does not fit in
            memory is halved.
        img_size: Image size: the side of a square, or height and width; or a list of pairs, '[[224, 224], [448, 448]]'.
        threads: CPU threads; by default each library's own default.
        precision: "float32"; "tf32" (GPUs); "bf16", or "fp16" (GPUs), for weights and images, and by autocast in
            training.
        rounds: Number of timed rounds, after two warm-up rounds.
        device: "auto", "cpu", "cuda" or "cuda:N".
        trust: Allow exported files to run machine code, as AOTInductor files do.
        output: Folder for benchmark.json, benchmark.csv, and plots if there are several sizes or batches.
        overwrite: Replace an existing folder, once the new one is complete.
        progress: "bar", "lines" or "none"; "auto" shows a bar in a terminal and lines elsewhere.

    Returns:
        Times, ratios, memory, rooflines and a description of the machine.

    Raises:
        UserError: A model or device does not exist, options do not go together, a model does not accept the image size,
            not even one image fits in memory, or the output can't be written.
    """
    check_choices(benchmark, locals())
    in_memory, names = _names(_as_list(model))
    rivals, backends, batches = (_as_list(one) for one in (against or [], backend, batch_size))
    sizes = _sizes(img_size)
    sides = [side for size in sizes for side in size]
    check_ranges({"batch_size": batches, "img_size": sides, "threads": threads, "rounds": rounds})
    _check_choices(mode, backends, precision)
    for name in (*names, *rivals):
        if name not in in_memory and not Path(name).exists():
            check_model(name)
    output = None if output is None else Path(output)
    check_output_folder(output, JSON, overwrite=overwrite)

    from msgformer.profiling.files import write_benchmark
    from msgformer.profiling.timing_run import Plan, run_benchmark
    from msgformer.tasks.loaded_model import open_any

    plan = Plan(names, rivals, mode, backends, batches, sizes, threads, precision, rounds, device, progress)
    opened = {name: open_any(one) for name, one in in_memory.items()}
    result = run_benchmark(replace(plan, trust=trust, in_memory=opened), output)
    if output is not None:
        with stage_if_used(output) as folder:
            write_benchmark(result, folder)
    return result


def _names(models: Sequence[Any]) -> tuple[dict[str, Any], list[str]]:
    """Return the models in memory by name, and the names of all models in order.

    An exported file that was loaded is listed by its path: it is opened again with the benchmark's settings.
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


def _as_list(value: T | Sequence[T]) -> list[Any]:
    """Return one or several values as a list without duplicates."""
    several = isinstance(value, list | tuple)
    return list(dict.fromkeys(value)) if several else [value]  # type: ignore[arg-type]


def _sizes(img_size: int | Sequence[Any]) -> list[tuple[int, int]]:
    """Return heights and widths; a pair of numbers is one size, as in every command."""
    if isinstance(img_size, int):
        return [(img_size, img_size)]
    if all(isinstance(side, int) for side in img_size):
        if len(img_size) != 2:
            raise UserError(f"img_size: {list(img_size)} isn't height and width; pass sizes as [[H, W], [H, W]]")
        return [(img_size[0], img_size[1])]
    return list(dict.fromkeys((height, width) for height, width in img_size))


def _check_choices(mode: Mode, backends: Sequence[Backend], precision: NumberFormat) -> None:
    """Refuse options that do not go together, as far as that can be checked without PyTorch."""
    for backend in backends:
        if mode == "train" and backend not in TRAINING:
            raise UserError(f"backend: {backend} can't train; use one of {', '.join(TRAINING)}, or --mode infer")
        if mode == "infer" and backend == "recompute":
            raise UserError("backend: recompute saves memory in training only; add --mode train, or use eager")
        if backend in (*FORMATS, *MINDSPORE) and precision != "float32":
            raise UserError(f"precision: {backend} supports only float32 here, not {precision}; leave --precision out")
        if backend in FORMATS:
            require_writer(FORMATS[backend], f"backend {backend}")
        if backend in MINDSPORE:
            check_mindspore()
    if mode == "train" and precision == "fp16":
        raise UserError("precision: training in fp16 needs loss scaling, which is not timed here; use bf16")
