"""Result of a benchmark: one record per model, backend, image size and batch size."""

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
"""Backends that run exported files, and their formats."""

MINDSPORE: tuple[Backend, ...] = ("mindspore", "mindspore-graph")
"""Backends that run in MindSpore: eagerly, and as a graph."""

TRAINING: tuple[Backend, ...] = ("eager", "compile", "cudagraphs", "recompute")
"""Backends that can train; the last one is only for training."""

JSON = "benchmark.json"
"""File of the whole result in the output folder."""

HEADER = (
    "MODEL", "BACKEND", "BATCH", "SIZE", "MS", "QUARTILES", "IMAGES/S", "RATIO", "QUARTILES", "MIB", "X ROOFLINE"
)  # fmt: skip


@dataclass(frozen=True)
class Timing:
    """Time of one model in one backend, for one image size and batch size.

    Attributes:
        model: Name or file of the model.
        backend: Backend; for an exported file, its format.
        batch: Images per batch; fewer than requested if those did not fit in memory.
        height: Height of the images in pixels.
        width: Width of the images in pixels.
        ms: Median milliseconds per batch, or per training step in the mode "train".
        low_ms: Lower quartile of the milliseconds.
        high_ms: Upper quartile of the milliseconds.
        images_per_second: Images per second at the median time.
        ratio: Median over the rounds of the time per image divided by that of the reference in the same round.
        low_ratio: Lower quartile of the ratio.
        high_ratio: Upper quartile of the ratio.
        memory_mib: Peak memory including weights, in MiB; None if it can't be measured.
        floor_ms: Roofline: the sum of the model's matrix products and convolutions, each at the fastest time measured
            for it; None in training, and for exported files given as models.
        of_limit: Median time divided by ``floor_ms``, shown as "x of roofline".
        seconds: Time of each round.
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
        """Return the row of the table."""
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
    """Result of `msgformer.benchmark`.

    Attributes:
        timings: One record per model, backend, image size and batch size.
        mode: "infer" or "train".
        precision: Number format.
        reference: Model and backend that the ratios are relative to.
        rounds: Number of timed rounds.
        device: "cpu" or "cuda".
        machine: System, processor, cores, threads, memory, GPUs.
        packages: Versions of the libraries.
        output: Folder that the result was written to.
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
        """Return one row per timing, and the settings."""
        rows = [timing.cells() for timing in self.timings]
        processor = self.machine["gpus"][0] if self.device == "cuda" else self.machine["processor"]
        about = f"{self.mode}, {self.precision}, {self.rounds} interleaved rounds, ratios to {self.reference}"
        where = f"{processor}, {self.machine['threads']} of {self.machine['cores']} cores"
        versions = ", ".join(f"{name} {number}" for name, number in self.packages.items())
        written = [] if self.output is None else [f"written to {self.output}"]
        return "\n".join([text_table(HEADER, rows), "", about, f"{where}; {versions}", *written])
