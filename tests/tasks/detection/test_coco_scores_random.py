"""COCO's metrics of random detections, against pycocotools, COCO's own implementation."""

import contextlib
import copy
import io

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from msgformer.tasks.detection.coco_scores import METRICS, CocoGroundTruth, CocoScores
from msgformer.utils.rle import encode_masks

SIZE = 128


def ellipse(box):
    """Return the pixels of the ellipse in a box (x1 y1 x2 y2)."""
    rows, columns = np.ogrid[:SIZE, :SIZE]
    x1, y1, x2, y2 = box
    return ((columns - (x1 + x2) / 2) / (x2 - x1)) ** 2 + ((rows - (y1 + y2) / 2) / (y2 - y1)) ** 2 <= 0.25


def random_boxes(rng, count):
    corners = rng.integers(0, SIZE - 4, (count, 2))
    return np.concatenate([corners, np.minimum(corners + rng.integers(4, 100, (count, 2)), SIZE)], axis=1)


def random_problem(rng, num_images, max_objects, num_classes, crowds):
    """Return random ground truth in COCO's format, and detections per image, some of them near objects."""
    annotations, detections = [], []
    for image in range(num_images):
        boxes = random_boxes(rng, rng.integers(0, max_objects + 1))
        for x1, y1, x2, y2 in boxes.tolist():
            pixels = ellipse((x1, y1, x2, y2))
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": image + 5,
                    "category_id": 10 * int(rng.integers(num_classes)) + 1,
                    "bbox": [x1, y1, x2 - x1, y2 - y1],
                    "area": int(pixels.sum()),
                    "iscrowd": int(crowds and rng.random() < 0.2),
                    "segmentation": encode_masks(pixels[None])[0],
                }
            )
        near = boxes[rng.random(len(boxes)) < 0.8]
        shifted = np.clip(near + rng.integers(-4, 5, near.shape), 0, SIZE)
        found = np.concatenate([shifted, random_boxes(rng, rng.integers(0, 4))])
        found = found[(found[:, 2:] - found[:, :2] > 2).all(1)]
        masks = np.stack([ellipse(box) for box in found]) if len(found) else np.zeros((0, SIZE, SIZE), bool)
        order = rng.permutation(len(found))
        detections.append(
            {
                "boxes": torch.from_numpy(found[order].astype(np.float32)),
                "labels": torch.from_numpy(rng.integers(1, num_classes + 1, len(found))),
                "scores": torch.from_numpy(np.sort(rng.integers(1, 8, len(found)))[::-1] / 8),  # with equal scores
                "masks": torch.from_numpy(masks[order]),
            }
        )
    images = [{"id": image + 5, "width": SIZE, "height": SIZE} for image in range(num_images)]
    categories = [{"id": 10 * number + 1, "name": str(number)} for number in range(num_classes)]
    content = {"images": images, "annotations": annotations, "categories": categories}
    ids = [one["id"] for one in images], [one["id"] for one in categories]
    return CocoGroundTruth(content, *ids), detections


def published_metrics(content, results, kind):
    """Return COCO's twelve metrics in percent by its own implementation."""
    ignored = {"box": "segmentation", "mask": "bbox"}[kind]
    found = [{key: value for key, value in one.items() if key != ignored} for one in copy.deepcopy(results)]
    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO()
        truth.dataset = copy.deepcopy(content)
        truth.createIndex()
        evaluation = COCOeval(truth, truth.loadRes(found), {"box": "bbox", "mask": "segm"}[kind])
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return {name: 100 * value if value > -1 else np.nan for name, value in zip(METRICS, evaluation.stats, strict=True)}


@settings(max_examples=60, deadline=None, derandomize=True)
@given(
    seed=st.integers(0, 2**32 - 1),
    num_images=st.integers(1, 6),
    max_objects=st.sampled_from([0, 1, 4, 120]),
    num_classes=st.integers(1, 4),
    crowds=st.booleans(),
)
def test_metrics_equal_those_of_pycocotools(seed, num_images, max_objects, num_classes, crowds):
    truth, detections = random_problem(np.random.default_rng(seed), num_images, max_objects, num_classes, crowds)
    scores = CocoScores(("box", "mask"), shared=False)
    scores.ground_truth = truth
    scores.update(detections, range(num_images))
    found = scores.compute()
    if not scores.last_results:
        return  # pycocotools cannot read an empty list of results
    for kind in ("box", "mask"):
        expected = published_metrics(truth.content, scores.last_results, kind)
        for name, value in expected.items():
            assert found[f"{kind}_{name}"] == pytest.approx(value, abs=1e-6, nan_ok=True), (kind, name)
