"""What a benchmark measured: one record per model, backend, size and batch."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from msgformer.checkpoints.export_card import Format
from msgformer.utils.result import Result, text_table

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
