from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from data.dense_folders import SIZES, coco_content, quarters, write_ade20k, write_coco
from msgformer.config.dense_data_options import LabelOptions
from msgformer.data.dense.checks import (
    check_instances,
    check_instances_quickly,
    check_label_maps,
    check_label_maps_quickly,
    check_object_counts,
)
from msgformer.data.detection.sets import open_detection
from msgformer.data.segmentation.label_maps import LabeledImages, read_label_map
from msgformer.data.segmentation.sets import open_segmentation


def test_problems_of_images_are_found(tmp_path):
    train, val = open_detection(write_coco(tmp_path))
    assert check_instances_quickly(train) == check_instances(val, whole=False) == []
    folder = tmp_path / "images/train"
    (folder / "0.png").write_bytes((folder / "0.png").read_bytes()[:200])
    Image.new("RGB", (7, 5)).save(folder / "1.png")
    (folder / "2.png").write_text("no image")
    found = {problem.path: (problem.kind, problem.message) for problem in check_instances(train)}
    assert found[str(folder / "0.png")][0] == found[str(folder / "2.png")][0] == "unreadable image"
    assert found[str(folder / "1.png")] == (
        "size of an image",
        "the annotations say 30 x 40 pixels, but it has 7 x 5; annotate the image as it is, or replace it",
    )
    assert len(check_instances(train, whole=False)) == 2  # the truncated one has a header


@pytest.mark.parametrize("orientation", [5, 6, 7, 8])
def test_rotated_images_have_their_displayed_size(orientation, tmp_path):
    train, _ = open_detection(write_coco(tmp_path))
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(np.zeros((40, 30, 3), np.uint8)).save(tmp_path / "images/train/0.png", exif=exif)
    assert check_instances(train) == []
    assert train.load(0).size == (40, 30)


def test_problems_of_label_maps_are_found(tmp_path):
    train, _ = open_segmentation(write_ade20k(tmp_path), LabelOptions(True))
    assert check_label_maps_quickly(train) == []
    maps = tmp_path / "annotations/training"
    Image.fromarray(quarters(40, 30) + 1).save(maps / "0.png")
    Image.fromarray(quarters(40, 30)).save(maps / "1.png")
    (maps / "2.png").unlink()
    found = {problem.path: problem.kind for problem in check_label_maps(train)}
    assert found == {
        str(maps / "0.png"): "labels of no class",
        str(maps / "1.png"): "size of a label map",
        str(maps / "2.png"): "unreadable label map",
    }
    assert len(check_label_maps(train, whole=False)) == 2


@pytest.mark.parametrize("header_limit", [2, 1000])
def test_a_sample_of_label_maps_of_large_sets_is_read(header_limit, tmp_path, monkeypatch):
    train, _ = open_segmentation(write_ade20k(tmp_path), LabelOptions(True))
    maps = tmp_path / "annotations/training"
    for name, (width, height) in zip(("0.png", "2.png"), (SIZES[0], SIZES[2]), strict=True):
        Image.fromarray(quarters(width, height) + 1).save(maps / name)
    assert [Path(problem.path).name for problem in check_label_maps_quickly(train)] == ["0.png", "2.png"]
    monkeypatch.setattr("msgformer.data.dense.checks.FULL_CHECK_LIMIT", 2)
    monkeypatch.setattr("msgformer.data.dense.checks.HEADER_CHECK_LIMIT", header_limit)
    assert [Path(problem.path).name for problem in check_label_maps_quickly(train)] == ["0.png"]
    (tmp_path / "images/training/2.jpg").unlink()
    assert len(check_label_maps_quickly(train)) == (1 if header_limit == 2 else 2)


def test_the_sample_is_spread_over_the_whole_set(tmp_path, monkeypatch):
    train, _ = open_segmentation(write_ade20k(tmp_path), LabelOptions(True))
    large = LabeledImages(train.root, train.pairs * 4, train.scheme)
    read = []
    monkeypatch.setattr("msgformer.data.dense.checks.FULL_CHECK_LIMIT", 2)
    monkeypatch.setattr(
        "msgformer.data.dense.checks.read_label_map", lambda path, _: read.append(path) or read_label_map(path)
    )
    assert check_label_maps_quickly(large) == []
    assert sorted(read) == sorted(large.pairs[index][1] for index in (0, 6))


@pytest.mark.parametrize("limit", ["HEADER_CHECK_LIMIT", "FULL_CHECK_LIMIT"])
def test_large_detection_sets_are_not_fully_decoded(limit, tmp_path, monkeypatch):
    train, _ = open_detection(write_coco(tmp_path))
    file = tmp_path / "images/train/0.png"
    file.write_bytes(file.read_bytes()[:200])
    assert len(check_instances_quickly(train)) == 1
    monkeypatch.setattr(f"msgformer.data.dense.checks.{limit}", 2)
    assert check_instances_quickly(train) == []


def test_images_with_more_objects_than_detections_are_told(tmp_path):
    content = coco_content()
    train = open_detection(write_coco(tmp_path, content))[0]
    counts = [sum(not one.crowd for one in image.instances) for image in train.images]
    assert max(counts) == 2
    assert check_object_counts(train, 2, "") is None
    problem = check_object_counts(train, 1, "give --max_dets {count}")
    assert (problem.severity, problem.path) == ("warning", train.images[counts.index(2)].file)
    assert "shows 2 objects, more than the limit of 1 detections per image" in problem.message
    assert problem.message.endswith("give --max_dets 2")
