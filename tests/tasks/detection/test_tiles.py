"""Detection on tiles, with a detector that finds the bright rectangles of an image."""

import pytest
import torch

from msgformer.tasks.detection.tiles import detect_on_tiles, tile_starts

TALL = [(30, 40, 50, 90)]
"""An object in the overlap of the tiles below."""


def draw(size, boxes):
    image = torch.zeros(3, *size)
    for number, (x1, y1, x2, y2) in enumerate(boxes, start=1):
        image[:, y1:y2, x1:x2] = number / 100
    return image


def find_rectangles(image):
    """Return the visible part of each rectangle; the first ones have the highest scores, and cut ones even higher."""
    numbers = (image[0] * 100).round().long()
    found = []
    for number in numbers.unique().tolist():
        if number:
            ys, xs = (numbers == number).nonzero(as_tuple=True)
            area = len(ys)
            box = [xs.min(), ys.min(), xs.max() + 1, ys.max() + 1]
            found.append(([float(side) for side in box], 0.9 - number / 100 - area / 1e6))
    boxes = torch.tensor([box for box, _ in found]).view(-1, 4)
    masks = torch.rand(len(boxes), 28, 28)
    scores = torch.tensor([score for _, score in found])
    return {
        "boxes": boxes, "scores": scores, "labels": torch.ones(len(found), dtype=torch.long), "masks": masks,
        "mask_boxes": boxes,
    }  # fmt: skip


def on_tiles(image, tile=100, overlap=0.4, limit=100):
    return detect_on_tiles(find_rectangles, image, tile, overlap, 0.5, limit)


@pytest.mark.parametrize(
    ("side", "starts"), [(50, [0]), (100, [0]), (101, [0, 1]), (180, [0, 80]), (181, [0, 80, 81]), (250, [0, 80, 150])]
)
def test_tiles_cover_a_side_with_at_least_their_overlap(side, starts):
    assert tile_starts(side, 100, 0.2) == starts


def test_an_image_that_is_not_larger_than_a_tile_is_predicted_as_it_is():
    image = draw((100, 80), TALL)
    calls = []
    result = object()
    assert detect_on_tiles(lambda part: calls.append(part) or result, image, 100, 0.2, 0.5, 100) is result
    assert calls[0] is image


def test_an_object_in_the_overlap_is_found_once_and_whole():
    """A tile shows its left part only, with a higher score than the whole object has."""
    boxes = [(70, 20, 110, 60), (5, 5, 15, 30), (150, 170, 180, 190)]
    found = on_tiles(draw((200, 220), boxes))
    assert found["boxes"].tolist() == [[float(side) for side in box] for box in boxes]
    assert found["mask_boxes"].tolist() == found["boxes"].tolist()
    assert found["masks"].shape == (3, 28, 28)
    assert found["scores"].tolist() == sorted(found["scores"].tolist(), reverse=True)


def test_an_object_larger_than_the_overlap_is_found_in_parts():
    (part, *_) = on_tiles(draw((100, 300), [(20, 30, 280, 70)]))["boxes"].tolist()
    assert part[2] - part[0] <= 100


def test_an_object_at_the_border_of_the_image_is_not_cut():
    boxes = [(0, 0, 30, 30), (190, 60, 220, 100)]
    assert on_tiles(draw((100, 220), boxes))["boxes"].tolist() == [[float(side) for side in box] for box in boxes]


def test_detections_of_all_tiles_are_limited_to_the_most_probable():
    boxes = [(x, y, x + 8, y + 8) for x in range(3, 200, 20) for y in (10, 150)]
    everything = on_tiles(draw((200, 220), boxes))
    assert len(everything["boxes"]) == len(boxes)
    few = on_tiles(draw((200, 220), boxes), limit=4)
    assert few["boxes"].tolist() == everything["boxes"][:4].tolist()


def test_no_object_is_found_in_an_empty_image():
    assert {name: len(values) for name, values in on_tiles(torch.zeros(3, 150, 150)).items()} == dict.fromkeys(
        ("boxes", "scores", "labels", "masks", "mask_boxes"), 0
    )
