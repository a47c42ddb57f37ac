"""Measure the throughput of the data pipeline, alone and with a model: the table in docs/data.md.

    python benchmarks/data_pipeline.py --output data_pipeline.json

The images are photographs of scikit-image as JPEGs of 500 x 375 pixels (ImageNet's size) and of 4000 x 3000 pixels (a
camera's). Each process has one thread. "timm" is the pipeline of this package, with Pillow and timm. "torchvision" is
the equivalent with torchvision's JPEG decoder and tensor transforms, which this package does not use.
"""

from __future__ import annotations

import argparse
import io
import json
import platform
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from skimage import data as photographs
from torch.utils.data import DataLoader
from torchvision.io import decode_jpeg
from torchvision.transforms import v2

from msgformer.config.data_options import AugmentOptions
from msgformer.data.classification.samples import Samples
from msgformer.data.files.images import read_image
from msgformer.data.files.sources import EncodedSource
from msgformer.data.loading.module import make_loader
from msgformer.data.loading.sampling import EpochSampler
from msgformer.data.preprocessing import Preprocessing, eval_transform, train_transform
from msgformer.models import create_model

NAMES = ("astronaut", "chelsea", "coffee", "rocket")
SIZES = {"500 x 375": (500, 375), "4000 x 3000": (4000, 3000)}
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
AUGMENTS = {
    "ImageNet": AugmentOptions(),
    "fine-tuning": AugmentOptions(scale=(0.35, 1.0), auto_augment="rand-m7-mstd0.5-inc1", erasing=0.1),
    "crop and flip": AugmentOptions(auto_augment=None, color_jitter=0.0, erasing=0.0),
}


class Photographs(EncodedSource):
    """A few JPEGs in memory, repeated."""

    classes = ("photograph",)

    def __init__(self, encoded: list[bytes], count: int) -> None:
        self.encoded = encoded
        self.labels = (0,) * count

    def name(self, index: int) -> str:
        """Return the index as a string."""
        return str(index)

    def open(self, index: int) -> io.BytesIO:
        """Return one of the JPEGs."""
        return io.BytesIO(self.encoded[index % len(self.encoded)])


def encode(size: tuple[int, int]) -> list[bytes]:
    """Return the photographs as JPEGs of one size."""
    encoded = []
    for name in NAMES:
        buffer = io.BytesIO()
        Image.fromarray(getattr(photographs, name)()).convert("RGB").resize(size).save(buffer, "JPEG", quality=90)
        encoded.append(buffer.getvalue())
    return encoded


def rate(work: Callable[[int], object], seconds: float) -> float:
    """Measure calls of `work` per second, after a warm-up.

    Args:
        work: Function of the index of the call.
        seconds: Duration of the measurement.
    """
    for number in range(len(NAMES)):
        work(number)
    done, start = 0, time.perf_counter()
    while (passed := time.perf_counter() - start) < seconds:
        work(done)
        done += 1
    return done / passed


def settings(draft: bool = False) -> Preprocessing:
    """Return ImageNet's preprocessing at 224 pixels."""
    return Preprocessing((3, 224, 224), "bicubic", MEAN, STD, 0.9, "center", draft)


def torchvision_transform() -> Callable[[torch.Tensor], torch.Tensor]:
    """Return torchvision tensor transforms that are closest to the ImageNet recipe."""
    stages = [v2.RandomResizedCrop(224), v2.RandomHorizontalFlip(), v2.RandAugment()]
    return v2.Compose([*stages, v2.ToDtype(torch.float32, scale=True), v2.Normalize(MEAN, STD), v2.RandomErasing(0.25)])


