"""`torch.onnx.export` of the unmodified models, run in ONNX Runtime."""

import pytest
import timm
import torch
from torch.export import Dim

from msgformer.checkpoints.export_card import ExportCard
from msgformer.exporters.program import INPUT, export_sizes
from msgformer.exporters.verify import force_orders
from msgformer.model_names import MODELS
from msgformer.models import create_model
from msgformer.models.guided_attention import SelfGuidedAttention

pytest.importorskip("onnxscript")
pytest.importorskip("onnxruntime")

MSG = {"embed_dim": 16, "depths": (1, 2), "num_heads": (1, 2), "window_size": 4, "shuffle_sizes": (2, 4)}
SG = {"embed_dims": (16, 32), "depths": (2, 1), "num_heads": (2, 2), "reductions": (2, 1), "window_size": 4}
TINY = {"msg_transformer_tiny": MSG, "msg_transformer_v1_tiny": MSG, "sgformer_small": SG}
KINDS = ["classifier", "backbone"]
TOLERANCE = 1e-4  # of the largest output


def create(name, kind, **settings):
    torch.manual_seed(0)
    if kind == "backbone":
        stages = range(len(settings.get("depths", (0, 1, 2, 3))))
        return timm.create_model(name, features_only=True, out_indices=tuple(stages), **settings).eval()
    return create_model(name, num_classes=7, **settings).eval()


def check(model, path, shape, export_shape=None):
    """Export for one shape, or for all with ``export_shape`` as the example, and compare at ``shape``."""
    from msgformer.exporters.formats.onnx import OnnxSession

    if not path.exists():
        dims = {0: Dim("batch"), 2: Dim("height", min=33), 3: Dim("width", min=33)}
        torch.onnx.export(
            model,
            (torch.randn(export_shape or shape),),
            path,
            dynamo=True,
            dynamic_shapes=(dims,) if export_shape else None,
            input_names=[INPUT],
            verbose=False,
        )
    sizes = export_sizes(model, shape[2:], shape[0], dynamic_batch=False, dynamic_size=False)
    session = OnnxSession(path, ExportCard("onnx", "classify", "model", [], {}, sizes), "cpu")
    images = torch.randn(shape, generator=torch.Generator().manual_seed(1))
    guided = [module for module in model.modules() if isinstance(module, SelfGuidedAttention)]
    orders = session.trace_orders(images)
    assert len(orders) == 2 * len(guided)
    # Rounding decides the order of tokens of almost equal significance, so that the model takes the file's.
    with torch.no_grad(), force_orders(guided, orders) as significances:
        expected = model(images)
    expected = expected if isinstance(expected, list) else [expected]
    for output, wanted in zip(session.run(images), expected, strict=True):
        assert (output - wanted).abs().max() <= TOLERANCE * wanted.abs().max()
    for (found, _), wanted in zip(orders, significances, strict=True):
        assert (found - wanted).abs().max() <= TOLERANCE * wanted.abs().max()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", ["msg_transformer_tiny", "sgformer_small"])
def test_a_tiny_model_of_one_size(name, kind, tmp_path):
    check(create(name, kind, **TINY[name]), tmp_path / "model.onnx", (2, 3, 40, 72))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", [pytest.param(name, marks=pytest.mark.slow if "v1" in name else ()) for name in TINY])
def test_a_tiny_model_of_all_sizes(name, kind, tmp_path):
    model = create(name, kind, **TINY[name])
    for shape in [(1, 3, 33, 34), (3, 3, 64, 96), (2, 3, 97, 35)]:  # the least, whole windows, no whole windows
        check(model, tmp_path / "model.onnx", shape, export_shape=(2, 3, 70, 90))


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", MODELS)
def test_a_full_model(name, kind, tmp_path):
    model = create(name, kind)
    check(model, tmp_path / "fixed.onnx", (1, 3, 224, 224))
    for shape in [(1, 3, 224, 224), (2, 3, 97, 131), (1, 3, 64, 320)]:
        check(model, tmp_path / "dynamic.onnx", shape, export_shape=(2, 3, 100, 140))
