"""Detectors with outputs of fixed length: equal to the original ones before and after the export."""

from pathlib import Path

import pytest
import torch
from torchvision.ops import batched_nms

from msgformer.checkpoints.export_card import SUFFIXES, ExportCard
from msgformer.errors import UserError
from msgformer.exporters.exported_detector import ExportedDetector, pad_to_size, resize_to_fit
from msgformer.exporters.formats.onnx_ops import OPSET, translations
from msgformer.exporters.graph.detector import output_names, padded_topk
from msgformer.exporters.graph.nms import fixed_size_nms
from msgformer.exporters.program import export_sizes
from msgformer.exporters.runtime import open_session
from msgformer.exporters.session import Session
from msgformer.exporters.verify import verify_detector
from msgformer.exporters.verify_detector import DetectionDiff, bypass_transform, compare_detections
from msgformer.exporters.writer import write_export
from msgformer.heads import create_detector
from msgformer.optimized.optimize import optimize
from msgformer.tasks.detection.export_source import as_graph

MSG = {"embed_dim": 16, "depths": (1, 1, 1, 1), "num_heads": (1, 1, 2, 2), "window_size": 4}
SG = {"embed_dims": (16, 16, 32, 32), "depths": (2, 1, 1, 1), "num_heads": (2, 2, 2, 2), "reductions": (2, 2, 2, 1)}
BACKBONES = {"msg_transformer_tiny": MSG, "sgformer_small": SG}
HEADS = ["cascade_mask_rcnn", "mask_rcnn", "faster_rcnn", "retinanet"]
SETTINGS = {
    "channels": 16,
    "fc_channels": 32,
    "anchor_size": 16,
    "test_proposals": 40,
    "min_size": 128,
    "max_size": 192,
    "detections_per_image": 20,
}
SIZES = [(129, 129), (132, 200)]


def small(head, backbone="msg_transformer_tiny"):
    """A detector whose random weights find objects of all classes, in shifted boxes."""
    torch.manual_seed(0)
    model = create_detector(backbone, head, 3, **SETTINGS, **BACKBONES[backbone]).eval()
    for name, module in model.named_modules():
        if name.endswith(("fc_cls", "cls_logits")):
            torch.nn.init.normal_(module.weight, std=30 if head == "retinanet" else 1)
            torch.nn.init.zeros_(module.bias)
        elif name.endswith(("fc_reg", "bbox_pred", "bbox_reg")):
            torch.nn.init.normal_(module.weight, std=0.02)
    return model


def test_nms_equals_torchvisions_per_group_and_class():
    torch.manual_seed(0)
    corner = torch.rand(2, 60, 2) * 40
    boxes = torch.cat([corner, corner + 5 + torch.rand(2, 60, 2) * 20], dim=-1)
    scores = torch.rand(2, 3, 60)
    left = fixed_size_nms(boxes, scores, 60, 0.4, 0.3)
    for group in range(2):
        for label in range(3):
            values = scores[group, label]
            there = (values > 0.3).nonzero()[:, 0]
            keep = there[batched_nms(boxes[group][there], values[there], torch.zeros_like(there), 0.4)]
            assert left[group, label].nonzero()[:, 0].tolist() == sorted(keep.tolist())
            few = fixed_size_nms(boxes, scores, 4, 0.4, 0.3)[group, label]
            assert few.nonzero()[:, 0].tolist() == sorted(keep[:4].tolist())


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


def objects(scores, boxes):
    labels = torch.ones(len(scores), dtype=torch.long)
    return {"boxes": torch.tensor(boxes).view(-1, 4), "labels": labels, "scores": torch.tensor(scores)}


def test_objects_are_matched_by_class_score_and_box():
    theirs = objects([0.9, 0.5], [[0.0, 0, 10, 10], [5.0, 5, 9, 9]])
    ours = objects([0.5, 0.91], [[5.0, 5, 9, 9.5], [0.0, 0, 10, 10]])
    assert compare_detections(ours, theirs, 0.1, 1.0) == DetectionDiff(4, 0, pytest.approx(0.01, abs=1e-6), 0.5)
    assert compare_detections(ours, theirs, 0.1, 0.2) == DetectionDiff(4, 2, pytest.approx(0.01, abs=1e-6), 0.0)
    assert compare_detections(ours, {**theirs, "labels": torch.zeros(2)}, 0.1, 1.0).missed == 4
    nothing = objects([], [])
    assert compare_detections(nothing, nothing, 0.1, 1.0) == DetectionDiff(0, 0, 0.0, 0.0)
    assert compare_detections(nothing, objects([0.9], [[3.0, 3, 3, 8]]), 0.1, 1.0).objects == 0  # a box without area


