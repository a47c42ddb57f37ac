from contextlib import contextmanager

import pytest
from PIL import Image

from data.dense_folders import write_ade20k, write_coco
from msgformer.config.dense_data_options import LabelOptions
from msgformer.errors import UserError
from msgformer.tasks import get_task
from msgformer.tasks.repaired_copy import check_copy, write_copy


@contextmanager
def no_progress(total):
    yield lambda: None


def copy(task, data, output, **options):
    survey = get_task(task).survey(str(data), no_progress, options)
    return write_copy(get_task(task), str(data), survey, output, no_progress, options)


def test_the_copy_is_described(tmp_path):
    root, output = write_ade20k(tmp_path / "data"), tmp_path / "copy"
    (root / "images/training/0.jpg").write_bytes(b"no image")
    found = copy("segment", root, output, segment_images=LabelOptions(True))
    assert (found.output, found.images) == (str(output), {"train": 2, "val": 3})
    assert found.left_out == [str(root / "images/training/0.jpg")]
    assert found.changes == ["5 label maps written as gray PNG files of class indices"]
    assert get_task("segment").survey(str(output), no_progress, {}).problems == []


def test_nothing_is_left_of_a_copy_without_images(tmp_path):
    root = write_coco(tmp_path / "data")
    for path in (root / "images" / "val").iterdir():
        path.write_bytes(b"no image")
    with pytest.raises(UserError, match=r"^fix: no usable image is left in val \(.*/0\.png, \.\.\.\); restore"):
        copy("detect", root, tmp_path / "copy")
    assert [*tmp_path.iterdir()] == [root]


def test_nothing_is_left_of_a_copy_with_errors(tmp_path):
    """Without the unreadable image, no training image has an object."""
    root = write_coco(tmp_path / "data")
    for number in (0, 1):
        (root / "images" / "train" / f"{number}.png").write_bytes(b"no image")
    with pytest.raises(UserError, match=r"^fix: an error remains in the copy: annotations/instances_train\.json: "):
        copy("detect", root, tmp_path / "copy")
    assert [*tmp_path.iterdir()] == [root]


def test_nothing_is_left_of_a_copy_that_lacks_a_class(tmp_path, image_folder):
    root = image_folder("data", per_class=2, classes=["dark", "light", "other"])
    for path in (root / "other").iterdir():
        path.write_bytes(b"no image")
    with pytest.raises(UserError, match=r"^fix: class 'other' would differ in the copy of "):
        copy("classify", root, tmp_path / "copy")
    assert [*tmp_path.iterdir()] == [root]


def test_a_class_without_objects_that_only_val_has_is_not_missed(tmp_path):
    root = write_coco(tmp_path / "data")
    path = root / "annotations" / "instances_val.json"
    path.write_text(path.read_text().replace('"categories": [', '"categories": [{"id": 90, "name": "bird"}, '))
    assert copy("detect", root, tmp_path / "copy").images == {"train": 3, "val": 3}


def test_places_that_cannot_be_written_are_refused(tmp_path):
    root = tmp_path / "data"
    root.mkdir()
    Image.new("L", (8, 8)).save(root / "a.png")
    for output, data, message in (
        (root, str(root), "exists; give a new folder"),
        (tmp_path / "no" / "copy", str(root), "there is no folder .*no; create it first"),
        (root / "copy", str(root), "lies in the data; give a folder outside of"),
        (root / "copy", str(root / "labels.csv"), "lies in the data; give a folder outside of"),
        (tmp_path / "copy", "sample:digits", "is no folder or table of labels"),
    ):
        with pytest.raises(UserError, match=f"^fix: .*{message}"):
            check_copy(output, data)
    assert check_copy(tmp_path / "copy", str(root)) == tmp_path / "copy"
