import json

import pytest

from data.dense_folders import coco_content
from msgformer.data.detection.coco_files import find_coco
from msgformer.errors import UserError


@pytest.fixture
def write(tmp_path):
    def write(*names):
        for name in names:
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).write_text(json.dumps(coco_content()))
        return tmp_path

    return write


@pytest.mark.parametrize(
    "names",
    [
        {"train": "annotations/instances_train2017.json", "val": "annotations/instances_val2017.json"},
        {"train": "annotations/instances_Train.json", "val": "annotations/instances_Validation.json"},
        {"train": "train/_annotations.coco.json", "val": "valid/_annotations.coco.json", "test": "test/labels.json"},
        {"train": "annotations/my_train_set.json", "val": "annotations/my_val_set.json"},
        {"train": "coco-training.json", "test": "coco-testing.json"},
        {"all": "annotations/instances_default.json"},
        {"all": "result.json"},
    ],
)
def test_files_of_subsets(write, names):
    root = write(*names.values())
    found = find_coco(root)
    assert {subset: path.relative_to(root).as_posix() for subset, path in found.subsets.items()} == names


def test_files_that_are_no_annotations_are_left_out(write):
    root = write("annotations/instances_train.json", "annotations/captions_train.json", "annotations/all.json")
    (root / "package.json").write_text("{}")
    assert [*find_coco(root).subsets] == ["train"]


def test_several_files_are_refused(write):
    with pytest.raises(UserError, match=r"several files for all images: a\.json, b\.json; keep one, or give it with"):
        find_coco(write("a.json", "b.json"))


def test_no_files(tmp_path):
    assert find_coco(tmp_path) is None
