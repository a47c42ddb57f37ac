"""Segmenters with a graph for all sizes: equal to the original ones before and after the export."""

import pytest
import torch
import torch.nn.functional as F

from msgformer.checkpoints.export_card import SUFFIXES, ExportCard
from msgformer.exporters.graph.segmenter import AveragePool
from msgformer.exporters.program import export_sizes
from msgformer.exporters.runtime import ExportedModel, open_session
from msgformer.exporters.verify import verify_logits
from msgformer.exporters.writer import write_export
from msgformer.heads import create_segmenter
from msgformer.optimized.optimize import optimize
from msgformer.tasks import get_task

MSG = {"embed_dim": 16, "depths": (1, 1, 1, 1), "num_heads": (1, 1, 2, 2), "window_size": 4}
SG = {"embed_dims": (16, 16, 32, 32), "depths": (2, 1, 1, 1), "num_heads": (2, 2, 2, 2), "reductions": (2, 2, 2, 1)}
BACKBONES = {"msg_transformer_tiny": MSG, "sgformer_small": SG, "resnet10t": {}}
FAST = ("semantic_fpn", "torch-export")
SIZES = [(33, 33), (64, 160), (75, 100)]  # the least, whole windows, no whole windows


def small(backbone, head):
    torch.manual_seed(0)
    return create_segmenter(backbone, head, 3, channels=16, **BACKBONES[backbone]).eval()


@pytest.mark.parametrize("scale", [1, 2, 3, 6])
@pytest.mark.parametrize("size", [(1, 2), (2, 3), (5, 6), (7, 13), (12, 9)])
def test_pooling_by_matrix_products_is_adaptive_pooling(scale, size):
    x = torch.randn(2, 3, *size, dtype=torch.float64)
    torch.testing.assert_close(AveragePool(scale)(x), F.adaptive_avg_pool2d(x, scale))


@pytest.mark.parametrize("backbone", BACKBONES)
@pytest.mark.parametrize("head", ["upernet", "semantic_fpn"])
@torch.no_grad()
def test_the_graph_variant_has_the_outputs_of_the_model(backbone, head):
    model = small(backbone, head).double()
    graph = get_task("segment").as_graph(model)
    for size in SIZES:
        images = torch.randn(2, 3, *size, dtype=torch.float64)
        torch.testing.assert_close(graph(images), model(images))


FILES = [
    pytest.param(backbone, head, format, marks=pytest.mark.slow if (head, format) != FAST else ())
    for backbone in ("msg_transformer_tiny", "sgformer_small")
    for head in ("upernet", "semantic_fpn")
    for format in ("torch-export", "onnx", "openvino")
]


@pytest.mark.parametrize(("backbone", "head", "format"), FILES)
def test_a_file_runs_at_other_sizes(backbone, head, format, tmp_path):
    pytest.importorskip({"torch-export": "torch", "onnx": "onnxscript", "openvino": "openvino"}[format])
    model, path = small(backbone, head), tmp_path / f"model{SUFFIXES[format]}"
    sizes = export_sizes(model, (64, 64), 1, dynamic_batch=False, dynamic_size=True)
    norm = {"mean": model.mean, "std": model.std}
    card = ExportCard(format, "segment", backbone, ["a", "b", "c"], {}, sizes, **norm)
    write_export(get_task("segment").as_graph(optimize(model)), card, path)
    session = open_session(path, "cpu")
    assert verify_logits(model, session, torch.rand(2, 3, 64, 64)).max_difference < 1e-4
    if backbone == "msg_transformer_tiny":  # the other one sorts tokens, which verify looks after
        with torch.no_grad():
            for size in SIZES:
                images = torch.randn(1, 3, *size)
                torch.testing.assert_close(ExportedModel(session)(images), model(images), rtol=1e-3, atol=1e-4)
