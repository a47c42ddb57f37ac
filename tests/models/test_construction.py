"""Models with device and dtype arguments, and models created on the meta device, as in timm."""

import pytest
import timm
import torch
from timm.models._manipulate import reinit_non_persistent_buffers

from msgformer.model_names import MODELS
from msgformer.models import register_exchange
from msgformer.models.exchange import _EXCHANGES, GridExchange

from .variants import FAMILIES, VARIANTS, image, make


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_dtype_argument_equals_conversion(variant, dtype):
    made, converted = make(variant, dtype=dtype), make(variant).to(dtype)
    for state in (converted.state_dict(), dict(converted.named_buffers())):
        own = {**made.state_dict(), **dict(made.named_buffers())}
        assert {name: (own[name].dtype, own[name].shape) for name in state} == {
            name: (value.dtype, value.shape) for name, value in state.items()
        }
    made.load_state_dict(converted.state_dict())
    x = image().to(dtype)
    with torch.no_grad():
        assert torch.equal(made(x), converted(x))


@pytest.mark.parametrize("variant", VARIANTS)
def test_default_dtype_gives_the_same_initial_weights(variant):
    plain, explicit = make(variant), make(variant, device="cpu", dtype=torch.float32)
    assert list(plain.state_dict()) == list(explicit.state_dict())
    for one, other in zip(plain.state_dict().values(), explicit.state_dict().values(), strict=True):
        assert torch.equal(one, other)


def fill(model, state):
    """As those do who made a model without memory."""
    model.to_empty(device="cpu")
    with torch.no_grad():
        for value in (*model.parameters(), *model.buffers()):
            value.fill_(77)  # uninitialized memory may hold the right values already
    reinit_non_persistent_buffers(model)
    model.load_state_dict(state)
    return model.eval()


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("way", ["argument", "context"])
def test_meta_model_can_be_materialized(variant, way):
    plain = make(variant)
    if way == "argument":
        empty = make(variant, device="meta")
    else:
        with torch.device("meta"):
            empty = make(variant)
    assert {value.device.type for value in empty.parameters()} == {"meta"}
    filled = fill(empty, plain.state_dict())
    with torch.no_grad():
        assert torch.equal(filled(image()), plain(image()))


def test_meta_model_with_changed_window_can_be_materialized():
    plain, empty = make("messengers none"), make("messengers none", device="meta")
    for model in (plain, empty):
        model.set_input_size(window_size=(4, 5))
    filled = fill(empty, plain.state_dict())
    assert torch.equal(filled(image()), plain(image()))


def test_random_cls_token_is_redrawn():
    args = {"cls": "random_eval", "depth": 1, "num_classes": 7}
    plain = timm.create_model("deit_small_cls", **args).eval()
    filled = fill(timm.create_model("deit_small_cls", device="meta", **args), plain.state_dict())
    assert torch.equal(filled(image(1, 3, 224, 224)), plain(image(1, 3, 224, 224)))


@pytest.mark.parametrize("variant", FAMILIES)
def test_features_only_with_device_and_dtype(variant):
    plain, typed = (
        make(variant, features_only=True).to(torch.float64),
        make(variant, features_only=True, dtype=torch.float64),
    )
    empty = make(variant, features_only=True, device="meta")
    typed.load_state_dict(plain.state_dict())
    filled = fill(empty, {name: value.float() for name, value in plain.state_dict().items()})
    x = image()
    torch.testing.assert_close(typed(x.double()), plain(x.double()), rtol=0, atol=0)
    torch.testing.assert_close(filled(x), make(variant, features_only=True)(x), rtol=0, atol=0)


def test_exchange_without_device_and_dtype_arguments():
    @register_exchange("scaled")
    class Scaled(GridExchange):
        def __init__(self, dim, region):
            super().__init__(dim, region)
            self.scale = torch.nn.Parameter(torch.ones(dim))

        def exchange(self, messengers):
            return messengers * self.scale

    try:
        model = make("msg", exchange="scaled", dtype=torch.bfloat16)
    finally:
        del _EXCHANGES["scaled"]
    assert {value.dtype for value in model.parameters()} == {torch.bfloat16}
    assert model(image().bfloat16()).dtype == torch.bfloat16


@pytest.mark.slow
@pytest.mark.parametrize("name", MODELS)
def test_full_models_on_the_meta_device(name):
    torch.manual_seed(0)
    plain = timm.create_model(name).eval()
    filled = fill(timm.create_model(name, device="meta"), plain.state_dict())
    x = image(1, 3, 224, 224)
    with torch.no_grad():
        assert torch.equal(filled(x), plain(x))
