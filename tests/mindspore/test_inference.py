"""MindSpore models as functions of arrays."""

import mindspore as ms
import numpy as np
import pytest
from golden import relative_error
from small import SMALL, pair

from models.fill import fill
from msgformer.errors import UserError
from msgformer.mindspore import classifier


@pytest.mark.parametrize("graph", [False, True])
@pytest.mark.parametrize("kind", ["overlapping", "sg_former"])
def test_logits_equal_pytorch_at_any_size(kind, graph):
    one = {"depths": (1, 1)}  # self-guided blocks, every second one, may rank nearly equal tokens otherwise
    theirs, _ = pair(kind, ms.float32, **one)
    name, settings = SMALL[kind]
    weights = {key: value.numpy() for key, value in theirs.state_dict().items()}
    ask = classifier(name, weights, graph=graph, num_classes=5, **{**settings, **one})
    for size in ((64, 64), (83, 122)):
        image = fill("image", (2, 3, *size))
        logits = ask(image.numpy())
        assert (type(logits), logits.dtype) == (np.ndarray, np.float32)
        assert relative_error(logits, theirs(image).detach()) <= 1e-5


def test_weights_of_another_model_are_an_error():
    name, settings = SMALL["overlapping"]
    with pytest.raises(UserError, match="is missing in the weights"):
        classifier(name, {}, **settings)


@pytest.mark.parametrize("kind", ["overlapping", "sg_former"])
def test_parameter_names_are_unchanged_by_inference(kind):
    _, model = pair(kind, ms.float32)
    image = ms.Tensor(fill("image", (1, 3, 64, 64)).numpy(), ms.float32)
    model(image)
    assert all(value.name == name for name, value in model.parameters_and_names())
