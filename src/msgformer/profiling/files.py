"""Files of a benchmark: JSON, CSV and plots."""

from __future__ import annotations

import csv
from dataclasses import asdict, fields
from pathlib import Path

from msgformer.profiling.benchmark_result import JSON, Benchmark, Timing
from msgformer.profiling.plots import Point, latency_plot, throughput_plot
from msgformer.runs.output_folder import new_run
from msgformer.visual.plots import Plot

CSV = "benchmark.csv"


def write_benchmark(result: Benchmark, folder: Path) -> None:
    """Write ``benchmark.json``, ``benchmark.csv``, and the plots ``latency`` and ``throughput`` as .svg and .png.

    Args:
        result: Result of a benchmark.
        folder: Folder to create.

    Raises:
        UserError: The folder can't be created.
    """
    new_run(folder, "benchmark")
    (folder / JSON).write_text(f"{result.render(as_json=True)}\n", encoding="utf-8")
    columns = [field.name for field in fields(Timing) if field.name != "seconds"]
    with (folder / CSV).open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, columns, extrasaction="ignore")
        writer.writeheader()
        writer.writerows(map(asdict, result.timings))
    for plot in benchmark_plots(result):
        (folder / f"{plot.name}.svg").write_text(plot.svg, encoding="utf-8")
        (folder / f"{plot.name}.png").write_bytes(plot.png)


def benchmark_plots(result: Benchmark) -> list[Plot]:
    """Plot the latency if there are several image sizes, and the throughput if there are several batch sizes."""
    points = [
        Point(
            line=f"{one.model}, {one.backend}",
            batch=one.batch,
            size=(one.height, one.width),
            ms=one.ms,
            low_ms=one.low_ms,
            high_ms=one.high_ms,
        )
        for one in result.timings
    ]
    plots = []
    if len({point.size for point in points}) > 1:
        plots.append(latency_plot(points))
    if len({point.batch for point in points}) > 1:
        plots.append(throughput_plot(points))
    return plots
