import numpy as np
import pytest

from msgformer.data.loading.split import read_split, stratified_split, write_split
from msgformer.errors import UserError

LABELS = [0] * 50 + [1] * 10 + [2] * 2
CLASSES = ["a", "b", "c"]


def test_the_split_is_stratified_and_disjoint():
    train, val = stratified_split(LABELS, CLASSES, 0.2, seed=1)
    assert sorted(train + val) == list(range(len(LABELS)))
    assert np.bincount(np.take(LABELS, val)).tolist() == [10, 2, 1]
    assert train == sorted(train)
    assert val == sorted(val)


def test_the_split_depends_on_the_seed_alone():
    assert stratified_split(LABELS, CLASSES, 0.2, 1) == stratified_split(LABELS, CLASSES, 0.2, 1)
    assert stratified_split(LABELS, CLASSES, 0.2, 1) != stratified_split(LABELS, CLASSES, 0.2, 2)


def test_both_sides_keep_an_image_of_every_class():
    train, val = stratified_split([0, 0, 1, 1], CLASSES[:2], 0.9, seed=0)
    assert (len(train), len(val)) == (2, 2)


def test_a_class_of_one_image_is_named():
    with pytest.raises(UserError, match=r"class 'b' has 1 image"):
        stratified_split([0, 0, 1], CLASSES[:2], 0.5, seed=0)


@pytest.mark.parametrize("fraction", [0.0, 1.0, -1.0, 20.0])
def test_an_invalid_fraction_is_refused(fraction):
    with pytest.raises(UserError, match="val_fraction must lie between 0 and 1"):
        stratified_split(LABELS, CLASSES, fraction, seed=0)


def test_a_split_is_read_as_written(tmp_path):
    names = ["a/1, 2.png", 'a/"x".png', "b/new\nline.png"]
    write_split(tmp_path, {"train": (["a/0.png"], ["a"]), "val": (names, ["a", "a", "b"])})
    assert read_split(tmp_path, "val") == names
    assert read_split(tmp_path, "train") == ["a/0.png"]


def test_no_record_is_no_split(tmp_path):
    assert read_split(tmp_path, "val") is None
