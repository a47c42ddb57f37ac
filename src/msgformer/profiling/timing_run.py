"""Prepare models, time them alternately, and compare them."""

from __future__ import annotations

import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from msgformer.checkpoints.model_location import ModelKind, find_model
from msgformer.config.training_options import Progress
from msgformer.errors import UserError
from msgformer.exporters.runtime import read_card
from msgformer.profiling.backends import (
    PreparedModel,
    Setting,
    copy_model,
    export_file,
    prepare_file,
    prepare_mindspore,
    prepare_torch,
)
from msgformer.profiling.benchmark_result import FORMATS, MINDSPORE, Backend, Benchmark, Mode, NumberFormat, Timing
from msgformer.profiling.memory import largest_batch, measure_peak, release
from msgformer.profiling.roofline import Operation, measure_roofline, record_operations
from msgformer.runs.provenance import describe_machine
from msgformer.runs.train_settings import check_compiler
from msgformer.tasks import get_task
from msgformer.tasks.device import find_device
from msgformer.tasks.export.source import ExportSource
from msgformer.tasks.opened_model import OpenedModel, open_model
from msgformer.training.failures import is_out_of_memory
from msgformer.utils.timing import pair_ratios, spread, time_interleaved

FIRST_RUNS, WARM_UP = 2, 2
"""Runs in which a model compiles and allocates memory; warm-up rounds after those."""

MIB = 2**20

Report = Callable[[str], object]
"""Shows the step that begins."""


@dataclass(frozen=True)
class Plan:
    """Arguments of `msgformer.benchmark`, as lists.

    Attributes:
        in_memory: Models in memory, by the names under which they are timed.
    """

    models: list[str]
    against: list[str]
    mode: Mode
    backends: list[Backend]
    batches: list[int]
    sizes: list[tuple[int, int]]
    threads: int | None
    precision: NumberFormat
    rounds: int
    device: str
    progress: Progress
    trust: bool = False
    in_memory: Mapping[str, OpenedModel] = field(default_factory=dict)


class Entry(NamedTuple):
    """A model and a backend to time; the backend is None for an exported file."""

    name: str
    backend: Backend | None

    def __str__(self) -> str:
        return f"{self.name} ({self.backend or read_card(Path(self.name)).format})"


@dataclass(frozen=True)
class Candidate:
    """An entry that is ready to be timed.

    Attributes:
        entry: Model and backend.
        batch: Batch size that fits in memory.
        run: Runs one batch and waits for the result.
        memory: Peak memory in bytes; None if it is unknown.
    """

    entry: Entry
    batch: int
    run: Callable[[], object]
    memory: int | None


def run_benchmark(plan: Plan, output: Path | None) -> Benchmark:
    """Time all models in all backends.

    Args:
        plan: Models, backends, sizes and settings.
        output: Output folder; it is only recorded in the result.

    Returns:
        The result.

    Raises:
        UserError: As for `msgformer.benchmark`.
    """
    device = find_device(plan.device)
    settings = [Setting(plan.mode, plan.precision, device, plan.threads, size, plan.trust) for size in plan.sizes]
    settings[0].check(plan.backends)
    if device.type == "cpu" and "compile" in plan.backends:
        check_compiler("--backend compile")
    entries = _entries(plan)
    first = plan.against[0] if plan.against else plan.models[0]
    reference = next(index for index, entry in enumerate(entries) if entry.name == first)
    total = len(settings) * len(plan.batches) * (len(entries) + 1)
    with settings[0].applied(), _progress(plan.progress, total) as report:
        timings = [timing for setting in settings for timing in _time_size(plan, setting, entries, reference, report)]
        machine = describe_machine()
    mindspore = ["mindspore"] if any(backend in MINDSPORE for backend in plan.backends) else []
    packages = {name: version(name) for name in ("torch", *mindspore, "timm", "msgformer")}
    return Benchmark(
        timings, plan.mode, plan.precision, str(entries[reference]), plan.rounds, device.type, machine, packages, output
    )


