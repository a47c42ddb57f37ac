"""Quantization to INT8."""

import pytest
import torch

from exporters.tiny_models import CLASSES, FAMILIES, MSG
from msgformer.checkpoints.export_card import SUFFIXES, ExportCard
from msgformer.exporters.program import capture, export_sizes
from msgformer.exporters.runtime import open_session
from msgformer.exporters.verify import verify_logits
from msgformer.exporters.writer import write_export
from msgformer.models import create_model
from msgformer.optimized.optimize import optimize


def test_int8_of_one_fixed_size_where_layers_share_weights(tmp_path):
    pytest.importorskip("nncf")
    from msgformer.exporters.formats.onnx import to_onnx
    from msgformer.exporters.formats.openvino import save_openvino, to_openvino
    from msgformer.exporters.int8 import quantize

    torch.manual_seed(0)
    three_stages = {**MSG, "depths": (1, 1, 1), "num_heads": (1, 2, 4), "shuffle_sizes": (2, 2, 2)}
    model = create_model("msg_transformer_tiny", num_classes=3, **three_stages).eval()
    sizes = export_sizes(model, (32, 32), 2, dynamic_batch=False, dynamic_size=False)
    card = ExportCard("openvino", "classify", "msg_transformer_tiny", CLASSES, {}, sizes, precision="int8")
    quantized = quantize(to_openvino(to_onnx(capture(model, sizes), card), card), [torch.rand(2, 3, 32, 32)])
    save_openvino(quantized, tmp_path / "model.xml")
    session = open_session(tmp_path / "model.xml", "cpu")
    assert 0 < verify_logits(model, session, torch.rand(2, 3, 32, 32)).max_difference < 0.5


@pytest.mark.parametrize("format", ["onnx", "openvino"])
def test_int8_of_an_optimized_model_whose_layers_become_convolutions(format, tmp_path):
    pytest.importorskip("nncf")
    torch.manual_seed(0)
    model = create_model("sgformer_small", num_classes=3, **FAMILIES["sgformer_small"]).eval()
    sizes = export_sizes(model, (32, 32), 2, dynamic_batch=False, dynamic_size=False)
    card = ExportCard(format, "classify", "sgformer_small", CLASSES, {}, sizes, precision="int8")
    path = tmp_path / f"model{SUFFIXES[format]}"
    write_export(optimize(model), card, path, [torch.rand(2, 3, 32, 32)])
    assert 0 < verify_logits(model, open_session(path, "cpu"), torch.rand(2, 3, 32, 32)).max_difference < 0.5
