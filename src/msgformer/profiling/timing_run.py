"""Models made ready, timed in turns, and set beside each other."""

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
    Ready,
    Setting,
    exported_file,
    plain,
    ready_from_file,
    ready_in_mindspore,
    ready_in_torch,
)
from msgformer.profiling.benchmark_result import FORMATS, MINDSPORE, Backend, Benchmark, Mode, NumberFormat, Timing
from msgformer.profiling.memory import is_out_of_memory, largest_batch, release, watch_peak
from msgformer.profiling.roofline import Operation, floor_seconds, record
from msgformer.runs.provenance import describe_machine
from msgformer.runs.train_settings import check_compiler
from msgformer.tasks import get_task
from msgformer.tasks.device import find_device
from msgformer.tasks.export.source import ExportSource
from msgformer.tasks.opened_model import OpenedModel, open_model
from msgformer.utils.timing import pair_ratios, spread, time_interleaved

FIRST_RUNS, WARM_UP = 2, 2
"""Runs in which a model compiles and finds its memory; rounds after those, which aren't timed either."""

MIB = 2**20

Tell = Callable[[str], object]


@dataclass(frozen=True)
class Plan:
    """The arguments of :func:`msgformer.benchmark`, as lists.

    Attributes:
        in_memory: Models that are given as such, by the names under which they are timed.
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
    accelerator: str
    progress: Progress
    trust: bool = False
    in_memory: Mapping[str, OpenedModel] = field(default_factory=dict)


class Entry(NamedTuple):
    """What is timed: a model in a backend; in its own, None, if it is an exported file."""

    name: str
    backend: Backend | None

    def __str__(self) -> str:
        return f"{self.name} ({self.backend or read_card(Path(self.name)).format})"


@dataclass(frozen=True)
class Contestant:
    """An entry that is ready.

    Attributes:
        entry: What it is.
        batch: Images that fitted in memory.
        run: One batch, to its end.
        memory: Most bytes that it took; None: unknown.
    """

    entry: Entry
    batch: int
    run: Callable[[], object]
    memory: int | None


def run_benchmark(plan: Plan, output: Path | None) -> Benchmark:
    """Time everything.

    Args:
        plan: What, and how.
        output: For the result alone.

    Raises:
        UserError: see :func:`msgformer.benchmark`.
    """
    device = find_device(plan.accelerator)
    settings = [Setting(plan.mode, plan.precision, device, plan.threads, size, plan.trust) for size in plan.sizes]
    settings[0].check(plan.backends)
    if device.type == "cpu" and "compile" in plan.backends:
        check_compiler("--backend compile")
    entries = _entries(plan)
    first = plan.against[0] if plan.against else plan.models[0]
    reference = next(index for index, entry in enumerate(entries) if entry.name == first)
    total = len(settings) * len(plan.batches) * (len(entries) + 1)
    with settings[0].applied(), _told(plan.progress, total) as tell:
        timings = [timing for setting in settings for timing in _time_size(plan, setting, entries, reference, tell)]
        machine = describe_machine()
    beside = ["mindspore"] if any(backend in MINDSPORE for backend in plan.backends) else []
    packages = {name: version(name) for name in ("torch", *beside, "timm", "msgformer")}
    return Benchmark(
        timings, plan.mode, plan.precision, str(entries[reference]), plan.rounds, device.type, machine, packages, output
    )


def _entries(plan: Plan) -> list[Entry]:
    """All models in all backends, exported files once.

    Raises:
        UserError: a file can't be timed so.
    """
    entries = []
    for name in dict.fromkeys([*plan.models, *plan.against]):
        is_file = name not in plan.in_memory and find_model(name, "models").kind is ModelKind.EXPORTED
        if not is_file:
            entries += [Entry(name, backend) for backend in plan.backends]
        elif plan.mode == "train" or plan.precision != "float32":
            raise UserError(f"{name} is an exported file, which answers in its own precision; give its checkpoint")
        else:
            get_task(read_card(Path(name)).task).require_classifier(f"models: {name}")
            entries.append(Entry(name, None))
    return entries


def _time_size(plan: Plan, setting: Setting, entries: Sequence[Entry], reference: int, tell: Tell) -> Iterator[Timing]:
    """All entries with images of one size, batch by batch."""
    names = dict.fromkeys(entry.name for entry in entries if entry.backend is not None)
    sources = {name: _open(plan, name, setting.size) for name in names}
    for batch in plan.batches:
        about = f"batch {batch}, {setting.size[0]} x {setting.size[1]}"
        torch._dynamo.reset()  # or it would remember all that was compiled, and refuse at last to compile more
        contestants: list[Contestant] = []
        with tempfile.TemporaryDirectory() as folder:
            for entry in entries:
                tell(f"{about}: getting {entry} ready")
                contestants.append(_fit(entry, sources.get(entry.name), setting, batch, Path(folder)))
            tell(f"{about}: timing")
            yield from _time(contestants, sources, setting, reference, plan.rounds)
        del contestants
        release()


def _open(plan: Plan, name: str, size: tuple[int, int]) -> ExportSource:
    """A model that takes images of this size; raises UserError if there is none."""
    opened = plan.in_memory.get(name) or open_model(find_model(name, "models"), img_size=size)
    opened.task.require_classifier(f"models: {name}")
    source = opened.task.export_source(opened, size)
    height, width = size
    try:
        with torch.inference_mode():
            source.module(torch.zeros(1, source.channels, height, width))
    except (AssertionError, RuntimeError, ValueError) as error:
        reason = " ".join(str(error).split())[:160]
        raise UserError(f"{name} takes no images of {height} x {width} ({reason}); give another --img_size") from error
    return source


def _fit(entry: Entry, source: ExportSource | None, setting: Setting, batch: int, folder: Path) -> Contestant:
    """An entry ready for a batch, or for the largest half, quarter, ... of it that fits in memory."""
    found = largest_batch(batch, lambda count: _measured(entry, source, setting, count, folder))
    if found is None:
        height, width = setting.size
        raise UserError(f"memory runs out for {entry} even with one image of {height} x {width}; give a smaller size")
    count, (run, memory) = found
    return Contestant(entry, count, run, memory)


def _measured(
    entry: Entry, source: ExportSource | None, setting: Setting, batch: int, folder: Path
) -> tuple[Callable[[], object], int | None]:
    """A run that has been warmed up, and the most memory that it took.

    On a GPU, and for exported files, that is counted from before the model was there. In PyTorch on a CPU it is what
    one run adds, and what the model keeps, for compilers take more than models. MindSpore keeps memory for all of its
    models together, so that what one takes isn't known.
    """
    if source is None:
        return _measured_file(Path(entry.name), read_card(Path(entry.name)).channels, setting, batch)
    if entry.backend in FORMATS:
        return _measured_file(exported_file(source, entry.backend, batch, folder), source.channels, setting, batch)
    images = setting.images(batch, source.channels)
    if entry.backend in MINDSPORE:
        return _warmed(ready_in_mindspore(source, entry.backend, images, setting)).run, None
    with watch_peak(setting.device) as whole:
        ready = _warmed(ready_in_torch(source, entry.backend or "eager", images, setting))
    if setting.device.type == "cuda":
        return ready.run, whole.bytes
    with watch_peak(setting.device) as once:
        ready.run()
    return ready.run, None if once.bytes is None else once.bytes + ready.stored_bytes()


def _measured_file(path: Path, channels: int, setting: Setting, batch: int) -> tuple[Callable[[], object], int | None]:
    images = setting.images(batch, channels).cpu()
    with watch_peak(torch.device("cpu")) as whole:
        ready = _warmed(ready_from_file(path, images, setting))
    return ready.run, whole.bytes if setting.device.type == "cpu" else None


def _warmed(ready: Ready) -> Ready:
    for _ in range(FIRST_RUNS):
        ready.run()
    return ready


def _time(
    contestants: Sequence[Contestant], sources: dict[str, ExportSource], setting: Setting, reference: int, rounds: int
) -> list[Timing]:
    """Floors, then times of all in turns."""
    try:
        products = _products(contestants, sources, setting) if setting.mode == "infer" else {}
        floors = _floors(products)
        seconds = time_interleaved([one.run for one in contestants], rounds, WARM_UP)
        # Once more: a machine that was slow for a moment would make models seem faster than it lets them be.
        floors = {which: min(floors[which], again) for which, again in _floors(products).items()}
    except Exception as error:
        if not is_out_of_memory(error):
            raise
        raise UserError("memory runs out with all models side by side; give fewer, or a smaller --batch") from error
    first = _for_an_image(contestants[reference], seconds[reference])
    timings = []
    for one, taken in zip(contestants, seconds, strict=True):
        ratios = pair_ratios(_for_an_image(one, taken), first)
        timings.append(_timing(one, taken, ratios, floors.get((one.entry.name, one.batch)), setting.size))
    return timings


def _for_an_image(one: Contestant, seconds: Sequence[float]) -> list[float]:
    return [taken / one.batch for taken in seconds]


Products = dict[tuple[str, int], tuple[Counter[Operation], Tensor]]
"""What models compute, and for what images, by model and batch."""


def _products(contestants: Sequence[Contestant], sources: dict[str, ExportSource], setting: Setting) -> Products:
    """One for all backends, as it is of the model as it is written."""
    products = {}
    for name, batch in dict.fromkeys((one.entry.name, one.batch) for one in contestants):
        if name in sources:
            images = setting.images(batch, sources[name].channels)
            products[name, batch] = record(plain(sources[name], setting), images), images
    return products


def _floors(products: Products) -> dict[tuple[str, int], float]:
    """Seconds of the floor, measured now."""
    return {which: floor_seconds(*operations) for which, operations in products.items()}


def _timing(
    one: Contestant, seconds: list[float], ratios: list[float], floor: float | None, size: tuple[int, int]
) -> Timing:
    times, against = spread(seconds), spread(ratios)
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
        ratio=against.median,
        low_ratio=against.low,
        high_ratio=against.high,
        memory_mib=None if one.memory is None else one.memory / MIB,
        floor_ms=None if floor is None else 1000 * floor,
        of_limit=None if floor is None else times.median / floor,
        seconds=seconds,
    )


@contextmanager
def _told(kind: Progress, total: int) -> Iterator[Tell]:
    """A function that tells on standard error what is begun, one of ``total`` steps."""
    if kind == "bar" or (kind == "auto" and sys.stderr.isatty()):
        from rich.console import Console
        from rich.progress import Progress as Bar

        with Bar(console=Console(stderr=True), transient=True) as bar:
            task = bar.add_task("", total=total)
            yield lambda text: bar.update(task, description=text, advance=1)
    else:
        yield lambda text: None if kind == "none" else print(text, file=sys.stderr, flush=True)
