"""Results: values, JSON, drawn images, files and the HTML for notebooks."""

import json
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from msgformer import ClassificationResult, DetectionResult, SegmentationResult, UserError
from msgformer.data.files.memory_inputs import DecodedInput
from msgformer.utils.rle import encode_masks

CLASSES = ("cat", "dog, big", "tree")
HEIGHT, WIDTH = 60, 90
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


@pytest.fixture(params=MAKERS)
def task(request):
    return request.param


@pytest.fixture
def result(task):
    return MAKERS[task]()


def failed(task):
    return MAKERS[task](**FAILED[task], error="can't read image a.png (cut off); replace it", source=None)


def test_classification():
    result = classification()
    assert (result.label, result.probability) == ("dog, big", pytest.approx(0.7))
    assert result.top(2) == [("dog, big", pytest.approx(0.7)), ("cat", pytest.approx(0.2))]
    assert len(result.top(99)) == len(result.top()) == 3
    assert result.to_dict() == {"image": SOURCE.name, "classes": ["dog, big", "cat"], "probabilities": [0.7, 0.2]}
    assert repr(result) == "ClassificationResult(photos/a <b>.png: dog, big 70.0 %, cat 20.0 %)"


def test_classes_of_equal_probability_are_in_their_original_order():
    assert [name for name, _ in classification(probabilities=np.float32([0.4, 0.2, 0.4])).top(3)] == [
        "cat",
        "tree",
        "dog, big",
    ]


@pytest.mark.parametrize("with_masks", [True, False])
def test_detection(with_masks):
    result = detection(with_masks)
    assert result.labels == ["tree", "cat"]
    assert len(result) == 2
    assert result.boxes.tolist()[0] == [20, 10, 50, 30]
    if with_masks:
        assert result.masks.dtype == bool
        assert (result.masks == masks()).all()
    else:
        assert result.masks is None
    values = result.to_dict()
    assert values["image"] == SOURCE.name
    assert [one["label"] for one in values["objects"]] == ["tree", "cat"]
    assert values["objects"][1]["box"] == [0, 0, 5, 60]
    assert (values["objects"][0]["mask"] is None) is not with_masks
    assert repr(result) == "DetectionResult(photos/a <b>.png: tree 90 %, cat 25 %)"


def test_detection_without_objects():
    empty = {name: value for name, value in FAILED["detect"].items() if name not in ("size", "rles")}
    result = detection(**empty, rles=[])
    assert (len(result), result.labels, result.masks.shape) == (0, [], (0, HEIGHT, WIDTH))
    assert result.to_dict() == {"image": SOURCE.name, "objects": []}
    assert (np.asarray(result.plot()) == np.asarray(IMAGE)).all()
    assert repr(result) == "DetectionResult(photos/a <b>.png: nothing)"


def test_segmentation():
    result = segmentation()
    assert result.area_by_class == {"cat": pytest.approx(200 / 3), "tree": pytest.approx(100 / 3)}
    assert result.to_dict() == {"image": SOURCE.name, "classes": result.area_by_class}
    image = result.to_image()
    assert (image.mode, image.size) == ("P", (WIDTH, HEIGHT))
    assert (np.asarray(image) == result.class_map).all()
    assert repr(result) == "SegmentationResult(photos/a <b>.png: cat 66.7 %, tree 33.3 %)"


def test_json_is_valid(result):
    assert json.loads(result.to_json()) == json.loads(json.dumps(result.to_dict()))


def test_plot_draws_on_a_copy_of_the_image(result):
    drawn = result.plot()
    assert isinstance(drawn, Image.Image)
    assert (drawn.mode, drawn.size) == ("RGB", IMAGE.size)
    assert (np.asarray(drawn) != np.asarray(IMAGE)).any()
    assert (np.asarray(IMAGE) == (90, 120, 150)).all()  # the image itself is unchanged


def test_predictions_are_drawn_at_their_positions():
    changed = (np.asarray(segmentation().plot()) != np.asarray(IMAGE)).any(2)
    assert changed.all()
    changed = (np.asarray(detection().plot()) != np.asarray(IMAGE)).any(2)
    assert changed[masks().any(0)].all()
    assert not changed[40:, 60:].any()


@pytest.mark.parametrize("suffix", ["png", "jpg", "webp", "PNG", "bmp", "tif"])
def test_drawn_image_is_saved(result, tmp_path, suffix):
    path = tmp_path / f"out.{suffix}"
    assert result.save(path) == path
    with Image.open(path) as saved:
        assert saved.size == IMAGE.size
    if suffix == "png":
        assert (np.asarray(Image.open(path)) == np.asarray(result.plot())).all()


def test_values_are_saved(result, tmp_path):
    assert json.loads(result.save(str(tmp_path / "out.json")).read_text()) == json.loads(result.to_json())
    odd = replace(result, image="byte\udcff.png")
    assert json.loads(odd.save(tmp_path / "odd.json").read_text())["image"] == "byte\udcff.png"


@pytest.mark.parametrize("name", ["out.txt", "out", "out.csv", "missing/out.png", "missing/out.json"])
def test_invalid_paths_are_refused(result, tmp_path, name):
    message = "must end with" if "missing" not in name else "can't be written"
    with pytest.raises(UserError, match=rf"^path: .*{name} {message}"):
        result.save(tmp_path / name)
    assert not list(tmp_path.iterdir())


def test_html_for_notebooks(result):
    html = result._repr_html_()
    assert "photos/a &lt;b&gt;.png" in html
    assert 'src="data:image/png;base64,' in html
    assert "<b>.png" not in html


def test_result_of_an_unreadable_image(task, tmp_path):
    result = failed(task)
    assert result.to_dict() == {"image": SOURCE.name, "error": "can't read image a.png (cut off); replace it"}
    assert "can't be read: can't read image a.png" in repr(result)
    assert "can&#x27;t read image a.png" in result._repr_html_()
    assert json.loads(result.save(tmp_path / "out.json").read_text())["error"] == result.error
    for use in (result.plot, result.load_image, lambda: result.save(tmp_path / "out.png")):
        with pytest.raises(UserError, match=r"can't read image a\.png"):
            use()
    assert [path.name for path in tmp_path.iterdir()] == ["out.json"]
    if task == "classify":
        assert (result.label, result.probability, result.top(3)) == (None, None, [])
    elif task == "detect":
        assert (len(result), result.labels, result.masks) == (0, [], None)
    else:
        assert result.area_by_class == {}


def test_result_without_its_image_cannot_be_plotted(result):
    with pytest.raises(UserError, match=r"isn't available any more"):
        replace(result, source=None).plot()


def test_results_are_compared_by_identity():
    """Arrays have no single truth value, so results can't be compared by value."""
    first, second = classification(), classification(probabilities=np.float32([0.7, 0.2, 0.1]))
    assert first != second
    assert first == first
    assert len({first, second}) == 2
    assert segmentation() != segmentation(class_map=np.zeros((HEIGHT, WIDTH), np.uint8))
