import json
import shutil
from pathlib import Path

import pytest
import torch

from data.dense_folders import coco_content, write_coco
from msgformer.data.detection.sets import find_readers, open_detection
from msgformer.data.problems import has_errors
from msgformer.errors import UserError


def problems_of(root):
    return find_readers(root)["train"]()[1]


def test_images_and_objects_are_read(tmp_path):
    train, val = open_detection(write_coco(tmp_path))
    assert (train.classes, train.category_ids) == (("cat", "dog"), (3, 7))
    assert [train.name(index) for index in range(3)] == [f"images/train/{i}.png" for i in range(3)]
    assert [(image.width, image.height) for image in val.images] == [(40, 30), (30, 40), (32, 32)]
    target = train.target(0, with_masks=True)
    assert target["boxes"].tolist() == [[4, 5, 14, 15], [20, 2, 26, 10]]
    assert target["labels"].tolist() == [1, 2]
    assert target["masks"].shape == (2, 30, 40)
    assert target["masks"].dtype == torch.uint8
    assert target["masks"][0].nonzero().amin(0).tolist() == [5, 4]
    assert target["masks"].sum((1, 2)).tolist() == [100, 48]
    assert train.load(0).size == (40, 30)


@pytest.mark.parametrize("layout", ["train2017/{}", "images/train2017/{}", "roboflow"])
def test_layouts_of_the_same_format(layout, tmp_path):
    write_coco(tmp_path / "data", subsets=("train2017", "val2017"))
    root = tmp_path / "data"
    if layout == "train2017/{}":
        for path in (root / "images").iterdir():
            path.rename(root / path.name)
    elif layout == "roboflow":
        for subset in ("train", "val"):
            folder = (root / "images" / f"{subset}2017").rename(root / subset)
            (root / "annotations" / f"instances_{subset}2017.json").rename(folder / "_annotations.coco.json")
    train, val = open_detection(root)
    assert [len(train), len(val)] == [3, 3]
    train.load(2)


def test_a_test_set_beside_the_validation_set_is_not_used(tmp_path):
    root = tmp_path / "data"
    write_coco(root, subsets=("train", "valid", "test"))
    assert {Path(one.file).parent.name for one in open_detection(root)[1].images} == {"valid"}
    shutil.copy(root / "annotations" / "instances_valid.json", root / "annotations" / "instances_val.json")
    with pytest.raises(UserError, match=r"annotations/instances_val.json, annotations/instances_valid.json; keep one"):
        open_detection(root)


def test_images_outside_the_data_folder_have_absolute_names(tmp_path):
    write_coco(tmp_path / "data")
    outside = (tmp_path / "data" / "images").rename(tmp_path / "elsewhere")
    for subset in ("train", "val"):
        path = tmp_path / "data" / "annotations" / f"instances_{subset}.json"
        content = json.loads(path.read_text())
        for image in content["images"]:
            image["file_name"] = str(outside / subset / image["file_name"])
        path.write_text(json.dumps(content))
    train, _ = open_detection(tmp_path / "data")
    assert train.name(0) == train.paths()[0]


def change(**changes):
    """Return COCO content with some values replaced, by paths such as ``annotations__0__bbox``."""
    content = coco_content()
    for path, value in changes.items():
        *parents, last = (int(key) if key.isdigit() else key for key in path.split("__"))
        place = content
        for key in parents:
            place = place[key]
        if value is None:
            del place[last]
        else:
            place[last] = value
    return content


ERRORS = [
    (change(annotations__0__image_id=99), "annotation of no image", "annotation 1 is for image 99"),
    (change(annotations__1__category_id=5), "unknown category", "annotation 2 has category 5"),
    (change(images__1__file_name="gone.png"), "missing image", "no such image file"),
    (change(images__1__id=10), "annotation file", r"images\[1\] has the id 10 of an earlier one"),
    (change(annotations__0__bbox=[1, 2, 3]), "box", r"annotation 1: bbox \[1, 2, 3\] isn't"),
    (change(annotations__0__bbox=[1, 2, 3, float("nan")]), "box", "annotation 1: bbox .* isn't"),
    (change(annotations__0__bbox=None), "annotation file", r"annotations\[0\] lacks 'bbox'"),
    (change(images__0__id="10"), "annotation file", r"images\[0\] has 'id' '10', not a whole number"),
    (change(annotations__2=7), "annotation file", r"annotations\[2\] is 7, not a mapping"),
    (
        change(annotations__3__segmentation__size=[30, 40]),
        "mask",
        r"annotation 4: its mask is an RLE of size \[30, 40\]",
    ),
    (change(annotations__3__segmentation__counts=[20, 20]), "mask", "its mask is an RLE of 40 pixels, but the image"),
    (change(annotations__3__segmentation__counts="o9"), "mask", "its mask is an RLE"),
    (change(annotations=[]), "annotation file", "its list 'annotations' is empty"),
    (change(categories=None), "annotation file", "its list 'categories' is missing"),
    (change(categories__1__name="cat"), "annotation file", "two categories have the name 'cat'"),
    ([], "annotation file", "its list 'categories' is missing"),
]


