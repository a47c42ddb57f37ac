"""Optimized models give the results of the original models."""

import copy
import io

import pytest
import timm
import torch
from torch import nn

from msgformer.exporters.dialect import prepare_for_format
from msgformer.heads import create_detector, create_segmenter
from msgformer.model_names import MODELS
from msgformer.models import create_model
from msgformer.models.exchange import _EXCHANGES
from msgformer.optimized.optimize import optimize
from msgformer.optimized.packed import PackedConv2d, PackedLinear

MSG = {"embed_dim": 32, "depths": (1, 2, 1, 2), "num_heads": (1, 2, 4, 8), "shuffle_sizes": (4, 4, 4, 4)}
SG = {"embed_dims": (32, 64, 96, 128), "depths": (2, 2, 3, 1), "num_heads": (2, 2, 4, 4)}
SIZES = [(224, 224), (33, 47), (97, 131)]


def create(name, **settings):
    """A small model in float64, all of whose parameters matter."""
    torch.manual_seed(0)
    small = SG if name.startswith("sgformer") else MSG
    return lively(create_model(name, **{**small, "num_classes": 7, **settings}))


def lively(model):
    for parameter in model.parameters():
        nn.init.normal_(parameter, 0.5 if parameter.ndim == 1 else 0.0, 0.1)
    return model.double().eval()


