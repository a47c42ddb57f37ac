import pytest

from data.dense_folders import write_ade20k, write_cityscapes, write_coco, write_images, write_voc
from data.tar_files import write_shard
from msgformer.data.recognition import classification_layout, detection_layout, segmentation_layout


def layouts(data):
    return tuple(find(str(data)) for find in (classification_layout, detection_layout, segmentation_layout))


@pytest.mark.parametrize(
    ("write", "detection", "segmentation"),
    [
        (write_coco, "COCO", None),
        (write_voc, "Pascal VOC", None),
        (write_ade20k, None, "images/ and annotations/"),
        (write_cityscapes, None, "Cityscapes"),
    ],
)
def test_layouts_of_dense_data_are_no_class_folders(write, detection, segmentation, tmp_path):
    assert layouts(write(tmp_path / "data")) == (None, detection, segmentation)


def test_pairs_inside_the_subsets_are_no_classes(tmp_path):
    """A segmenter refuses this layout, but a classifier would learn to tell images from masks."""
    for subset in ("train", "val"):
        for folder in ("images", "masks"):
            write_images(tmp_path / subset / folder, ["0.png"])
    assert layouts(tmp_path) == (None, None, "images/ and masks/")


def test_class_folders_and_their_subsets(image_folder):
    root = image_folder("data/Training").parent
    image_folder("data/Testing")
    assert layouts(root) == ("class folders in Training/, Testing/", None, None)
    assert layouts(root / "Training") == ("class folders", None, None)


def test_classes_are_named_like_folders_of_other_tasks(image_folder):
    root = image_folder(classes=["images", "masks"])
    assert layouts(root) == (None, None, "images/ and masks/")
    assert layouts(image_folder("other", classes=["photos", "annotations"])) == ("class folders", None, None)


def test_other_json_files_are_no_annotations(image_folder):
    root = image_folder()
    (root / "info.json").write_text('{"images": 12, "license": "MIT"}')
    assert layouts(root) == ("class folders", None, None)


def test_annotations_that_cannot_be_read_are_still_recognized(tmp_path):
    """The message of reading them tells what is wrong; that of a classifier would be misleading."""
    write_images(tmp_path / "images", ["0.png"])
    (tmp_path / "data.yaml").write_text("names: [")
    assert layouts(tmp_path) == (None, "YOLO", None)
    (tmp_path / "data.yaml").unlink()
    for name in ("instances_train.json", "train.json"):
        (tmp_path / name).write_text("{}")
    assert layouts(tmp_path) == (None, "COCO", None)


def test_explicit_annotations(tmp_path):
    root = write_coco(tmp_path / "data")
    assert layouts(f"coco:{root}/annotations?images={root}/images") == (None, "COCO", None)
    assert layouts(root / "annotations" / "instances_train.json") == (None, "COCO", None)


def test_yolo_without_data_yaml(tmp_path):
    write_images(tmp_path / "images" / "train", ["0.png"])
    (tmp_path / "labels" / "train").mkdir(parents=True)
    (tmp_path / "labels" / "train" / "0.txt").write_text("0 0.5 0.5 0.1 0.1\n")
    assert layouts(tmp_path) == (None, "YOLO", None)


def test_folders_without_any_layout(tmp_path):
    assert layouts(tmp_path) == (None, None, None)
    write_images(tmp_path, ["0.png"])
    assert layouts(tmp_path) == (None, None, None)


def test_locations_that_are_no_folders(tmp_path):
    shard = write_shard(tmp_path / "s.tar", {"a": 0, "b": 1})
    assert layouts(f"wds:{shard}") == ("WebDataset shards", None, None)
    assert layouts("sample:digits") == ("sample:digits", None, None)
