"""Training by MindSpore's own `Model`, on the digits that come with scikit-learn."""

import runpy
from pathlib import Path

import mindspore as ms
import numpy as np
import pytest
from mindspore import nn
from mindspore.dataset import NumpySlicesDataset
from mindspore.train import Model
from sklearn.datasets import load_digits

from msgformer.mindspore import create_model

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


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_it_learns_the_digits_as_well_as_in_pytorch():
    compare = runpy.run_path(str(Path(__file__).parents[2] / "benchmarks" / "mindspore_digits.py"))["compare"]
    results = compare(epochs=10)
    assert results["PyTorch"].accuracy > 90
    assert results["MindSpore"].accuracy >= results["PyTorch"].accuracy - 1
