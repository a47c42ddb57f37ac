"""Results of all tasks, of one image in memory."""

from dataclasses import replace

import numpy as np
from PIL import Image

from msgformer import ClassificationResult, DetectionResult, SegmentationResult
from msgformer.data.files.memory_inputs import DecodedInput
from msgformer.utils.rle import encode_masks

CLASSES = ("cat", "dog, big", "tree")
HEIGHT = 60
WIDTH = 90
IMAGE = Image.new("RGB", (WIDTH, HEIGHT), (90, 120, 150))
SOURCE = DecodedInput("photos/a <b>.png", IMAGE)


def masks():
    found = np.zeros((2, HEIGHT, WIDTH), bool)
    found[0, 10:30, 20:50] = True
    found[1, :, :5] = True
    return found


def classification(**changes):
    return replace(ClassificationResult(SOURCE.name, CLASSES, np.float32([0.2, 0.7, 0.1]), 2, source=SOURCE), **changes)


def detection(with_masks=True, **changes):
    boxes = np.float32([[20, 10, 50, 30], [0, 0, 5, 60]])
    rles = encode_masks(masks()) if with_masks else None
    scores, labels = np.float32([0.9, 0.25]), np.int64([2, 0])
    result = DetectionResult(SOURCE.name, CLASSES, boxes, scores, labels, (HEIGHT, WIDTH), rles, source=SOURCE)
    return replace(result, **changes)


def segmentation(**changes):
    class_map = np.zeros((HEIGHT, WIDTH), np.uint8)
    class_map[:, 60:] = 2
    return replace(SegmentationResult(SOURCE.name, CLASSES, class_map, source=SOURCE), **changes)


MAKERS = {"classify": classification, "detect": detection, "segment": segmentation}
FAILED = {
    "classify": {"probabilities": np.zeros(0, np.float32)},
    "detect": {
        "boxes": np.zeros((0, 4), np.float32),
        "scores": np.zeros(0, np.float32),
        "class_ids": np.zeros(0, np.int64),
        "size": (0, 0),
        "rles": None,
    },
    "segment": {"class_map": np.zeros((0, 0), np.uint8)},
}


def failed(task):
    return MAKERS[task](**FAILED[task], error="can't read image a.png (cut off); replace it", source=None)
