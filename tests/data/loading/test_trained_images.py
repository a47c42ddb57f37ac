import shutil

import pytest

from msgformer.data.loading.split import write_split
from msgformer.data.loading.trained_images import TrainedImages

NAMES = ["a/0.png", "a/1.png", "b/0.png"]


@pytest.fixture
def data(tmp_path):
    """Make three files, two of which a run in ``run`` was trained on."""
    for name in NAMES:
        (tmp_path / "data" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "data" / name).write_text(name)
    (tmp_path / "run").mkdir()
    write_split(tmp_path / "run", {"train": (NAMES[:2], ["a", "a"]), "val": (NAMES[2:], ["b"])})
    return tmp_path / "data"


def test_training_images_are_found_where_they_were(data):
    images = TrainedImages.of(data.parent / "run", data)
    assert images.among(data, NAMES) == [0, 1]
    assert images.among(data / "a", ["0.png", "2.png"]) == [0]  # another folder, in which names begin


def test_a_copy_is_recognized_by_the_contents(data):
    images = TrainedImages.of(data.parent / "run", data)
    copy = shutil.copytree(data, data.parent / "copy")
    assert images.among(copy, NAMES) == [0, 1]
    (copy / NAMES[1]).write_text("else")
    assert images.among(copy, NAMES) == []  # other images with common names
    (copy / NAMES[1]).unlink()
    assert images.among(copy, NAMES) == []


def test_names_decide_if_the_data_is_gone(data, capsys):
    copy = data.rename(data.parent / "moved")
    images = TrainedImages.of(data.parent / "run", data)
    assert images.among(copy, NAMES) == [0, 1]
    images.warn(data.parent / "run", copy, NAMES, "give others")
    message = capsys.readouterr().err
    assert "warning: 2 of the 3 scored images have names of training images of" in message
    assert message.endswith("so the scores are too good; give others\n")
    images.warn(data.parent / "run", copy, NAMES[2:], "give others")
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("run", ["elsewhere", None])
def test_nothing_is_known_without_a_record(data, run):
    assert TrainedImages.of(run and data / run, data).among(data, NAMES) == []