def _entries(plan: Plan) -> list[Entry]:
    """Return all models in all backends, and each exported file once.

    Raises:
        UserError: A file does not support the settings.
    """
    entries = []
    for name in dict.fromkeys([*plan.models, *plan.against]):
        is_file = name not in plan.in_memory and find_model(name).kind is ModelKind.EXPORTED
        if not is_file:
            entries += [Entry(name, backend) for backend in plan.backends]
        elif plan.mode == "train" or plan.precision != "float32":
            raise UserError(f"{name} is an exported file, which only infers in its own precision; give its checkpoint")
        else:
            get_task(read_card(Path(name)).task).require_classifier(f"models: {name}")
            entries.append(Entry(name, None))
    return entries


def _time_size(
    plan: Plan, setting: Setting, entries: Sequence[Entry], reference: int, report: Report
) -> Iterator[Timing]:
    """Time all entries for one image size and all batch sizes."""
    names = dict.fromkeys(entry.name for entry in entries if entry.backend is not None)
    sources = {name: _open(plan, name, setting.size) for name in names}
    for batch in plan.batches:
        label = f"batch {batch}, {setting.size[0]} x {setting.size[1]}"
        torch.compiler.reset()  # Dynamo caches all compiled models, and stops compiling when the cache is full
        candidates: list[Candidate] = []
        with tempfile.TemporaryDirectory() as folder:
            for entry in entries:
                report(f"{label}: preparing {entry}")
                candidates.append(_fit(entry, sources.get(entry.name), setting, batch, Path(folder)))
            report(f"{label}: timing")
            yield from _time(candidates, sources, setting, reference, plan.rounds)
        del candidates
        release()


def _open(plan: Plan, name: str, size: tuple[int, int]) -> ExportSource:
    """Open a model for an image size; raise UserError if it does not accept the size."""
    opened = plan.in_memory.get(name) or open_model(find_model(name), img_size=size)
    opened.task.require_classifier(f"models: {name}")
    source = opened.task.export_source(opened, size)
    height, width = size
    try:
        with torch.inference_mode():
            source.module(torch.zeros(1, source.channels, height, width))
    except (AssertionError, RuntimeError, ValueError) as error:
        reason = " ".join(str(error).split())[:160]
        raise UserError(
            f"{name} does not accept images of {height} x {width} ({reason}); give another --img_size"
        ) from error
    return source


def _fit(entry: Entry, source: ExportSource | None, setting: Setting, batch: int, folder: Path) -> Candidate:
    """Prepare an entry for a batch size, which is halved until it fits in memory."""
    found = largest_batch(batch, lambda count: _measured(entry, source, setting, count, folder))
    if found is None:
        height, width = setting.size
        raise UserError(f"out of memory for {entry} even with one image of {height} x {width}; give a smaller size")
    count, (run, memory) = found
    return Candidate(entry, count, run, memory)


def _measured(
    entry: Entry, source: ExportSource | None, setting: Setting, batch: int, folder: Path
) -> tuple[Callable[[], object], int | None]:
    """Return a warmed-up run and its peak memory.

    On a GPU and for exported files, the memory includes loading the model. In PyTorch on a CPU, it is the size of the
    model plus the memory that one run adds, because compilers take more memory than models. MindSpore has one memory
    pool for all of its models, so that the memory of one model is unknown.
    """
    if source is None:
        return _measured_file(Path(entry.name), read_card(Path(entry.name)).channels, setting, batch)
    if entry.backend in FORMATS:
        return _measured_file(export_file(source, entry.backend, batch, folder), source.channels, setting, batch)
    images = setting.images(batch, source.channels)
    if entry.backend in MINDSPORE:
        return _warm_up(prepare_mindspore(source, entry.backend, images, setting)).run, None
    with measure_peak(setting.device) as total:
        model = _warm_up(prepare_torch(source, entry.backend or "eager", images, setting))
    if setting.device.type == "cuda":
        return model.run, total.bytes
    with measure_peak(setting.device) as one_run:
        model.run()
    return model.run, None if one_run.bytes is None else one_run.bytes + model.stored_bytes()


