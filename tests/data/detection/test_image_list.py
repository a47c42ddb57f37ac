"""Lists of images in COCO's format, without annotations."""

import json

import pytest

from data.dense_folders import coco_content, write_coco
from msgformer.data.detection.image_list import is_image_list, number_images, read_image_list
from msgformer.errors import UserError


@pytest.mark.parametrize("annotations", [{}, {"annotations": []}])
def test_images_are_found_without_annotations(tmp_path, annotations):
    folder = write_coco(tmp_path)
    content = coco_content()
    file = folder / "annotations" / "image_info_val.json"
    file.write_text(json.dumps({key: content[key] for key in ("images", "categories")} | annotations))
    assert is_image_list(file)
    listed = read_image_list(file)
    assert listed.ids == [one["id"] for one in content["images"]]
    assert [path.rpartition("/")[2] for path in listed.paths] == [one["file_name"] for one in content["images"]]
    assert listed.categories == {one["name"]: one["id"] for one in content["categories"]}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "isn't valid JSON"),
        ("[]", "has no list 'images'"),
        ('{"images": []}', "has no list 'images'"),
        ('{"images": [{"id": 1}]}', r"images\[0\] in .* lacks a numeric 'id' or a 'file_name'"),
        ('{"images": [{"id": 1, "file_name": "a.png"}, {"id": 1, "file_name": "b.png"}]}', "have the same id"),
    ],
)
def test_other_files_are_refused(tmp_path, text, message):
    file = tmp_path / "list.json"
    file.write_text(text)
    with pytest.raises(UserError, match=message):
        read_image_list(file)


def test_images_of_a_folder_are_numbered_by_their_names_if_all_are_different_numbers():
    assert number_images(["a/000139.jpg", "a/000285.jpg"]) == [139, 285]
    assert number_images(["a/000139.jpg", "b/139.jpg"]) == [1, 2]
    assert number_images(["a/7.jpg", "a/b.jpg"]) == [1, 2]
