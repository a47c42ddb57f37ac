import base64
import io
import json

import numpy as np
import pytest
from PIL import Image

from data.dense_folders import write_images
from msgformer.data.detection.labelme import find_labelme

SQUARE = [[4, 5], [14, 5], [14, 15], [4, 15]]


def shape(label="cat", kind="polygon", points=SQUARE, **values):
    return {"label": label, "shape_type": kind, "points": points, "group_id": None, **values}


def read(root, *shapes, **values):
    """Return the objects of an image of 40 x 30 pixels, and the kinds of its problems."""
    write_images(root, ["a.png"])
    content = {"shapes": [*shapes], "imagePath": "a.png", "imageHeight": 30, "imageWidth": 40, **values}
    (root / "a.json").write_text(json.dumps(content))
    found, problems = find_labelme(root).read("all")
    return found, [problem.kind for problem in problems]


def test_a_polygon(tmp_path):
    found, problems = read(tmp_path, shape(), shape("dog", points=[[0, 0], [4, 0], [0, 3]]))
    assert (found.classes, problems) == (("cat", "dog"), [])
    cat, dog = found.images[0].instances
    assert (cat.bbox, cat.area, cat.segmentation) == ((4, 5, 10, 10), 100, [[4, 5, 14, 5, 14, 15, 4, 15]])
    assert (dog.bbox, dog.area, dog.label) == ((0, 0, 4, 3), 6, 2)


def test_a_rectangle_has_no_mask(tmp_path):
    found, _ = read(tmp_path, shape(kind="rectangle", points=[[14, 15], [4, 5]]))
    (one,) = found.images[0].instances
    assert (one.bbox, one.segmentation) == ((4, 5, 10, 10), None)


def test_a_circle_is_given_by_its_center_and_a_point(tmp_path):
    found, _ = read(tmp_path, shape(kind="circle", points=[[20, 15], [23, 19]]))
    (one,) = found.images[0].instances
    assert one.bbox == pytest.approx((15, 10, 10, 10), abs=0.05)
    assert one.area == pytest.approx(np.pi * 25, rel=0.01)


def test_shapes_of_a_group_are_one_object(tmp_path):
    parts = [shape(group_id=1), shape(group_id=1, points=[[20, 5], [24, 5], [24, 9]]), shape("dog", group_id=1)]
    found, _ = read(tmp_path, *parts)
    cat, dog = found.images[0].instances
    assert (cat.bbox, len(cat.segmentation), len(dog.segmentation)) == ((4, 5, 20, 10), 2, 1)


def test_a_mask_lies_at_its_box(tmp_path):
    pixels, buffer = np.zeros((3, 2), np.uint8), io.BytesIO()
    pixels[1:] = 255
    Image.fromarray(pixels).save(buffer, "PNG")
    mask = base64.b64encode(buffer.getvalue()).decode()
    found, _ = read(tmp_path, shape(kind="mask", points=[[5, 7], [7, 10]], mask=mask))
    target = found.target(0, with_masks=True)["masks"][0].numpy()
    assert np.argwhere(target).tolist() == [[8, 5], [8, 6], [9, 5], [9, 6]]


def test_other_shapes_are_left_out_and_told(tmp_path):
    shapes = [shape(), shape(kind="point", points=[[1, 1]]), shape("__ignore__"), shape("", points=SQUARE)]
    found, problems = read(tmp_path, *shapes)
    assert (len(found.images[0].instances), found.classes) == (1, ("cat",))
    assert problems == ["shape without area", "label"]


@pytest.mark.parametrize("points", [[[1, 1], [2, 2]], [[1, float("nan")]] * 3, "x", None])
def test_invalid_points_are_errors(tmp_path, points):
    assert read(tmp_path, shape(), shape(points=points))[1] == ["shape"]


def test_the_image_is_found_by_a_windows_path(tmp_path):
    found, problems = read(tmp_path, shape(), imagePath="..\\photos\\a.png")
    assert (found.images[0].file, problems) == (str(tmp_path / "a.png"), [])


def test_a_missing_image_is_an_error(tmp_path):
    assert read(tmp_path, shape(), imagePath="b.png")[1] == ["missing image"]


def test_other_json_files_are_none_of_labelme(tmp_path):
    (tmp_path / "a.json").write_text("[]")
    assert find_labelme(tmp_path) is None