def _measured_file(path: Path, channels: int, setting: Setting, batch: int) -> tuple[Callable[[], object], int | None]:
    images = setting.images(batch, channels).cpu()
    with measure_peak(torch.device("cpu")) as total:
        model = _warm_up(prepare_file(path, images, setting))
    return model.run, total.bytes if setting.device.type == "cpu" else None


def _warm_up(model: PreparedModel) -> PreparedModel:
    for _ in range(FIRST_RUNS):
        model.run()
    return model


def _time(
    candidates: Sequence[Candidate], sources: dict[str, ExportSource], setting: Setting, reference: int, rounds: int
) -> list[Timing]:
    """Measure the rooflines, and time all candidates alternately."""
    try:
        operations = _record_all(candidates, sources, setting) if setting.mode == "infer" else {}
        rooflines = _measure_rooflines(operations)
        seconds = time_interleaved([one.run for one in candidates], rounds, WARM_UP)
        # Measured again: if the machine was slow for a moment, models would seem faster than their roofline.
        rooflines = {key: min(rooflines[key], again) for key, again in _measure_rooflines(operations).items()}
    except Exception as error:
        if not is_out_of_memory(error):
            raise
        raise UserError("out of memory with all models loaded; give fewer models, or a smaller --batch_size") from error
    reference_times = _per_image(candidates[reference], seconds[reference])
    timings = []
    for one, times in zip(candidates, seconds, strict=True):
        ratios = pair_ratios(_per_image(one, times), reference_times)
        timings.append(_timing(one, times, ratios, rooflines.get((one.entry.name, one.batch)), setting.size))
    return timings


def _per_image(one: Candidate, seconds: Sequence[float]) -> list[float]:
    return [time / one.batch for time in seconds]


Operations = dict[tuple[str, int], tuple[Counter[Operation], Tensor]]
"""Recorded operations and the images [B, C, H, W] that they were recorded with, by model and batch size."""


def _record_all(candidates: Sequence[Candidate], sources: dict[str, ExportSource], setting: Setting) -> Operations:
    """Record the operations of each model once for all backends, from the unoptimized model."""
    operations = {}
    for name, batch in dict.fromkeys((one.entry.name, one.batch) for one in candidates):
        if name in sources:
            images = setting.images(batch, sources[name].channels)
            operations[name, batch] = record_operations(copy_model(sources[name], setting), images), images
    return operations


def _measure_rooflines(operations: Operations) -> dict[tuple[str, int], float]:
    """Measure the roofline of each model and batch size, in seconds."""
    return {key: measure_roofline(*recorded) for key, recorded in operations.items()}


def _timing(
    one: Candidate, seconds: list[float], ratios: list[float], roofline: float | None, size: tuple[int, int]
) -> Timing:
    times, relative = spread(seconds), spread(ratios)
    return Timing(
        model=one.entry.name,
        backend=one.entry.backend or read_card(Path(one.entry.name)).format,
        batch=one.batch,
        height=size[0],
        width=size[1],
        ms=1000 * times.median,
        low_ms=1000 * times.low,
        high_ms=1000 * times.high,
        images_per_second=one.batch / times.median,
        ratio=relative.median,
        low_ratio=relative.low,
        high_ratio=relative.high,
        memory_mib=None if one.memory is None else one.memory / MIB,
        floor_ms=None if roofline is None else 1000 * roofline,
        of_limit=None if roofline is None else times.median / roofline,
        seconds=seconds,
    )


@contextmanager
def _progress(kind: Progress, total: int) -> Iterator[Report]:
    """Yield a function that shows on standard error which of ``total`` steps begins."""
    if kind == "bar" or (kind == "auto" and sys.stderr.isatty()):
        from rich.console import Console
        from rich.progress import Progress as Bar

        with Bar(console=Console(stderr=True), transient=True) as bar:
            task = bar.add_task("", total=total)
            yield lambda text: bar.update(task, description=text, advance=1)
    else:
        yield lambda text: None if kind == "none" else print(text, file=sys.stderr, flush=True)
