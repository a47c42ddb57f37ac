import torch

from heads.conftest import unpack
from msgformer.heads.detection.detections import DetectionLimits, paste_masks, select_detections


def test_selected_detections_equal_the_golden_file(compact):
    for i in range(2):
        case = {k: compact[f"test.{i}.{k}"] for k in ("scores", "all_boxes")}
        found = select_detections(case["scores"][:, :-1], case["all_boxes"], DetectionLimits())
        assert torch.equal(found["labels"], compact[f"test.{i}.det.labels"])
        assert torch.equal(found["boxes"], compact[f"test.{i}.det.bboxes"])
        assert torch.equal(found["scores"], compact[f"test.{i}.det.scores"])


def test_no_detections_are_selected_from_low_scores():
    found = select_detections(torch.zeros(5, 3), torch.rand(5, 12), DetectionLimits())
    assert found["boxes"].shape == (0, 4)
    assert found["labels"].dtype == torch.int64


def test_masks_are_pasted_exactly(compact):
    boxes = compact["test.0.det.bboxes"][:5]
    masks = paste_masks(compact["paste.probabilities"], boxes, (256, 320))
    assert torch.equal(masks, unpack(compact["paste.masks"], 320).bool())
    assert torch.equal(masks.sum((1, 2)), compact["paste.areas"])


def test_all_masks_at_both_scales(golden):
    probabilities = golden["test"]["mask_probs_avg_sel"].split(100)
    for kind, shape in (("det", "img_shape"), ("det_rescale", "ori_shape")):
        for values, detections, meta in zip(probabilities, golden["test"][kind], golden["metas"], strict=True):
            height, width = meta[shape]
            masks = paste_masks(values, detections["bboxes"], (height, width))
            assert torch.equal(masks.sum((1, 2)), detections["mask_area"])
            first = unpack(detections["masks_first20_packed"], width).bool()
            assert torch.equal(masks[:20], first)


def test_boxes_outside_the_image_or_without_area_have_no_pixels():
    boxes = torch.tensor([[-50.0, -50, -10, -10], [500, 500, 600, 600], [5, 5, 5, 5], [-4, 2, 4, 8]])
    masks = paste_masks(torch.ones(4, 28, 28), boxes, (20, 30))
    assert masks.sum((1, 2)).tolist() == [0, 0, 0, 24]
