"""Annotated images: targets for training, ground truth for scoring."""

import json

import numpy as np
import pytest

from data.dense_folders import coco_content, write_coco
from msgformer.data.detection.sets import open_detection
from msgformer.errors import UserError


def test_crowds_and_empty_images_are_kept_for_scoring_but_not_trained_on(tmp_path):
    train, val = open_detection(write_coco(tmp_path))
    assert train.target(1, with_masks=True)["labels"].tolist() == [2]
    assert [image.id for image in train.trainable(with_masks=True).images] == [10, 11]
    assert train.target(2, with_masks=True)["masks"].shape == (0, 32, 32)
    assert train.target(2, with_masks=False)["boxes"].shape == (0, 4)
    truth = val.to_coco()
    assert [image["id"] for image in truth["images"]] == [10, 11, 12]
    assert [one["iscrowd"] for one in truth["annotations"]] == [0, 0, 0, 1]
    assert [one["category_id"] for one in truth["annotations"]] == [3, 7, 7, 3]
    assert all(isinstance(one["segmentation"]["counts"], str) for one in truth["annotations"])


@pytest.mark.parametrize(("text", "crowds"), [("0", [0, 0, 0, 0]), ("1", [1, 1, 1, 1]), (False, [0, 0, 0, 0])])
def test_ids_are_numbered_from_1_and_crowds_may_be_text(tmp_path, text, crowds):
    """COCO's evaluation takes an object of id 0 for none."""
    content = coco_content()
    for number, one in enumerate(content["annotations"]):
        one.update(id=number, iscrowd=text)
    truth = open_detection(write_coco(tmp_path, content))[0].to_coco()
    assert [one["id"] for one in truth["annotations"]] == [1, 2, 3, 4]
    assert [one["iscrowd"] for one in truth["annotations"]] == crowds


def test_masks_are_required_only_by_mask_heads(tmp_path):
    content = coco_content()
    for one in content["annotations"]:
        del one["segmentation"]
    train, _ = open_detection(write_coco(tmp_path, content))
    assert not train.has_masks
    assert len(train.trainable(with_masks=False)) == 2
    assert "segmentation" not in json.dumps(train.to_coco())
    with pytest.raises(UserError, match="boxes but no masks"):
        train.trainable(with_masks=True)
    for one in content["annotations"]:
        one["iscrowd"] = 1
    with pytest.raises(UserError, match="no training image has an object to train on"):
        open_detection(write_coco(tmp_path / "crowds", content))[0].trainable(with_masks=False)


def test_the_ground_truth_has_perfect_scores_against_itself(tmp_path):
    """COCO's tools read the same masks from the original and from the written annotations."""
    from faster_coco_eval.core import mask as api

    train, _ = open_detection(write_coco(tmp_path))
    for written, given in zip(train.to_coco()["annotations"], coco_content()["annotations"], strict=True):
        assert written["bbox"] == given["bbox"]
        size = written["segmentation"]["size"]
        expected = given["segmentation"]
        rle = (
            api.merge(api.frPyObjects(expected, *size))
            if isinstance(expected, list)
            else api.frPyObjects(expected, *size)
        )
        np.testing.assert_array_equal(api.decode(written["segmentation"]), api.decode(rle))
