"""Results: values, JSON, drawn images, files and the HTML for notebooks."""

import json
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from msgformer import UserError
from tasks.prediction.example_results import (
    HEIGHT,
    IMAGE,
    MAKERS,
    SOURCE,
    WIDTH,
    classification,
    detection,
    failed,
    masks,
    segmentation,
)


@pytest.fixture(params=MAKERS)
def task(request):
    return request.param


@pytest.fixture
def result(task):
    return MAKERS[task]()


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
