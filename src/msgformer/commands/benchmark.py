"""``msgformer benchmark``: how fast models are on this machine, beside each other and beside what it could do."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

from msgformer.config.constraints import check_choices, check_ranges
from msgformer.config.training_options import Progress
from msgformer.errors import UserError
from msgformer.exporters.packages import require_writer
from msgformer.mindspore_backend import check_mindspore
from msgformer.model_types import ModelsLike
from msgformer.profiling.benchmark_result import FORMATS, MINDSPORE, TRAINING, Backend, Benchmark, Mode, NumberFormat
from msgformer.runs.output_folder import check_new_folder
from msgformer.runs.train_settings import check_model

T = TypeVar("T")


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
        mode: "infer", or "train" for whole training steps: forward, backward and the recipe's optimizer.
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
        UserError: There is no such model or device, something isn't possible together, a model doesn't take such
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

    from msgformer.profiling.files import write_benchmark
    from msgformer.profiling.timing_run import Plan, run_benchmark
    from msgformer.tasks.loaded_model import open_any

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
