"""Train the model of the bundled digits in PyTorch and in MindSpore (`mindspore.train.Model`), and compare.

    uv run --python 3.11 --no-dev --extra mindspore python benchmarks/mindspore_digits.py --epochs 10

Both follow the recipe embedded/digits without augmentation, drop path and gradient clipping, which are random or not
available in MindSpore. They have the same initial weights and see the same batches in the same order, so that only
rounding differs. Accuracies are those of the last epoch on the same held-out images. Times include startup; PyTorch's
include evaluation and saving after every epoch.
"""

from __future__ import annotations

import argparse
import math
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import mindspore as ms
import numpy as np
import torch
from mindspore import Parameter, Tensor, nn
from mindspore.dataset import GeneratorDataset, NumpySlicesDataset
from mindspore.train import Model
from safetensors.torch import save_file

import msgformer
from msgformer.checkpoints.card import ModelCard
from msgformer.config.recipes import load_config
from msgformer.data.classification.subsets import open_subsets
from msgformer.data.files.sources import Source
from msgformer.data.loading.sampling import EpochSampler
from msgformer.data.preprocessing import Preprocessing, eval_transform
from msgformer.mindspore import create_model, load_weights, read_weights
from msgformer.tasks.opened_model import load_model

RECIPE = "embedded/digits"
BATCH, PEAK, FIRST, LAST, WARMUP_EPOCHS, DECAY = 64, 2e-3, 1e-6, 1e-5, 2, 0.05
"""Settings of the recipe: batch size, learning rates, warm-up, weight decay."""

BETAS = 0.9, 0.999


class Trained(NamedTuple):
    """Accuracy on the held-out images in percent, and duration of the training."""

    accuracy: float
    seconds: float


def write_start(path: Path, seed: int) -> dict[str, Any]:
    """Write the initial weights and return the model's settings.

    Args:
        path: File to write.
        seed: Seed of the random generator.
    """
    recipe = load_config(RECIPE)
    settings = {**recipe["model_args"], "drop_path_rate": 0.0}
    torch.manual_seed(seed)
    model = msgformer.create_model(recipe["model"], num_classes=10, img_size=recipe["img_size"], **settings)
    save_file(model.state_dict(), path)
    return settings


def train_pytorch(run: Path, start: Path, settings: dict[str, Any], epochs: int, seed: int) -> Trained:
    """Train with `msgformer.train`.

    Args:
        run: New run folder.
        start: File with the initial weights.
        settings: Model arguments.
        epochs: Number of epochs.
        seed: Seed of the run.
    """
    begun = time.perf_counter()
    msgformer.train(
        config=RECIPE,
        model_args=settings,
        init_from=str(start),
        epochs=epochs,
        seed=seed,
        output=run,
        report=False,
        augment={"enabled": False},
        trainer={"accelerator": "cpu", "gradient_clip_val": None, "progress": "none"},
    )
    seconds = time.perf_counter() - begun
    return Trained(msgformer.evaluate(run / "last.ckpt", device="cpu", progress="none").top1, seconds)


