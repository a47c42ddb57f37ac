"""Training and validation sets of a folder."""

import pytest

from data.dense_folders import coco_content, write_coco
from msgformer.data.detection.sets import find_readers, open_detection, open_detection_val
from msgformer.errors import UserError


def test_folders_of_another_layout_are_named(tmp_path):
    with pytest.raises(UserError, match=r"has no annotations: neither annotations/instances_\*\.json"):
        find_readers(tmp_path)
    write_coco(tmp_path / "one", subsets=("val",))
    with pytest.raises(UserError, match=r"has annotations of val images, but of no training images"):
        open_detection(tmp_path / "one")
    write_coco(tmp_path / "two", subsets=("train2014", "train2017", "val"))
    with pytest.raises(UserError, match=r"instances_train2014\.json, annotations/instances_train2017\.json; keep one"):
        find_readers(tmp_path / "two")


def test_classes_are_matched_by_name(tmp_path):
    other = coco_content()
    other["categories"] = [{"id": 1, "name": "dog"}, {"id": 2, "name": "cat"}]
    for one in other["annotations"]:
        one["category_id"] = {3: 2, 7: 1}[one["category_id"]]
    write_coco(tmp_path, other)
    train, val = open_detection(tmp_path)
    assert train.classes == val.classes == ("dog", "cat")
    assert [one.label for one in val.images[0].instances] == [2, 1]
    assert val.category_ids == (7, 3)
    assert open_detection_val(tmp_path, ["bird", "cat", "dog"]).category_ids == (8, 3, 7)
    with pytest.raises(UserError, match=r"0\.png shows a 'cat', which is not among the known classes; .* 'cats'"):
        open_detection_val(tmp_path, ["cats", "dog"])