def test_images_are_resized_to_fit_with_their_aspect_ratio():
    assert resize_to_fit(torch.zeros(3, 100, 50), (64, 96)).shape == (3, 64, 32)
    filled = pad_to_size(torch.ones(3, 64, 32), (64, 96))
    assert filled.shape == (3, 64, 96)
    assert filled.sum() == 3 * 64 * 32


def card_of(model, format, size=(128, 160), *, dynamic=False):
    sizes = export_sizes(model, size, 1, dynamic_batch=False, dynamic_size=dynamic)
    transform = model.transform
    return ExportCard(
        format,
        "detect",
        "small",
        ["a", "b", "c"],
        {"min_size": transform.min_size[0], "max_size": transform.max_size},
        sizes,
        outputs=output_names(model),
        mean=tuple(transform.image_mean),
        std=tuple(transform.image_std),
    )


class EagerSession(Session):
    """Return the outputs of an exported file, computed by the model variant that is captured."""

    def __init__(self, model, *, dynamic=False):
        super().__init__(Path("model.onnx"), card_of(model, "onnx", dynamic=dynamic))
        self.graph = as_graph(model)

    @torch.no_grad()
    def run(self, images):
        return list(self.graph(images))


def test_verification_detects_the_file_of_another_model():
    model, images = small("mask_rcnn"), torch.randn(2, 3, 128, 160)
    session = EagerSession(model)
    found = verify_detector(model, session, images)
    assert (found.agreement, found.images) == (100, 2)
    assert found.objects > 4
    assert max(found.max_difference, found.box_difference) < 1e-3
    with pytest.raises(UserError, match=r"doesn't find \d+ of \d+ objects as the model does"):
        verify_detector(small("mask_rcnn").apply(reset), session, images)
    assert type(model.transform).__name__ == "DetectionTransform"


@pytest.mark.parametrize("dynamic", [False, True])
@torch.no_grad()
def test_a_file_accepts_images_of_any_size(dynamic):
    model = small("mask_rcnn")
    exported = ExportedDetector(EagerSession(model, dynamic=dynamic))
    assert exported.with_masks
    picture = torch.rand(3, 256, 320)  # of the fixed size's shape, so that nothing is filled up
    (ours,), (theirs,) = exported([picture]), model([picture])
    assert ours["masks"].shape[1:] == (256, 320)
    assert (ours["masks"].float().mean() - theirs["masks"].float().mean()).abs() < 1e-3
    left = [{name: found[name] for name in ("boxes", "labels", "scores")} for found in (ours, theirs)]
    assert compare_detections(*left, 1e-3, 0.1).missed == 0
    tall = exported([torch.rand(3, 320, 100)])[0]
    assert tall["boxes"][:, 2].max() <= 100
    assert tall["masks"].shape[1:] == (320, 100)


class Suppressing(torch.nn.Module):
    def forward(self, scores):
        corner = torch.arange(12.0).view(1, 6, 2)
        return fixed_size_nms(torch.cat([corner, corner + 4], dim=-1), scores, 3, 0.1, 0.3)


def test_nms_is_onnxs_operator(tmp_path):
    pytest.importorskip("onnxscript")
    import onnxruntime

    scores = torch.tensor([[[0.9, 0.8, 0.7, 0.6, 0.5, 0.4], [0.2, 0.3, 0.31, 0.9, 0.1, 0.32]]])
    program = torch.export.export(Suppressing(), (scores,))
    torch.onnx.export(program, custom_translation_table=translations(), opset_version=OPSET, verbose=False).save(
        tmp_path / "model.onnx"
    )
    session = onnxruntime.InferenceSession(tmp_path / "model.onnx")
    (left,) = session.run(None, {session.get_inputs()[0].name: scores.numpy()})
    assert torch.equal(torch.from_numpy(left), Suppressing()(scores))
    assert left.sum() == 5


def reset(module):
    if isinstance(module, torch.nn.Conv2d):
        module.reset_parameters()


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