def train_mindspore(card: ModelCard, start: Path, epochs: int, seed: int) -> Trained:
    """Train the same model on the same batches with MindSpore's `Model`.

    Args:
        card: Card of the PyTorch run.
        start: File with the initial weights.
        epochs: Number of epochs.
        seed: Seed of the run.
    """
    begun = time.perf_counter()
    ms.runtime.launch_blocking()  # without it, idle threads wait busily
    train, val, _ = open_subsets(card.data["path"], card.data["val_fraction"], card.data["seed"])
    network = create_model(card.model, img_size=card.img_size, num_classes=len(card.classes), **card.model_args)
    load_weights(network, read_weights(start))
    order = batch_order(len(train.labels), epochs, seed)
    optimizer = build_optimizer(network, learning_rates(epochs, len(order) // (epochs * BATCH)))
    model = Model(network, nn.CrossEntropyLoss(), optimizer, metrics={"accuracy"})
    images = GeneratorDataset(InOrder(*arrays(train, card), order), ["image", "label"], shuffle=False).batch(BATCH)
    model.train(1, images, dataset_sink_mode=False)  # all epochs as one MindSpore epoch
    seconds = time.perf_counter() - begun
    scores = model.eval(NumpySlicesDataset(arrays(val, card), shuffle=False).batch(BATCH), dataset_sink_mode=False)
    return Trained(100 * scores["accuracy"], seconds)


def arrays(source: Source, card: ModelCard) -> tuple[np.ndarray, np.ndarray]:
    """Return all preprocessed images [N, C, H, W] and their labels [N].

    Args:
        source: The images.
        card: Card with the preprocessing.
    """
    transform = eval_transform(Preprocessing.from_dict(card.preprocessing))
    images = [transform(source.load(index)).numpy() for index in range(len(source.labels))]
    return np.stack(images), np.array(source.labels, np.int32)


def batch_order(count: int, epochs: int, seed: int) -> list[int]:
    """Return the indices of the images in the order of `msgformer.train`, in whole batches.

    Args:
        count: Number of images.
        epochs: Number of epochs.
        seed: Seed of the run.
    """
    sampler = EpochSampler(count, seed, shuffle=True, multiple_of=BATCH)
    order: list[int] = []
    for epoch in range(epochs):
        sampler.set_epoch(epoch)
        order += [index for _, index in sampler]
    return order


class InOrder:
    """Images and labels in a given order, with repetitions."""

    def __init__(self, images: np.ndarray, labels: np.ndarray, order: Sequence[int]) -> None:
        self.images, self.labels, self.order = images, labels, order

    def __getitem__(self, place: int) -> tuple[np.ndarray, np.ndarray]:
        """Return the image [C, H, W] at a position, and its label."""
        return self.images[self.order[place]], self.labels[self.order[place]]

    def __len__(self) -> int:
        return len(self.order)


def learning_rates(epochs: int, steps: int) -> list[float]:
    """Return the learning rate of each step: linear warm-up, then a cosine that includes the warm-up.

    Args:
        epochs: Number of epochs.
        steps: Steps per epoch.
    """
    warmup, total = WARMUP_EPOCHS * steps, epochs * steps
    rise = [FIRST + (PEAK - FIRST) * step / warmup for step in range(warmup)]
    fall = [LAST + (PEAK - LAST) * (1 + math.cos(math.pi * step / total)) / 2 for step in range(warmup, total)]
    return rise + fall


def build_optimizer(network: nn.Cell, rates: Sequence[float]) -> nn.AdamWeightDecay:
    """Build PyTorch's AdamW for `Model`, with Adam's bias correction, which `nn.AdamWeightDecay` lacks, in the rates.

    Without it, second moments are a fifth of their correct value after two hundred steps, and steps are more than twice
    too long.

    Args:
        network: The model.
        rates: The learning rate of each step.
    """
    first, second = BETAS
    correction = [math.sqrt(1 - second**step) / (1 - first**step) for step in range(1, len(rates) + 1)]
    corrected = [rate * factor for rate, factor in zip(rates, correction, strict=True)]
    groups = parameter_groups(network, StepDecay([DECAY / factor for factor in correction]))
    return nn.AdamWeightDecay(groups, corrected, first, second, eps=1e-8)


class StepDecay(nn.Cell):
    """Weight decay of each step, which cancels the bias correction in the rates."""

    def __init__(self, decays: Sequence[float]) -> None:
        super().__init__()
        self.decays = Tensor(decays, ms.float32)

    def construct(self, step: Tensor) -> Tensor:
        """Return the decay of a step, counted from 0."""
        return self.decays[step].reshape(())


def parameter_groups(network: nn.Cell, decay: nn.Cell) -> list[dict[str, Any]]:
    """Return parameter groups with weight decay, and without: biases, norm weights, position biases.

    Args:
        network: The model.
        decay: Weight decay by step.
    """
    decayed: list[Parameter] = []
    free: list[Parameter] = []
    for name, parameter in network.parameters_and_names():
        exempt = parameter.ndim <= 1 or name.endswith(("relative_position_bias_table", "rel_pos_msg"))
        (free if exempt else decayed).append(parameter)
    return [{"params": decayed, "weight_decay": decay}, {"params": free, "weight_decay": 0.0}]


def compare(epochs: int, seed: int = 0) -> dict[str, Trained]:
    """Train in both libraries and return the results by library.

    Args:
        epochs: Number of epochs.
        seed: Seed of both trainings.
    """
    with tempfile.TemporaryDirectory() as folder:
        run, start = Path(folder) / "run", Path(folder) / "start.safetensors"
        settings = write_start(start, seed)
        theirs = train_pytorch(run, start, settings, epochs, seed)
        _, card = load_model(run / "last.ckpt")
        return {"PyTorch": theirs, "MindSpore": train_mindspore(card, start, epochs, seed)}


def main() -> None:
    """Train and print the results."""
    parser = argparse.ArgumentParser(description=str(__doc__).partition("\n")[0])
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    for library, result in compare(options.epochs, options.seed).items():
        print(f"{library:10} top-1 {result.accuracy:.2f} %, {result.seconds:.0f} s")


if __name__ == "__main__":
    sys.exit(main())
