import math

import numpy as np
import pytest
import torch

from msgformer.tasks.detection.coco_scores import METRICS, CocoGroundTruth, CocoScores, summarize, summarize_with_limit
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


def crowded(count=150):
    """Return the ground truth of an image with many objects of one class, and detections of all of them."""
    boxes = [(x, y, x + 8, y + 8) for x in range(0, 250, 12) for y in range(0, 250, 12)][:count]
    objects = [
        {"id": n, "image_id": 5, "category_id": 1, "bbox": [x, y, 8, 8], "area": 64, "iscrowd": 0}
        for n, (x, y, _, _) in enumerate(boxes, start=1)
    ]
    images = [{"id": 5, "width": 256, "height": 256}]
    content = {"images": images, "annotations": objects, "categories": [{"id": 1, "name": "dot"}]}
    outputs = found(*((box, 1, 1 - n / 1000) for n, box in enumerate(boxes)))
    return CocoGroundTruth(content, [5], [1]), {name: value for name, value in outputs.items() if name != "masks"}


def test_another_limit_of_detections_is_scored_beside_the_usual_one():
    scores = CocoScores(["box"], max_dets=300, own_limit=50)
    scores.ground_truth, outputs = crowded()
    scores.update([outputs], [0])
    numbers = scores.compute()
    assert [numbers[f"box_{name}_300"] for name in ("ap", "ap50", "ap75", "ar")] == pytest.approx([100] * 4)
    assert numbers["box_ar100"] == pytest.approx(100 * 50 / 150)  # of the detector's own limit
    assert len(scores.last_results) == 150
    plain = CocoScores(["box"])
    plain.ground_truth = scores.ground_truth
    plain.update([{name: value[:50] for name, value in outputs.items()}], [0])
    assert plain.compute() == {name: value for name, value in numbers.items() if not name.endswith("_300")}


def test_metrics_with_a_limit_of_100_are_cocos():
    truth, outputs = crowded()
    results = truth.results(outputs, 0)
    usual = summarize(truth, results, "box").metrics
    limited = summarize_with_limit(truth, results, "box", 100)
    assert 60 < usual["ap"] < 70  # 100 of 150 objects
    names = {"ap_100": "ap", "ap50_100": "ap50", "ap75_100": "ap75", "ar_100": "ar100"}
    assert limited == pytest.approx({name: usual[own] for name, own in names.items()})
