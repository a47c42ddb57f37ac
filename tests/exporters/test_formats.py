"""Every format, for tiny models of every family: sizes and numbers of images that differ from the export."""

import json

import pytest
import torch

from exporters.tiny_models import CLASSES, FAMILIES
from msgformer.checkpoints.export_card import SUFFIXES, ExportCard
from msgformer.errors import UserError
from msgformer.exporters.program import capture, export_sizes
from msgformer.exporters.runtime import ExportedModel, open_session, read_card
from msgformer.exporters.verify import verify_logits
from msgformer.models import create_model
from msgformer.optimized.optimize import optimize

SHAPES = [(1, 3, 9, 10), (3, 3, 33, 47), (2, 3, 64, 64)]  # the smallest grid, no whole windows, whole windows


class Family:
    """A tiny model, and its export for any size, captured once for all formats."""

    def __init__(self, name):
        torch.manual_seed(0)
        self.name = name
        self.model = create_model(name, num_classes=3, **FAMILIES[name]).eval()
        self.sizes = export_sizes(self.model, (64, 64), 1, dynamic_batch=True, dynamic_size=True)
        self.program = capture(optimize(self.model), self.sizes)  # as `msgformer export` does

    def card(self, format, **changes):
        return ExportCard(format, "classify", self.name, CLASSES, {"crop_pct": 0.9}, self.sizes, **changes)


@pytest.fixture(
    scope="module",
    params=[pytest.param(name, marks=pytest.mark.slow if "v1" in name else ()) for name in FAMILIES],
)
def family(request):
    return Family(request.param)


@pytest.fixture(scope="module")
def onnx_model(family):
    pytest.importorskip("onnxscript")
    from msgformer.exporters.formats.onnx import to_onnx

    return to_onnx(family.program, family.card("onnx"))


def write(family, onnx_model, format, path):
    if format == "torch-export":
        from msgformer.exporters.formats.torch import save_program

        save_program(family.program, family.card(format), path)
    elif format == "onnx":
        path.write_bytes(onnx_model.SerializeToString())
    else:
        pytest.importorskip("openvino")
        from msgformer.exporters.formats.openvino import save_openvino, to_openvino

        save_openvino(to_openvino(onnx_model, family.card(format)), path)


@pytest.mark.parametrize("format", ["onnx", "openvino", "torch-export"])
def test_a_file_runs_at_other_sizes_and_holds_its_card(family, onnx_model, format, tmp_path):
    path = tmp_path / f"model{SUFFIXES[format]}"
    write(family, onnx_model, format, path)
    card = read_card(path)
    assert card == family.card(format)
    session = open_session(path, "cpu")
    model = ExportedModel(session)
    for shape in SHAPES:
        images = torch.randn(shape)
        with torch.no_grad():
            torch.testing.assert_close(model(images), family.model(images), rtol=1e-3, atol=1e-4)
    with pytest.raises(UserError, match=r"takes images of 9\.\.4096 x 9\.\.4096 pixels, not of 8 x 64"):
        model(torch.zeros(1, 3, 8, 64))
    found = verify_logits(family.model, session, torch.rand(3, 3, 64, 64))
    assert found.max_difference < 1e-4
    assert (found.significance_difference is not None) == family.name.startswith("sg")


def test_onnx_names_its_sizes_and_no_local_paths(family, onnx_model):
    (images,) = onnx_model.graph.input
    assert [size.dim_param or size.dim_value for size in images.type.tensor_type.shape.dim] == [
        "batch",
        3,
        "height",
        "width",
    ]
    assert json.loads(onnx_model.metadata_props[0].value)["classes"] == CLASSES
    assert b".py" not in onnx_model.SerializeToString()


@pytest.mark.parametrize("family", ["sgformer_small"], indirect=True)  # it has what is hardest to quantize
@pytest.mark.parametrize("format", ["onnx", "openvino"])
def test_int8(family, onnx_model, format, tmp_path):
    pytest.importorskip("nncf")
    from msgformer.exporters.formats.onnx import set_card
    from msgformer.exporters.formats.openvino import save_openvino, to_openvino
    from msgformer.exporters.int8 import quantize

    card = family.card(format, precision="int8")
    images = torch.rand(4, 3, 64, 64)
    path = tmp_path / f"model{SUFFIXES[format]}"
    if format == "onnx":
        quantized = quantize(onnx_model, list(images.split(2)))
        set_card(quantized, card)
        path.write_bytes(quantized.SerializeToString())
    else:
        save_openvino(quantize(to_openvino(onnx_model, card), list(images.split(2))), path)
    assert read_card(path).precision == "int8"
    found = verify_logits(family.model, open_session(path, "cpu"), images)
    assert 0 < found.max_difference < 0.5