@pytest.mark.parametrize(("content", "kind", "message"), ERRORS)
def test_errors_are_named_before_anything_is_trained(content, kind, message, tmp_path):
    root = write_coco(tmp_path, content)
    found = [problem for problem in problems_of(root) if problem.severity == "error"]
    assert found
    assert kind in {problem.kind for problem in found}
    with pytest.raises(UserError, match=message):
        open_detection(root)


HANDLED = [
    *(
        (change(annotations__0__bbox=[*corner, 10, 10]), "warning", "box outside the image")
        for corner in ((50, 5), (5, 40), (-20, 5), (5, -10))
    ),
    (change(annotations__0__bbox=[4, 5, 0, 10]), "warning", "box without area"),
    (change(annotations__0__segmentation=[[1, 1, 2, 2]]), "warning", "mask"),
    (change(annotations__0__bbox=[30, 5, 15, 10]), "note", "box across the border"),
    (change(annotations__0__segmentation=[[4, 5, 4, 50, 50, 50, 50, 5]]), "note", "mask larger than the image"),
    (coco_content(), "note", "category ids with gaps"),
    (coco_content(), "note", "no annotations"),
]


@pytest.mark.parametrize(("content", "severity", "kind"), HANDLED)
def test_irregularities_that_coco_tolerates_are_reported(content, severity, kind, tmp_path):
    root = write_coco(tmp_path, content)
    problems = problems_of(root)
    assert (severity, kind) in {(problem.severity, problem.kind) for problem in problems}
    assert not has_errors(problems)
    train, _ = open_detection(root)
    target = train.target(0, with_masks=True)
    if severity == "warning":
        assert target["labels"].tolist() == [2]
    if kind == "box across the border":
        assert target["boxes"][0].tolist() == [30, 5, 40, 15]
    if kind == "mask larger than the image":
        assert target["masks"][0].sum() == 25 * 36


def test_annotations_of_one_id_are_all_used(tmp_path):
    """Exports that were merged number their objects twice."""
    root = write_coco(tmp_path, change(annotations__1__id=1))
    (problem,) = [problem for problem in problems_of(root) if problem.severity == "warning"]
    assert problem.kind == "doubled annotation id"
    assert "annotations[1] has the id 1 of an earlier one" in problem.message
    assert open_detection(root)[0].target(0, with_masks=True)["labels"].tolist() == [1, 2]


@pytest.mark.parametrize(("text", "message"), [("", "is empty"), ('{"images": [', "isn't valid JSON")])
def test_files_that_are_no_json_are_named(text, message, tmp_path):
    root = write_coco(tmp_path)
    (root / "annotations/instances_train.json").write_text(text)
    with pytest.raises(UserError, match=rf"instances_train\.json: {message}"):
        open_detection(root)


def test_an_image_of_another_size_is_named_when_it_is_loaded(tmp_path):
    root = write_coco(tmp_path, change(images__0__width=41))
    train, _ = open_detection(root)
    with pytest.raises(UserError, match=r"0\.png: the annotations say 41 x 30 pixels, but it has 40 x 30"):
        train.load(0)


def test_a_missing_area_is_that_of_the_box(tmp_path):
    root = write_coco(tmp_path)
    path = root / "annotations/instances_val.json"
    content = json.loads(path.read_text())
    for annotation in content["annotations"]:
        del annotation["area"]
    path.write_text(json.dumps(content))
    truth = open_detection(root)[1].to_coco()
    assert [one["area"] for one in truth["annotations"]] == [
        one["bbox"][2] * one["bbox"][3] for one in content["annotations"]
    ]
    assert min(one["area"] for one in truth["annotations"]) > 0
