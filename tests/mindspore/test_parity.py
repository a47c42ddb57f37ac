"""Equal to the papers' released code, as the PyTorch models are: logits, every stage, and all gradients."""

import golden
import mindspore as ms
import numpy as np
import pytest
import torch
from golden import relative_error, stage_errors

from msgformer.mindspore import create_model, sg_former
from msgformer.mindspore.guided_attention import HybridAttention
from msgformer.mindspore.weights import mindspore_name, set_precision, torch_name
from msgformer.model_names import MODELS
from msgformer.models import create_model as create_torch_model


def slow(name):
    return pytest.param(name, marks=pytest.mark.slow)


@pytest.mark.parametrize(
    "name",
    [
        "msg_transformer_v1_tiny",
        slow("msg_transformer_tiny"),
        slow("msg_transformer_tiny_noshuffle"),
        slow("msg_transformer_small"),
        slow("sgformer_small"),
        slow("sgformer_small_448"),
        slow("sgformer_medium"),
    ],
)
def test_outputs_and_gradients_equal_the_released_code(name):
    case = golden.load(name)
    model, image, wanted = case.model(), case.image(), case.arrays
    outputs = model.forward_stages(image)
    assert len(outputs) == 4
    errors = stage_errors(case, model, outputs)
    assert max(errors.values()) <= 1e-9, errors

    cotangent = case.fill("cotangent", wanted["logits"].shape)
    parameters = dict(model.parameters_and_names())
    names = case.parameter_names()
    assert set(names) == set(parameters)

    def loss(image):
        logits = model(image)
        return (logits * cotangent).sum(), logits

    step = ms.value_and_grad(loss, 0, [parameters[name] for name in names], has_aux=True)
    (_, logits), (image_grad, gradients) = step(image)
    assert relative_error(logits.asnumpy(), wanted["logits"]) <= 1e-9
    assert relative_error(image_grad.asnumpy().ravel()[::4999], wanted["input_grad_sample"]) <= 1e-9
    norms = np.array([np.linalg.norm(gradient.asnumpy()) for gradient in gradients])
    # The bias of a merge that every key shares has no influence: its gradient is zero but for rounding.
    scale = np.maximum(wanted["param_grad_norms"], 1e-6 * wanted["param_grad_norms"].max())
    relative = np.abs(norms - wanted["param_grad_norms"]) / scale
    assert relative.max() <= 1e-9, names[relative.argmax()]


@pytest.mark.parametrize(
    "name", ["msg_transformer_tiny", slow("msg_transformer_tiny_noshuffle"), slow("msg_transformer_small")]
)
def test_single_precision(name):
    case = golden.load(name)
    model, image = case.model(ms.float32), case.image(ms.float32)
    outputs = model.forward_stages(image)
    errors = stage_errors(case, model, outputs)
    assert max(errors.values()) <= 1e-4, errors
    logits = model.head(model.final_features(outputs[-1]))
    assert relative_error(logits.asnumpy(), case.arrays["logits"]) <= 1e-4


@pytest.mark.slow
def test_sg_former_in_single_precision(monkeypatch):
    """The first significance map, and then logits with the order of tokens held fixed: near-ties may turn in it."""
    case = golden.load("sgformer_small")
    wanted = case.arrays["logits"]
    maps, orders = [], []

    def keep(cell, inputs, output):
        maps.append(output[1].asnumpy())

    for rank in ("rank_by_row", "rank_by_column"):
        original = getattr(sg_former, rank)
        monkeypatch.setattr(sg_former, rank, lambda s, rank=original: orders.append(rank(s)) or orders[-1])
    model = case.model()
    first = next(cell for _, cell in model.cells_and_names() if isinstance(cell, HybridAttention))
    first.register_forward_hook(keep)
    assert relative_error(model(case.image()).asnumpy(), wanted) <= 1e-9

    for rank in ("rank_by_row", "rank_by_column"):
        monkeypatch.setattr(sg_former, rank, lambda _: orders.pop(0))
    single = set_precision(model, ms.float32)
    assert relative_error(single(case.image(ms.float32)).asnumpy(), wanted) <= 1e-4
    assert relative_error(maps[1], maps[0]) <= 1e-4
    assert not orders


@pytest.mark.parametrize("name", MODELS)
def test_parameters_equal_the_pytorch_model(name):
    with torch.device("meta"):
        wanted = {key: tuple(value.shape) for key, value in create_torch_model(name).state_dict().items()}
    given = {key: tuple(value.shape) for key, value in create_model(name).parameters_and_names()}
    assert {torch_name(key): shape for key, shape in given.items()} == wanted
    assert {mindspore_name(key): shape for key, shape in wanted.items()} == given