def images(*size, batch=2):
    return torch.randn(batch, 3, *size, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


def same(left, right):
    torch.testing.assert_close(left, right, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("name", MODELS)
@torch.no_grad()
def test_logits_are_equal_at_every_size(name):
    model = create(name)
    fast = optimize(model)
    for size in SIZES:
        same(fast(images(*size)), model(images(*size)))


@pytest.mark.parametrize("name", ["msg_transformer_tiny", "sgformer_small"])
@torch.no_grad()
def test_logits_are_equal_in_single_precision(name):
    # No self-guided blocks: an order of tokens that turns on rounding is no part of this test.
    model = create(name, **({"depths": (1, 1, 1, 1)} if name.startswith("sg") else {})).float()
    x = images(64, 96).float()
    torch.testing.assert_close(optimize(model)(x), model(x), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", ["msg_transformer_tiny", "sgformer_small"])
@torch.no_grad()
def test_openvino_form_is_equal(name):
    fast = optimize(create(name))
    same(prepare_for_format(fast, "openvino", is_quantized=False)(images(97, 131)), fast(images(97, 131)))


@torch.no_grad()
def test_the_model_to_quantize_has_equal_outputs_by_convolutions():
    fast = optimize(create("sgformer_small"))
    quantizable = prepare_for_format(fast, "onnx", is_quantized=True)
    same(quantizable(images(97, 131)), fast(images(97, 131)))
    convolutions = [sum(isinstance(part, PackedConv2d) for part in one.modules()) for one in (fast, quantizable)]
    assert convolutions[1] - convolutions[0] == sum(SG["depths"])


@pytest.mark.parametrize("exchange", _EXCHANGES)
@torch.no_grad()
def test_every_exchange_and_no_bias(exchange):
    model = create("msg_transformer_tiny", exchange=exchange, qkv_bias=False)
    same(optimize(model)(images(64, 96)), model(images(64, 96)))


@pytest.mark.parametrize("name", ["msg_transformer_tiny", "msg_transformer_v1_tiny", "sgformer_small"])
@torch.no_grad()
def test_maps_and_features_are_equal(name):
    model = create(name)
    fast = optimize(model)
    x = images(64, 96)
    same(fast.forward_features(x), model.forward_features(x))
    features, maps = model.forward_intermediates(x)
    fast_features, fast_maps = fast.forward_intermediates(x)
    for left, right in zip([fast_features, *fast_maps], [features, *maps], strict=True):
        same(left, right)


@torch.no_grad()
def test_backbones_of_detectors_and_segmenters_are_optimized():
    torch.manual_seed(0)
    segmenter = create_segmenter("msg_transformer_tiny", "upernet", 5, channels=16, **MSG).double().eval()
    fast = optimize(segmenter)
    assert type(fast.backbone.body.model.stages[0]) is not type(segmenter.backbone.body.model.stages[0])
    same(fast(images(64, 96)), segmenter(images(64, 96)))
    detector = create_detector("sgformer_small", "faster_rcnn", 3, channels=16, fc_channels=32, min_size=None, **SG)
    detector = detector.double().eval()
    batch = list(images(64, 96).sigmoid())
    for left, right in zip(optimize(detector)(batch), detector(batch), strict=True):
        for key in right:
            same(left[key], right[key])


@torch.no_grad()
def test_other_models_are_unchanged():
    for name in ("swin_tiny_patch4_window7_224", "resnet18"):
        torch.manual_seed(0)
        model = timm.create_model(name).double().eval()
        same(optimize(model)(images(224, 224, batch=1)), model(images(224, 224, batch=1)))


@pytest.mark.parametrize(
    "options", [{"padding": "same"}, {"padding": "valid"}, {"padding": 1, "padding_mode": "circular"}]
)
@torch.no_grad()
def test_convolutions_with_any_padding(options):
    model = nn.Sequential(nn.Conv2d(16, 16, 3, **options)).eval()
    x = torch.randn(2, 16, 9, 9)
    torch.testing.assert_close(optimize(model)(x), model(x))


@torch.inference_mode()
def test_loaded_weights_replace_packed_ones():
    models = [nn.Sequential(nn.Conv2d(16, 32, 1), nn.Conv2d(32, 32, 3, padding=1, groups=32)) for _ in range(2)]
    models = [nn.Sequential(*model, nn.Conv2d(32, 32, 3), nn.Flatten(), nn.Linear(32 * 9, 16)) for model in models]
    x = torch.randn(2, 16, 5, 5)
    first, second = map(optimize, models)
    first(x)  # packs the weights
    first.load_state_dict(second.state_dict())
    torch.testing.assert_close(first(x), models[1](x), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", ["msg_transformer_tiny", "sgformer_small"])
@torch.no_grad()
def test_original_model_is_unchanged(name):
    model = create(name).train()
    before = copy.deepcopy(model.state_dict())
    fast = optimize(model)
    fast(images(64, 64))
    assert model.training
    assert all(parameter.requires_grad for parameter in model.parameters())
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())
    assert not fast.training
    assert not any(parameter.requires_grad for parameter in fast.parameters())


@torch.no_grad()
def test_a_used_copy_can_be_copied_stored_and_moved_to_another_type():
    model = create("msg_transformer_tiny").float()
    fast = optimize(model)
    x = images(64, 64).float()
    expected = fast(x)
    file = io.BytesIO()
    torch.save(fast, file)
    file.seek(0)
    assert torch.equal(copy.deepcopy(fast)(x), expected)
    assert torch.equal(torch.load(file, weights_only=False)(x), expected)
    torch.testing.assert_close(fast.double()(x.double()).float(), expected, rtol=1e-4, atol=1e-4)


@torch.no_grad()
def test_last_block_computes_messengers_only():
    model = create("msg_transformer_tiny")
    fast = optimize(model)
    seen = []
    fast.stages[-1].blocks[-1].mlp.fc1.register_forward_hook(lambda _, inputs, __: seen.append(inputs[0].shape))
    fast(images(448, 224))
    assert seen == [(2 * 2, 256)]  # two windows an image, each its messenger alone


@pytest.mark.parametrize("packable", [True, False])
@pytest.mark.parametrize("activation", ["none", "gelu"])
@pytest.mark.parametrize(("stride", "groups"), [(1, 1), (2, 1), (1, 8), (4, 2)])
@torch.no_grad()
def test_packed_layers_in_both_ways_of_computing(activation, stride, groups, packable, monkeypatch):
    packable = packable and torch.backends.mkldnn.is_available()
    monkeypatch.setattr("msgformer.optimized.packed.is_packable", lambda *_: packable)
    torch.manual_seed(0)
    conv = nn.Conv2d(8, 16, 3, stride=stride, padding=1, groups=groups)
    linear = nn.Linear(8, 16)
    end = nn.GELU() if activation == "gelu" else nn.Identity()
    x, tokens, residual = torch.randn(2, 8, 13, 17), torch.randn(2, 5, 8), torch.randn(2, 5, 16)
    packed_conv, packed_linear = PackedConv2d(conv, activation), PackedLinear(linear.weight, linear.bias)
    for image in (x, x[:1, :, :6, :9], x):  # laid out anew for each size
        torch.testing.assert_close(packed_conv(image), end(conv(image)))
    torch.testing.assert_close(packed_linear(tokens, residual), linear(tokens) + residual)
    assert (packed_conv.packed is not None) == (packed_linear.packed is not None) == packable
    without_bias = PackedLinear(linear.weight, None, activation)
    torch.testing.assert_close(without_bias(tokens), end(linear(tokens) - linear.bias))