def measure_steps(encoded: list[bytes], seconds: float) -> dict[str, float]:
    """Measure images per second of each step, in this process only.

    Args:
        encoded: JPEGs.
        seconds: Duration per step.
    """
    source = Photographs(encoded, len(encoded))
    bytes_of = [torch.frombuffer(bytearray(one), dtype=torch.uint8) for one in encoded]
    count, augment = len(encoded), torchvision_transform()
    rates = {
        "decode, Pillow": rate(lambda i: source.load(i % count), seconds),
        "decode, Pillow, draft": rate(lambda i: source.load(i % count, settings(draft=True).min_side), seconds),
        "decode, torchvision": rate(lambda i: decode_jpeg(bytes_of[i % count]), seconds),
        "ImageNet, torchvision": rate(lambda i: augment(decode_jpeg(bytes_of[i % count])), seconds),
    }
    for draft in (False, True):
        preprocessing, mark = settings(draft), ", draft" if draft else ""
        for name, transform in {
            "evaluation": eval_transform(preprocessing),
            **{name: train_transform(preprocessing, options) for name, options in AUGMENTS.items()},
        }.items():
            samples = Samples(source, transform, min_side=preprocessing.min_side)
            rates[f"{name}, timm{mark}"] = rate(lambda i, samples=samples: samples[0, i % count], seconds)
    return rates


def measure_loader(encoded: list[bytes], workers: int, count: int, model: torch.nn.Module | None) -> float:
    """Measure images per second of the training loader with the ImageNet recipe.

    Args:
        encoded: JPEGs.
        workers: Number of worker processes.
        count: Number of images.
        model: Run a forward and backward pass of this model on each batch; None for the loader only.
    """
    samples = Samples(Photographs(encoded, count), train_transform(settings(), AugmentOptions()))
    loader: DataLoader[Any] = make_loader(samples, EpochSampler(count, 0, shuffle=True), 32, workers)
    batches = iter(loader)
    next(batches)  # starts the workers
    start = time.perf_counter()
    seen = 0
    for images, *_ in batches:
        if model is not None:
            model(images).square().mean().backward()
        seen += len(images)
    return seen / (time.perf_counter() - start)


def difference() -> dict[str, float]:
    """Return the mean and largest difference of evaluation pixels with draft decoding, in levels of 255."""
    worst, total = 0.0, 0.0
    for one in encode(SIZES["4000 x 3000"]):
        whole, draft = (
            eval_transform(preprocessing)(read_image(io.BytesIO(one), "photograph", preprocessing.min_side))
            for preprocessing in (settings(), settings(draft=True))
        )
        error = (whole - draft).abs() * torch.tensor(STD)[:, None, None] * 255
        worst, total = max(worst, error.max().item()), total + error.mean().item()
    return {"mean": total / len(NAMES), "largest": worst}


def main() -> None:
    """Measure, print a table and write JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=3.0, help="seconds per step")
    parser.add_argument("--images", type=int, default=512, help="images per loader measurement")
    parser.add_argument("--model", default="msg_transformer_tiny", help="model that trains on the batches")
    parser.add_argument("--output", type=Path, default=Path("data_pipeline.json"), help="JSON file to write")
    options = parser.parse_args()
    torch.set_num_threads(1)
    encoded = {name: encode(size) for name, size in SIZES.items()}
    results: dict[str, Any] = {
        "machine": {"processor": platform.processor() or platform.machine(), "torch": torch.__version__},
        "steps": {name: measure_steps(jpegs, options.seconds) for name, jpegs in encoded.items()},
        "draft_difference": difference(),
        "loader": {},
    }
    small = encoded["500 x 375"]
    for workers in (1, 2):
        results["loader"][f"{workers} worker(s), alone"] = measure_loader(small, workers, options.images, None)
    model = create_model(options.model, num_classes=1000)
    for workers in (1, 2):
        rate_with_model = measure_loader(small, workers, min(options.images, 160), model)
        results["loader"][f"{workers} worker(s), {options.model}"] = rate_with_model
    print_table(results)
    options.output.write_text(json.dumps(results, indent=2))


def print_table(results: dict[str, Any]) -> None:
    """Print images per second, one line per step."""
    print(f"{'images per second, one process':36}" + "".join(f"{name:>14}" for name in SIZES))
    for step in results["steps"]["500 x 375"]:
        print(f"{step:36}" + "".join(f"{results['steps'][name][step]:14.1f}" for name in SIZES))
    for name, value in results["loader"].items():
        print(f"loader, {name:28}{value:14.1f}")
    difference = results["draft_difference"]
    mean, largest = difference["mean"], difference["largest"]
    print(f"draft decoding changes evaluation pixels by {mean:.2f} of 255 levels on average, {largest:.0f} at most")


if __name__ == "__main__":
    main()
