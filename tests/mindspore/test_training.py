"""Training with MindSpore's `Model` on the digits of scikit-learn."""

import sys
from importlib import import_module
from pathlib import Path

import mindspore as ms
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from mindspore import nn
from mindspore.dataset import NumpySlicesDataset
from mindspore.train import Model
from sklearn.datasets import load_digits

from msgformer.mindspore import create_model, load_weights, torch_name
from msgformer.models import create_model as create_torch_model

sys.path.append(str(Path(__file__).parents[2] / "benchmarks"))
benchmark = import_module("mindspore_digits")  # by its name, under which MindSpore looks for a graph's source

SMALL = dict(
    img_size=64,
    embed_dim=16,
    depths=(1, 1, 1),
    num_heads=(1, 2, 4),
    window_size=4,
    shuffle_sizes=(4, 4, 4),
    in_chans=1,
    num_classes=10,
)


def digits(count):
    """The first images and labels; each of the 8 x 8 pixels becomes 8 x 8."""
    data = load_digits()
    images = ((data.images[:count] / 16 - 0.3) / 0.37).astype(np.float32)
    return np.kron(images, np.ones((1, 8, 8), np.float32))[:, None], data.target[:count].astype(np.int32)


def test_a_step_changes_every_parameter_and_lowers_the_loss():
    images, labels = digits(16)
    model = create_model("msg_transformer_tiny", **SMALL)
    before = {name: value.asnumpy().copy() for name, value in model.parameters_and_names()}
    loss = nn.CrossEntropyLoss()
    first = loss(model(ms.Tensor(images)), ms.Tensor(labels)).asnumpy()
    optimizer = nn.AdamWeightDecay(model.trainable_params(), 2e-3, weight_decay=0.05)
    Model(model, loss, optimizer).train(
        1, NumpySlicesDataset((images, labels), shuffle=False).batch(16), dataset_sink_mode=False
    )
    model.set_train(False)
    assert loss(model(ms.Tensor(images)), ms.Tensor(labels)).asnumpy() < first
    same = {name for name, value in model.parameters_and_names() if (value.asnumpy() == before[name]).all()}
    assert same == set()


def test_optimizer_equals_pytorch():
    """Steps of AdamW with a rate that changes, from the same weights on the same images."""
    images, labels = digits(24)
    rates = [1e-3, 2e-3, 3e-3, 1e-3, 1e-4, 1e-2]
    theirs, ours = pair_of_digits()
    optimizer = benchmark.build_optimizer(ours, rates)
    loss = nn.CrossEntropyLoss()
    step = ms.nn.TrainOneStepCell(ms.nn.WithLossCell(ours, loss), optimizer)
    decayed, free = [], []
    for name, value in theirs.named_parameters():
        (free if value.ndim < 2 or "rel" in name.split(".")[-1] else decayed).append(value)
    groups = [{"params": decayed, "weight_decay": 0.05}, {"params": free, "weight_decay": 0.0}]
    wanted = torch.optim.AdamW(groups, betas=(0.9, 0.999), eps=1e-8)
    for number, rate in enumerate(rates):
        batch = slice(4 * number, 4 * number + 4)
        for group in wanted.param_groups:
            group["lr"] = rate
        value = F.cross_entropy(theirs(torch.from_numpy(images[batch])), torch.from_numpy(labels[batch]).long())
        assert step(ms.Tensor(images[batch]), ms.Tensor(labels[batch])).asnumpy() == pytest.approx(value.item(), 1e-4)
        wanted.zero_grad()
        value.backward()
        wanted.step()
    # What hardly influences the loss, such as the biases of keys, moves by the rounding of its gradient.
    own = {torch_name(name): value.asnumpy() for name, value in ours.parameters_and_names()}
    apart = [np.abs(value.detach().numpy() - own[name]).ravel() for name, value in theirs.named_parameters()]
    assert (np.concatenate(apart) < 1e-3).mean() > 0.95


def pair_of_digits():
    """The same small model in both libraries, in training mode."""
    theirs = create_torch_model("msg_transformer_tiny", **SMALL, drop_path_rate=0.0).train()
    ours = create_model("msg_transformer_tiny", **SMALL, drop_path_rate=0.0).set_train()
    load_weights(ours, {name: value.numpy() for name, value in theirs.state_dict().items()})
    return theirs, ours


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_digits_accuracy_equals_pytorch():
    results = benchmark.compare(epochs=10)
    assert results["PyTorch"].accuracy > 90
    assert results["MindSpore"].accuracy == pytest.approx(results["PyTorch"].accuracy, abs=1)
