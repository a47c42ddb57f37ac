"""Train the model of the embedded digits in PyTorch and, by `mindspore.train.Model`, in MindSpore, and compare.

    uv run --python 3.11 --no-dev --extra mindspore python benchmarks/mindspore_digits.py --epochs 10

Both take the settings of the recipe embedded/digits without its augmentation, which is torchvision's, and without
clipping; each draws its own first weights and its own order of images. Accuracies are of the last epoch on the same
held-out images. The times hold what each needs to start, and PyTorch's the scoring and saving after every epoch.
"""

from __future__ import annotations

import argparse
import math
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, NamedTuple

import mindspore as ms
import numpy as np
from mindspore import Parameter, nn
from mindspore.dataset import NumpySlicesDataset
from mindspore.train import Model

import msgformer
from msgformer.data.preprocessing import Preprocessing, eval_transform
from msgformer.data.sources import Source
from msgformer.data.subsets import open_subsets
from msgformer.mindspore import create_model
from msgformer.training.checkpoint import ModelCard, load_model

BATCH, PEAK, FIRST, LAST, WARMUP_EPOCHS, DECAY = 64, 2e-3, 1e-6, 1e-5, 2, 0.05
"""What embedded/digits sets or leaves as it is: images a batch, learning rates, weight decay."""


class Trained(NamedTuple):
    """Accuracy on the held-out images in per cent, and how long the training took."""

    accuracy: float
    seconds: float


def train_pytorch(run: Path, epochs: int) -> Trained:
    """Train by `msgformer.train` into a new run folder."""
    start = time.perf_counter()
    msgformer.train(
        config="embedded/digits",
        epochs=epochs,
        output=run,
        report=False,
        augment={"enabled": False},
        trainer={"accelerator": "cpu", "clip_grad": None, "progress": "none"},
    )
    seconds = time.perf_counter() - start
    return Trained(msgformer.evaluate(run / "last.ckpt", accelerator="cpu", progress="none").top1, seconds)


def train_mindspore(card: ModelCard, epochs: int) -> Trained:
    """Train the same model on the same images by MindSpore's `Model`."""
    start = time.perf_counter()
    ms.set_seed(0)
    ms.runtime.launch_blocking()  # the threads that would prepare the next operators wait busily
    train, val, _ = open_subsets(card.data["path"], card.data["val_fraction"], card.data["seed"])
    images, labels = arrays(train, card)
    network = create_model(card.model, img_size=card.img_size, num_classes=len(card.classes), **card.model_args)
    rates = learning_rates(epochs, math.ceil(len(images) / BATCH))
    optimizer = nn.AdamWeightDecay(parameter_groups(network), rates, eps=1e-8)
    model = Model(network, nn.CrossEntropyLoss(), optimizer, metrics={"accuracy"})
    model.train(epochs, NumpySlicesDataset((images, labels), shuffle=True).batch(BATCH), dataset_sink_mode=False)
    seconds = time.perf_counter() - start
    scores = model.eval(NumpySlicesDataset(arrays(val, card), shuffle=False).batch(BATCH), dataset_sink_mode=False)
    return Trained(100 * scores["accuracy"], seconds)


def arrays(source: Source, card: ModelCard) -> tuple[np.ndarray, np.ndarray]:
    """All images [N, channels, height, width], brought to the model's input, and their labels."""
    transform = eval_transform(Preprocessing.from_dict(card.preprocessing))
    images = [transform(source.load(index)).numpy() for index in range(len(source.labels))]
    return np.stack(images), np.array(source.labels, np.int32)


def learning_rates(epochs: int, steps: int) -> list[float]:
    """The rate of each step: a line up to the peak, then a cosine that counts the warm-up in."""
    warmup, total = WARMUP_EPOCHS * steps, epochs * steps
    rise = [FIRST + (PEAK - FIRST) * step / warmup for step in range(warmup)]
    fall = [LAST + (PEAK - LAST) * (1 + math.cos(math.pi * step / total)) / 2 for step in range(warmup, total)]
    return rise + fall


def parameter_groups(network: nn.Cell) -> list[dict[str, Any]]:
    """What decays, and what doesn't: biases, weights of norms, position biases."""
    decayed: list[Parameter] = []
    free: list[Parameter] = []
    for name, parameter in network.parameters_and_names():
        exempt = parameter.ndim <= 1 or name.endswith(("relative_position_bias_table", "rel_pos_msg"))
        (free if exempt else decayed).append(parameter)
    return [{"params": decayed, "weight_decay": DECAY}, {"params": free, "weight_decay": 0.0}]


def compare(epochs: int) -> dict[str, Trained]:
    """Train in both libraries for as many epochs."""
    with tempfile.TemporaryDirectory() as folder:
        run = Path(folder) / "run"
        theirs = train_pytorch(run, epochs)
        _, card = load_model(run / "last.ckpt")
        return {"PyTorch": theirs, "MindSpore": train_mindspore(card, epochs)}


def main() -> None:
    """Train, and print what came of it."""
    parser = argparse.ArgumentParser(description=str(__doc__).partition("\n")[0])
    parser.add_argument("--epochs", type=int, default=10)
    results = compare(parser.parse_args().epochs)
    for library, result in results.items():
        print(f"{library:10} top-1 {result.accuracy:.2f} %, {result.seconds:.0f} s")


if __name__ == "__main__":
    sys.exit(main())
