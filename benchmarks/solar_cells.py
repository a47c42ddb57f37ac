"""Train four small models from scratch on images of solar cells under one budget, and compare.

    uv run --extra elpv python benchmarks/solar_cells.py --output runs/solar_cells

All follow the recipe examples/elpv and differ only in the model. The seed determines the initial weights, the split
into 1,968 training and 656 held-out images, and the randomness of the training. Finished runs are kept, and a stopped
run is resumed. Scores are those of the last epoch, not of the best one, which is selected on the held-out images.
"""

from __future__ import annotations

import argparse
import csv
import json
import platform
import statistics
from pathlib import Path
from typing import Any

import torch

import msgformer

WINDOWS = {"embed_dim": 32, "depths": [1, 1, 3, 1], "num_heads": [1, 2, 4, 8], "window_size": 4, "drop_path_rate": 0.1}
MODELS: dict[str, dict[str, Any]] = {
    "msg_transformer_tiny": WINDOWS,
    "sgformer_small": {
        "embed_dims": [32, 64, 128, 256],
        "depths": [2, 2, 4, 1],
        "num_heads": [2, 2, 4, 8],
        "drop_path_rate": 0.1,
    },
    "swin_tiny_patch4_window7_224": WINDOWS,
    "resnet10t": {"channels": [32, 64, 128, 256]},
}
"""Models and their small widths. The images are grayscale."""


def main() -> None:
    """Train missing runs, then print the table and write the JSON file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, default=Path("runs/solar_cells"), help="folder of the runs")
    parser.add_argument("--seeds", type=int, default=3, help="runs per model")
    parser.add_argument("--epochs", type=int, default=15, help="epochs per run")
    options = parser.parse_args()
    rows = []
    for name in MODELS:
        scores = [run(name, seed, options.epochs, options.output / f"{name}-{seed}") for seed in range(options.seeds)]
        rows.append({"model": name, "top1": scores})
        spread = statistics.stdev(scores) if len(scores) > 1 else 0.0
        print(f"{name:30} {statistics.mean(scores):6.2f} ± {spread:.2f} %", flush=True)
    machine = {"processor": platform.processor() or platform.machine(), "torch": torch.__version__}
    (options.output / "solar_cells.json").write_text(json.dumps({"machine": machine, "rows": rows}, indent=2) + "\n")


def run(name: str, seed: int, epochs: int, folder: Path) -> float:
    """Train or resume one model and return the accuracy of the last epoch in percent.

    Args:
        name: Key of `MODELS`.
        seed: Seed of the run.
        epochs: Number of epochs.
        folder: Run folder.
    """
    if (folder / "config.yaml").is_file():
        msgformer.train(resume=folder)
    else:
        arguments = {**MODELS[name], "in_chans": 1}
        msgformer.train(
            config="examples/elpv", model=name, model_args=arguments, seed=seed, epochs=epochs, output=folder
        )
    with (folder / "metrics.csv").open(encoding="utf-8") as file:
        return float(list(csv.DictReader(file))[-1]["val/top1"])


if __name__ == "__main__":
    main()
