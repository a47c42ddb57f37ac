import json
from contextlib import contextmanager

import numpy as np
import pytest

from data.dense_folders import coco_content, write_coco, write_voc
from msgformer.data.detection.sets import open_detection
from msgformer.data.repair.detection import repair_detection
from msgformer.data.survey import survey_detection
from msgformer.errors import UserError
from msgformer.utils.rle import decode_mask


@contextmanager
def no_progress(total):
    yield lambda: None


def repair(data, output):
    return repair_detection(str(data), survey_detection(str(data), no_progress).problems, output)


def written(output, subset="train"):
    return json.loads((output / "annotations" / f"instances_{subset}.json").read_text())


def test_ids_are_numbered_from_one(tmp_path):
    content = coco_content()
    for number, one in enumerate(content["annotations"]):
        one["id"] = number % 2  # each id twice
    found = repair(write_coco(tmp_path / "data", content), tmp_path / "copy")
    assert found.images == {"train": 3, "val": 3}
    copy = written(tmp_path / "copy")
    assert copy["categories"] == [{"id": 1, "name": "cat"}, {"id": 2, "name": "dog"}]
    assert [(one["id"], one["image_id"], one["category_id"]) for one in copy["annotations"]] == [
        (1, 1, 1),
        (2, 1, 2),
        (3, 2, 2),
        (4, 2, 1),
    ]
    assert [one["iscrowd"] for one in copy["annotations"]] == [0, 0, 0, 1]
    assert "4 annotations renumbered" in found.changes
    kinds = {problem.kind for problem in survey_detection(str(tmp_path / "copy"), no_progress).problems}
    assert kinds == {"no annotations"}


def test_objects_and_their_masks_are_the_same(tmp_path):
    """Boxes and masks are cut at the image; run lengths and polygons describe the same pixels."""
    content = coco_content()
    boxes = content["annotations"]
    boxes[0] |= {"bbox": [-4, 5, 18, 10], "area": 180, "segmentation": [[-4, 5, -4, 15, 14, 15, 14, 5], [5]]}
    boxes[1] |= {"bbox": [30, 2, 20, 8], "area": 160, "segmentation": []}
    root = write_coco(tmp_path / "data", content)
    found = repair(root, tmp_path / "copy")
    original, copy = open_detection(root)[0], open_detection(tmp_path / "copy")[0]
    for before, after in zip(original.images, copy.images, strict=True):
        for first, second in zip(before.instances, after.instances, strict=True):
            assert before.clipped(first) == after.clipped(second)
            assert (first.label, first.crowd) == (second.label, second.crowd)
            assert (first.segmentation is None) == (second.segmentation is None)
            if first.segmentation is not None:
                masks = [decode_mask(one.segmentation, before.height, before.width) for one in (first, second)]
                assert np.array_equal(*masks)
    one, other = copy.images[0].instances
    assert (one.bbox, one.area) == ((0, 5, 14, 10), 180)  # the area of the mask is kept
    assert (other.bbox, other.area) == ((30, 2, 10, 8), 80)
    assert found.changes == [
        "1 invalid masks removed",
        "1 masks with invalid parts removed",
        "2 boxes cut at the border of their image",
        "1 masks cut at the border of their image",
    ]


def test_boxes_without_area_and_annotations_of_no_image_are_removed(tmp_path):
    content = coco_content()
    content["annotations"][0]["bbox"] = [4, 5, 0, 10]
    content["annotations"][1]["image_id"] = 99
    found = repair(write_coco(tmp_path / "data", content), tmp_path / "copy")
    assert len(written(tmp_path / "copy")["annotations"]) == 2
    assert "1 boxes without area in their image removed" in found.changes
    assert "1 annotations of unknown images removed" in found.changes


def test_unreadable_and_missing_images_are_left_out(tmp_path):
    root = write_coco(tmp_path / "data")
    folder = root / "images" / "train"
    (folder / "0.png").write_bytes(b"no image")
    (folder / "2.png").unlink()
    found = repair(root, tmp_path / "copy")
    assert found.left_out == [str(folder / "0.png"), str(folder / "2.png")]
    assert [one["file_name"] for one in written(tmp_path / "copy")["images"]] == ["1.png"]
    assert [path.name for path in (tmp_path / "copy/images/train").iterdir()] == ["1.png"]


def test_other_layouts_become_coco(tmp_path):
    root = write_voc(tmp_path / "data")
    (root / "ImageSets/Main/val.txt").write_text("b\n")
    found = repair(root, tmp_path / "copy")
    assert found.images == {"train": 2, "val": 1}
    train, _ = open_detection(tmp_path / "copy")
    assert train.classes == ("cat", "dog")
    assert [one.crowd for one in train.images[0].instances] == [False, True]


def test_objects_of_unknown_categories_are_refused(tmp_path):
    """Without the object, its image would teach that there is none."""
    content = coco_content()
    content["annotations"][0]["category_id"] = 99
    with pytest.raises(UserError, match=r"^fix: not repairable .*: annotation 1 has category 99"):
        repair(write_coco(tmp_path / "data", content), tmp_path / "copy")
