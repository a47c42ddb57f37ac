"""Detectors with outputs of fixed length: equal to the original ones before and after the export."""

import pytest
import torch

from exporters.tiny_detectors import card_of, small
from msgformer.checkpoints.export_card import SUFFIXES
from msgformer.exporters.graph.detector import output_names, padded_topk
from msgformer.exporters.runtime import open_session
from msgformer.exporters.verify import verify_detector
from msgformer.exporters.verify_detector import bypass_transform, compare_detections
from msgformer.exporters.writer import write_export
from msgformer.optimized.optimize import optimize
from msgformer.tasks.detection.export_source import as_graph

HEADS = ["cascade_mask_rcnn", "mask_rcnn", "faster_rcnn", "retinanet"]
SIZES = [(129, 129), (132, 200)]


def test_topk_of_too_few_values_is_padded():
    best, place = padded_topk(torch.tensor([1.0, 3.0]), 4)
    assert best.tolist() == [3, 1, -torch.inf, -torch.inf]
    assert place.tolist() == [1, 0, 0, 0]


@pytest.mark.parametrize("head", HEADS)
@torch.no_grad()
def test_the_graph_variant_finds_the_objects_of_the_model(head):
    model = small(head)
    graph = as_graph(optimize(model))
    counts = []
    with bypass_transform(model):
        for size in SIZES:
            image = torch.randn(1, 3, *size)
            found = dict(zip(output_names(model), graph(image), strict=True))
            (expected,) = model(image)
            assert found["scores"].shape == (1, 20)
            there = found["scores"][0] > 0
            like = compare_detections({name: value[0][there] for name, value in found.items()}, expected, 1e-4, 1e-2)
            assert like.missed == 0
            counts.append(like.objects)
    assert min(counts) > 4


@pytest.mark.slow
@pytest.mark.parametrize("dynamic", [False, True])
@pytest.mark.parametrize("format", ["onnx", "openvino"])
@pytest.mark.parametrize(
    ("backbone", "head"),
    [*(("msg_transformer_tiny", head) for head in HEADS), ("sgformer_small", "mask_rcnn")],
)
def test_every_detector_in_every_format(backbone, head, format, dynamic, tmp_path):
    pytest.importorskip({"onnx": "onnxscript", "openvino": "openvino"}[format])
    model, path = small(head, backbone), tmp_path / f"model{SUFFIXES[format]}"
    write_export(as_graph(optimize(model)), card_of(model, format, (160, 192), dynamic=dynamic), path)
    found = verify_detector(model, open_session(path, "cpu"), torch.randn(2, 3, 160, 192))
    assert found.agreement > 95
    assert found.objects > 4
