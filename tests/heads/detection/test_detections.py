import pytest
import torch

from heads.conftest import unpack
from msgformer.heads.detection.detections import (
    DetectionLimits,
    encode_found_masks,
    paste_masks,
    raised_limit,
    select_detections,
    unpasted_masks,
)
from msgformer.heads.detection.images import DetectionTransform
from msgformer.utils import rle
from msgformer.utils.rle import encode_masks


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


@pytest.mark.parametrize("limit", [1, 2 * 40 * 50, 10**9])
def test_masks_encoded_in_chunks_equal_the_pasted_ones(monkeypatch, limit):
    """A chunk holds one mask, two masks or all; an empty list of detections has no masks."""
    torch.manual_seed(0)
    corners = torch.rand(5, 2) * 20 - 5
    boxes = torch.cat([corners, corners + 5 + 30 * torch.rand(5, 2)], dim=1)
    probabilities = torch.rand(5, 28, 28)
    found = [{"boxes": boxes, "masks": probabilities}, {"boxes": boxes[:0], "masks": probabilities[:0]}]
    sizes = [(40, 50)] * 2
    transform = DetectionTransform(None).eval()
    with unpasted_masks():
        compact = transform.postprocess([dict(one) for one in found], sizes, sizes)
    assert [one["masks"].shape for one in compact] == [(5, 28, 28), (0, 28, 28)]
    whole = transform.postprocess(found, sizes, sizes)
    assert [one["masks"].shape for one in whole] == [(5, 40, 50), (0, 40, 50)]
    expected = [encode_masks(one["masks"].numpy()) for one in whole]
    monkeypatch.setattr(rle, "MAX_CHUNK_PIXELS", limit)
    assert [encode_found_masks(one, (40, 50)) for one in compact] == expected
    assert [encode_found_masks(one, (40, 50)) for one in whole] == expected


def test_chunks_of_masks_of_a_large_image_are_limited(monkeypatch):
    pasted = []
    monkeypatch.setattr(
        f"{paste_masks.__module__}.encode_masks", lambda masks: pasted.append(masks.nbytes) or [None] * len(masks)
    )
    boxes = torch.tensor([[10.0, 10, 60, 60]]).expand(100, 4)
    found = {"masks": torch.rand(100, 28, 28), "mask_boxes": boxes}
    assert len(encode_found_masks(found, (3000, 4000))) == 100
    assert max(pasted) <= rle.MAX_CHUNK_PIXELS
    assert sum(pasted) == 100 * 3000 * 4000


def test_a_raised_limit_adds_the_next_detections():
    """It never lowers a detector's own limit."""
    boxes = torch.arange(20.0).mul(20).view(-1, 1) + torch.tensor([0.0, 0, 10, 10])
    scores, limits = torch.linspace(0.9, 0.1, 20).view(-1, 1), DetectionLimits(per_image=5)
    own = select_detections(scores, boxes, limits)
    assert len(own["scores"]) == 5
    with raised_limit(12):
        more = select_detections(scores, boxes, limits)
    assert len(more["scores"]) == 12
    assert torch.equal(more["boxes"][:5], own["boxes"])
    with raised_limit(2):
        assert len(select_detections(scores, boxes, limits)["scores"]) == 5
    assert len(select_detections(scores, boxes, limits)["scores"]) == 5
