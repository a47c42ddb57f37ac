"""Models under torch.fx and hooks: feature extraction of torchvision and timm."""

import pytest
import timm
import torch
from timm.layers import set_fused_attn
from timm.models import FeatureGraphNet
from timm.models import create_feature_extractor as timm_feature_extractor
from timm.utils import AttentionExtract
from torchvision.models.feature_extraction import create_feature_extractor, get_graph_node_names

from msgformer.explanations.messengers import trace_messengers
from msgformer.model_names import MODELS

from . import variants
from .variants import FAMILIES, VARIANTS

STAGES = [f"stages.{index}" for index in range(4)]
# A model has other operations in training.
pytestmark = pytest.mark.filterwarnings("ignore:.*you may need to specify output nodes:UserWarning")


@pytest.fixture(autouse=True)
def _no_gradients():
    with torch.no_grad():
        yield


def make(variant, **kwargs):
    """In float64: SG-Former sorts tokens by significance, and another rounding may be another order."""
    return variants.make(variant, **kwargs).double()


def image(*shape):
    return variants.image(*shape).double()


def assert_traced(model, extractor, x):
    found = extractor(x)
    maps = model.forward_intermediates(x, intermediates_only=True, output_fmt="NHWC")
    for stage, expected in zip(STAGES, maps, strict=True):
        torch.testing.assert_close(found[stage], expected)
    torch.testing.assert_close(found["head"], model(x))


@pytest.mark.parametrize(
    ("variant", "extract"),
    [*((one, create_feature_extractor) for one in VARIANTS), *((one, timm_feature_extractor) for one in FAMILIES)],
)
def test_feature_extractors(variant, extract):
    model = make(variant, drop_path_rate=0.3)
    extractor = extract(model, [*STAGES, "head"]).eval()
    for shape in [(2, 3, 61, 96), (1, 3, 128, 64)]:  # none of which it was traced for
        assert_traced(model, extractor, image(*shape))


@pytest.mark.parametrize("variant", FAMILIES)
def test_extractors_train(variant):
    model = make(variant, drop_path_rate=0.3)
    model.set_grad_checkpointing()
    extractor = create_feature_extractor(model, ["stages.3", "head"]).train()
    with torch.enable_grad():
        found = extractor(image())
        found["head"].sum().backward()
    assert found["stages.3"].shape == (2, 2, 3, 256)
    assert all(parameter.grad is not None for parameter in extractor.parameters())


@pytest.mark.parametrize("variant", FAMILIES)
def test_timm_extracts_features_by_a_graph(variant):
    features = make(variant, features_only=True, feature_cls="fx")
    assert isinstance(features, FeatureGraphNet)
    expected = make(variant).forward_intermediates(image(), intermediates_only=True, output_fmt="NHWC")
    torch.testing.assert_close(features(image()), expected)


def test_tracing_does_not_change_the_model():
    model = make("msg")
    before = {*vars(model)}
    get_graph_node_names(model)
    assert {*vars(model)} == before


def extract_attention(model, x, method):
    extract = AttentionExtract(model, method=method)
    found = extract(x)
    for hook in extract.hooks._handles if extract.hooks else ():
        hook.remove()
    return found


@pytest.mark.parametrize("method", ["fx", "hook"])
@pytest.mark.parametrize("variant", VARIANTS)
def test_timm_extracts_attention(variant, method):
    model = make(variant)
    expected = model(image())
    maps = extract_attention(model, image(), method)
    both = not variant.startswith("attention") and VARIANTS[variant][0].startswith("sg")
    assert len(maps) == sum(len(stage.blocks) for stage in model.stages) + (3 if both else 0)  # a hybrid block has two
    for weights in maps.values():
        torch.testing.assert_close(weights.sum(-1), torch.ones(weights.shape[:-1]).to(weights))
        assert (weights >= 0).all()
    torch.testing.assert_close(model(image()), expected)
    for part in model.modules():
        if hasattr(part, "fused_attn"):
            part.fused_attn = False
    torch.testing.assert_close(model(image()), expected)


@pytest.mark.parametrize("method", ["fx", "hook"])
@pytest.mark.parametrize("variant", ["msg", "msg v1", "exchange mlp"])
def test_timm_extracts_attention_of_messengers(variant, method):
    model, x = make(variant), image(1, 3, 61, 96)
    traced = trace_messengers(model, x)
    maps = list(extract_attention(model, x, method).values())
    assert len(maps) == len(traced)
    for weights, block in zip(maps, traced, strict=True):
        torch.testing.assert_close(weights[:, :, 0].transpose(0, 1), block.attention)


def test_shapes_of_the_maps_of_sgformer():
    maps = extract_attention(make("sg"), image(2, 3, 64, 64), "hook")
    shapes = {name.removeprefix("stages."): tuple(weights.shape) for name, weights in maps.items()}
    assert shapes["0.blocks.0.attn.global_attn.attn_drop"] == (2, 1, 256, 4)  # 16 x 16 tokens, reduced by 8
    assert shapes["0.blocks.0.attn.local_attn.attn_drop"] == (2 * 9, 1, 49, 49)
    assert shapes["0.blocks.1.attn.attn_drop"][:3] == (2, 2, 256)
    assert shapes["3.blocks.0.attn.attn_drop"] == (2, 16, 4, 4)


@pytest.mark.parametrize("variant", FAMILIES)
def test_timm_can_disable_fused_attention(variant):
    expected = make(variant)(image())
    set_fused_attn(False)
    try:
        model = make(variant)
    finally:
        set_fused_attn(True)
    assert not any(part.fused_attn for part in model.modules() if hasattr(part, "fused_attn"))
    torch.testing.assert_close(model(image()), expected)


def test_attention_dropout_applies_to_observed_weights():
    torch.manual_seed(0)
    model = make("msg", attn_drop_rate=0.5)
    extract = AttentionExtract(model, mode="train", method="hook")
    weights = extract(image())["stages.0.blocks.0.attn.attn_drop"]
    assert 0.3 < (weights == 0).float().mean() < 0.7


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("name", MODELS)
def test_full_models(name):
    torch.manual_seed(0)
    model, x = timm.create_model(name).double().eval(), image(1, 3, 96, 96)
    assert_traced(model, create_feature_extractor(model, [*STAGES, "head"]).eval(), x)
    for method in ("fx", "hook"):
        for weights in extract_attention(model, x, method).values():
            torch.testing.assert_close(weights.sum(-1), torch.ones(weights.shape[:-1]).to(weights))
