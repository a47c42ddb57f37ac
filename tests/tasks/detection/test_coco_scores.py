import math

import numpy as np
import pytest
import torch

from msgformer.tasks.detection.coco_scores import METRICS, CocoGroundTruth, CocoScores, summarize
from msgformer.utils.rle import encode_masks

BOXES = {10: [((10, 10, 40, 40), 1), ((60, 60, 200, 200), 2)], 12: [((5, 5, 30, 25), 2)]}
"""Boxes (x1 y1 x2 y2) and labels per image; image 11 has none."""

CATEGORIES = (3, 7)


def mask(box, height=256, width=256):
    filled = np.zeros((1, height, width), bool)
    filled[0, box[1] : box[3], box[0] : box[2]] = True
    return filled


def make_ground_truth(crowd=False):
    annotations = []
    for image, objects in BOXES.items():
        for (x1, y1, x2, y2), label in objects:
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": image,
                    "category_id": CATEGORIES[label - 1],
                    "bbox": [x1, y1, x2 - x1, y2 - y1],
                    "area": (x2 - x1) * (y2 - y1),
                    "iscrowd": int(crowd and label == 1),
                    "segmentation": encode_masks(mask((x1, y1, x2, y2)))[0],
                }
            )
    images = [{"id": number, "width": 256, "height": 256} for number in (10, 11, 12)]
    categories = [{"id": number, "name": name} for number, name in zip(CATEGORIES, ("cat", "dog"), strict=True)]
    content = {"images": images, "annotations": annotations, "categories": categories}
    return CocoGroundTruth(content, (10, 11, 12), CATEGORIES)


def found(*objects):
    """Return a detector's output for objects (box, label, score)."""
    boxes = torch.tensor([box for box, _, _ in objects], dtype=torch.float32).reshape(-1, 4)
    masks = np.concatenate([mask(box) for box, _, _ in objects]) if objects else np.zeros((0, 256, 256), bool)
    return {
        "boxes": boxes,
        "labels": torch.tensor([label for _, label, _ in objects], dtype=torch.int64),
        "scores": torch.tensor([score for _, _, score in objects]),
        "masks": torch.from_numpy(masks),
    }


PERFECT = [
    found(((10, 10, 40, 40), 1, 0.9), ((60, 60, 200, 200), 2, 0.8)),
    found(),
    found(((5, 5, 30, 25), 2, 0.7)),
]


def computed(outputs, kinds=("box", "mask"), crowd=False):
    scores = CocoScores(kinds)
    scores.ground_truth = make_ground_truth(crowd)
    scores.update(outputs[:2], [0, 1])
    scores.update(outputs[2:], [2])
    return scores.compute(), scores


def test_perfect_detections_score_100():
    numbers, scores = computed(PERFECT)
    assert set(numbers) == {f"{kind}_{name}" for kind in ("box", "mask") for name in METRICS}
    for name in ("ap", "ap50", "ap75", "ap_small", "ap_large", "ar100"):
        assert numbers[f"box_{name}"] == pytest.approx(100)
        assert numbers[f"mask_{name}"] == pytest.approx(100)
    assert math.isnan(numbers["box_ap_medium"])  # no object is of that size
    assert scores.summaries["mask"].per_class == pytest.approx({"cat": 100, "dog": 100})
    assert len(scores.last_results) == 3


def test_metrics_equal_values_computed_by_hand():
    """The cat's box has IoU 0.6, which passes 3 of 10 thresholds; one dog is missing, and one is found twice."""
    outputs = [
        found(((10, 10, 40, 28), 1, 0.9)),
        found(((5, 5, 30, 25), 2, 0.95)),
        found(((5, 5, 30, 25), 2, 0.7), ((5, 5, 30, 24), 2, 0.6)),
    ]
    numbers, scores = computed(outputs, ("box",))
    assert scores.summaries["box"].per_class["cat"] == pytest.approx(30)
    # In descending order of score: false, true, false; precision is 1/2 up to recall 1/2, that is at 51 of 101 points.
    assert scores.summaries["box"].per_class["dog"] == pytest.approx(100 * 51 / 101 / 2)
    assert numbers["box_ap"] == pytest.approx((30 + 100 * 51 / 101 / 2) / 2)
    assert numbers["box_ap50"] == pytest.approx((100 + 100 * 51 / 101 / 2) / 2)
    assert numbers["box_ap75"] == pytest.approx((0 + 100 * 51 / 101 / 2) / 2)


def test_classes_are_scored_by_all_detections_of_an_image():
    wrong = ((100, 100, 130, 120), 2, 0.9)  # above the dog of the same image
    _, scores = computed([*PERFECT[:2], found(wrong, ((5, 5, 30, 25), 2, 0.7))], ("box",))
    # In descending order of score: false, true, true; precision is at most 2/3 at every recall.
    assert scores.summaries["box"].per_class == pytest.approx({"cat": 100, "dog": 200 / 3})


def test_detections_in_a_crowd_are_ignored():
    extra = found(((12, 12, 20, 20), 1, 0.9), ((25, 25, 38, 38), 1, 0.8), ((60, 60, 200, 200), 2, 0.8))
    numbers, scores = computed([extra, *PERFECT[1:]], crowd=True)
    assert numbers["box_ap"] == pytest.approx(100)
    assert math.isnan(scores.summaries["box"].per_class["cat"])


def test_no_detections_score_zero_and_compute_resets():
    numbers, scores = computed([found()] * 3)
    assert numbers["box_ap"] == numbers["mask_ar100"] == 0
    scores.update(PERFECT, [0, 1, 2])
    assert scores.compute()["mask_ap"] == pytest.approx(100)
    scores.update([found()] * 3, [0, 1, 2])
    assert scores.compute()["mask_ap"] == 0


def test_results_are_in_cocos_format():
    (one, other) = make_ground_truth().results(PERFECT[0], 0)
    assert (one["image_id"], one["category_id"], other["category_id"]) == (10, 3, 7)
    assert one["bbox"] == [10, 10, 30, 30]
    assert one["score"] == pytest.approx(0.9)
    assert other["segmentation"]["size"] == [256, 256]
    assert summarize(make_ground_truth(), [one, other], "mask").metrics["ap"] > 50


def test_an_object_without_mask_counts_for_boxes_only():
    scores = CocoScores(("box", "mask"))
    scores.ground_truth = make_ground_truth()
    del scores.ground_truth.content["annotations"][0]["segmentation"]
    nothing = found(((60, 60, 200, 200), 2, 0.8))
    for outputs, box_ap in ((PERFECT, 100), ([nothing, *PERFECT[1:]], 50)):
        scores.update(outputs, [0, 1, 2])
        numbers = scores.compute()
        assert numbers["box_ap"] == pytest.approx(box_ap)
        assert numbers["mask_ap"] == pytest.approx(100)
