import json

import numpy as np
import pytest

from data.tar_files import png, tar_bytes, write_shard, write_tar
from msgformer.data.classification.tar_sets import open_tar_set
from msgformer.data.files.locations import Location
from msgformer.errors import UserError


def opened(scheme, path):
    train, val = open_tar_set(Location(scheme, str(path)))
    return train, val


def classes_of(source):
    return [source.classes[label] for label in source.labels]


def test_class_folders_in_one_tar_file(tmp_path):
    files = {"./dogs/1.png": png(1), "cats/deeper/2.png": png(2), "cats/notes.txt": b"", "cats/.hidden.png": b""}
    train, val = opened("tar", write_tar(tmp_path / "a.tar", files))
    assert val is None
    assert train.classes == ("cats", "dogs")
    assert classes_of(train) == ["dogs", "cats"]
    assert train.name(1) == "a.tar:cats/deeper/2.png"
    assert np.asarray(train.load(1))[0, 0].tolist() == [2, 2, 253]


def test_a_common_folder_is_no_class_and_train_and_val_are_subsets(tmp_path):
    files = {f"set/{subset}/{name}/1.png": png() for subset in ("train", "val") for name in ("cats", "dogs")}
    train, val = opened("tar", write_tar(tmp_path / "a.tar", files))
    assert (classes_of(train), classes_of(val)) == (["cats", "dogs"], ["cats", "dogs"])
    assert val.name(0) == "a.tar:set/val/cats/1.png"


def test_one_tar_file_per_class(tmp_path):
    for name in ("cats", "dogs"):
        write_tar(tmp_path / f"{name}.tar", {"1.png": png(), "2.png": png()})
    train, _ = opened("tar", tmp_path)
    assert classes_of(train) == ["cats", "cats", "dogs", "dogs"]


def test_tar_files_in_a_tar_file(tmp_path):
    files = {f"{name}.tar": tar_bytes({"1.png": png()}) for name in ("n01", "n02")}
    train, _ = opened("tar", write_tar(tmp_path / "ILSVRC2012_img_train.tar", files))
    assert train.classes == ("n01", "n02")
    assert train.load(1).size == (12, 10)


def test_one_tar_file_per_subset(tmp_path):
    for name in ("train", "val"):
        write_tar(tmp_path / f"{name}.tar", {"cats/1.png": png(), "dogs/1.png": png()})
    train, val = opened("tar", tmp_path)
    assert (len(train.labels), len(val.labels)) == (2, 2)
    assert val.name(0) == "val.tar:cats/1.png"


def test_shards_of_the_same_name_in_two_folders_are_told_apart(tmp_path):
    for name in ("cats", "dogs"):
        write_tar(tmp_path / name / "0.tar", {f"{name}/1.png": png()})
    train, _ = opened("tar", tmp_path)
    assert [train.name(0), train.name(1)] == ["cats/0.tar:cats/1.png", "dogs/0.tar:dogs/1.png"]


def test_numbers_in_val_are_no_index_of_words_in_train(tmp_path):
    write_shard(tmp_path / "train.tar", {"1": "cats", "2": "dogs"})
    write_shard(tmp_path / "val.tar", {"3": 0, "4": 1})
    with pytest.raises(UserError, match=r"some labels in .* are numbers and some are words"):
        opened("wds", tmp_path)


def test_a_class_that_only_val_has_is_named(tmp_path):
    write_tar(tmp_path / "train.tar", {"cats/1.png": png(), "dogs/1.png": png()})
    write_tar(tmp_path / "val.tar", {"cats/1.png": png(), "birds/1.png": png()})
    with pytest.raises(UserError, match=r"class 'birds' of .*val\.tar:birds/1\.png is not among the 2 classes"):
        opened("tar", tmp_path)


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"notes.txt": b""}, "no labeled image"),
        ({"cats/1.png": b"", "cats/2.png": b""}, "only one class .*'cats'"),
        ({"all/cats/1.png": b"", "all/2.png": b""}, "only one class .*'all'"),
    ],
)
def test_a_tar_file_without_classes(tmp_path, files, message):
    with pytest.raises(UserError, match=message):
        opened("tar", write_tar(tmp_path / "a.tar", files))


def test_shards_with_numbers(tmp_path):
    write_shard(tmp_path / "set-train-0.tar", {"00/a": 2, "00/b": 0})
    write_shard(tmp_path / "set-train-1.tar", {"c": 1})
    write_shard(tmp_path / "set-validation-0.tar", {"d": 1})
    train, val = opened("wds", tmp_path)
    assert train.classes == ("0", "1", "2")
    assert (train.labels, val.labels) == ((2, 0, 1), (1,))
    assert [train.name(0), val.name(0)] == ["set-train-0.tar:00/a.png", "set-validation-0.tar:d.png"]
    assert train.load(2).mode == "RGB"


def test_records_are_named_up_to_the_first_dot(tmp_path):
    files = {"a.large.png": png(), "a.cls": b"1", "b.v2/c.large.png": png(), "b.v2/c.cls": b"0"}
    train, _ = opened("wds", write_tar(tmp_path / "a.tar", files))
    assert train.labels == (1, 0)
    assert [train.name(0), train.name(1)] == ["a.tar:a.large.png", "a.tar:b.v2/c.large.png"]


@pytest.mark.parametrize("depth", [0, 1])
def test_classes_txt_names_numbered_classes(tmp_path, depth):
    shard = write_shard(tmp_path / ("train" if depth else "") / "a.tar", {"a": 1, "b": 0})
    (tmp_path / "classes.txt").write_text("cats\ndogs\nbirds\n")
    train, _ = opened("wds", shard.parent)
    assert train.classes == ("cats", "dogs", "birds")
    assert classes_of(train) == ["dogs", "cats"]


def test_labels_in_words_and_in_json(tmp_path):
    train, _ = opened("wds", write_shard(tmp_path / "a.tar", {"a": "dogs", "b": "cats"}))
    assert classes_of(train) == ["dogs", "cats"]
    labels = {key: json.dumps({"caption": "x", "label": label}) for key, label in {"a": 1, "b": 0}.items()}
    train, _ = opened("wds", write_shard(tmp_path / "b.tar", labels, "json"))
    assert train.labels == (1, 0)


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"a.png": b""}, r"record 'a' in shard .*a\.tar has no label"),
        ({"a.cls": b"1"}, r"record 'a' in shard .*a\.tar has no image"),
        ({"a.png": b"", "a.cls": b""}, "record 'a' .* has no label"),
        ({"a.png": b"", "a.json": b"{"}, "record 'a' .* has no readable label"),
        ({"a.png": b"", "a.json": b'{"label": [1]}'}, "record 'a' .* has no label"),
        ({"a.png": b"", "a.cls": b"-1", "b.png": b"", "b.cls": b"1"}, "class -1 of .*a.png is not among the 2"),
        ({"a.png": b"", "a.cls": b"1", "b.png": b"", "b.cls": b"dog"}, "some labels .* are numbers and some are words"),
    ],
)
def test_invalid_records_are_refused(tmp_path, files, message):
    with pytest.raises(UserError, match=message):
        opened("wds", write_tar(tmp_path / "a.tar", files))


def test_a_broken_image_is_named_with_its_shard(tmp_path):
    files = {"a/1.png": png(), "b/2.png": b"no image"}
    train, _ = opened("tar", write_tar(tmp_path / "a.tar", files))
    with pytest.raises(UserError, match=r"can't read image .*/a\.tar:b/2\.png \(not an image\)"):
        train.load(1)
    assert train.probe(0, whole=True) is None
    assert "2.png" in str(train.probe(1, whole=False))
