import json

import numpy as np
import pytest
from PIL import Image

from msgformer.config.dense_data_options import LabelOptions
from msgformer.data.bundled.scene_folders import cached_scenes, write_detection, write_segmentation
from msgformer.data.bundled.scenes import SceneMaker
from msgformer.data.segmentation.sets import resolve_reduce_zero
from msgformer.errors import UserError
from msgformer.utils.rle import decode_mask

COUNTS = {"train": 3, "val": 2}


def test_detection_is_written_as_coco_is(tmp_path):
    write_detection(tmp_path / "scenes", COUNTS, seed=1)
    content = json.loads((tmp_path / "scenes/annotations/instances_val.json").read_text())
    assert [image["file_name"] for image in content["images"]] == ["000001.jpg", "000002.jpg"]
    assert [(one["id"], one["name"]) for one in content["categories"]] == [(d + 1, str(d)) for d in range(10)]
    scene = SceneMaker("val", 1).make(1)
    written = [one for one in content["annotations"] if one["image_id"] == 2]
    assert [one["category_id"] - 1 for one in written] == list(scene.labels)
    assert [tuple(one["bbox"]) for one in written] == scene.boxes()
    for mask, one in zip(scene.masks(), written, strict=True):
        np.testing.assert_array_equal(decode_mask(one["segmentation"], 256, 256), mask)
        assert one["area"] == mask.sum()
    with Image.open(tmp_path / "scenes/images/val/000002.jpg") as file:
        difference = np.asarray(file).astype(int) - scene.image
    assert abs(difference).mean() < 3


def test_segmentation_is_written_as_ade20k_is(tmp_path):
    write_segmentation(tmp_path / "scenes", COUNTS, seed=1)
    names = (tmp_path / "scenes/classes.txt").read_text().split()
    assert names == ["background", *"0123456789"]
    assert resolve_reduce_zero(tmp_path / "scenes", LabelOptions())
    with Image.open(tmp_path / "scenes/annotations/training/000003.png") as image:
        assert image.mode == "L"
        labels = np.asarray(image)
    np.testing.assert_array_equal(labels, SceneMaker("train", 1).make(2).classes() + 1)
    assert len(list((tmp_path / "scenes/images/training").iterdir())) == 3
    assert len(list((tmp_path / "scenes/annotations/validation").iterdir())) == 2


def test_nothing_is_overwritten_or_left_half_written(tmp_path, monkeypatch):
    (tmp_path / "full").mkdir()
    (tmp_path / "full/file").touch()
    with pytest.raises(UserError, match="full already exists"):
        write_detection(tmp_path / "full", COUNTS, 0)
    (tmp_path / "empty").mkdir()
    write_segmentation(tmp_path / "empty", COUNTS, 0)
    assert (tmp_path / "empty/classes.txt").is_file()
    monkeypatch.setattr(SceneMaker, "make", None)
    with pytest.raises(TypeError):
        write_detection(tmp_path / "scenes", COUNTS, 0)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["empty", "full"]
    with pytest.raises(UserError, match="can't create"):
        write_detection(tmp_path / "full/file/scenes", COUNTS, 0)


def test_scenes_are_written_to_the_cache_once(tmp_path, monkeypatch):
    monkeypatch.setenv("MSGFORMER_CACHE", str(tmp_path))
    folder = cached_scenes("detect", write_detection, COUNTS, 0)
    assert folder.parent == tmp_path
    monkeypatch.setattr(SceneMaker, "make", None)
    assert cached_scenes("detect", write_detection, COUNTS, 0) == folder
    with pytest.raises(TypeError, match="not callable"):
        cached_scenes("detect", write_detection, COUNTS, 1)
