from pathlib import Path

import pytest

from msgformer.data.detection.instances import AnnotatedImage, Instance, InstanceSet
from msgformer.data.detection.split import split_by_rule
from msgformer.data.loading.split import Folds, SplitRule
from msgformer.errors import UserError


def make_set(*labels):
    """Return a set of images with objects of the given labels."""
    images = [
        AnnotatedImage(number, f"/data/{number}.jpg", 9, 9, tuple(Instance(0, one, (1, 1, 4, 4), 16) for one in found))
        for number, found in enumerate(labels)
    ]
    return InstanceSet(Path("/data"), images, ("cat", "dog", "cow"), (1, 2, 3))


def ids(data):
    return [image.id for image in data.images]


def test_the_images_of_a_rare_class_are_split_by_the_same_fraction():
    data = make_set(*[[1]] * 40, *[[1, 2]] * 10, [])
    train, val, _ = split_by_rule(data, SplitRule(0.2, seed=0))
    assert sorted(ids(train) + ids(val)) == list(range(51))
    assert sum(2 in [one.label for one in image.instances] for image in val.images) == 2
    assert len(val) == 10
    assert ids(split_by_rule(data, SplitRule(0.2, seed=0))[1]) == ids(val)
    assert ids(split_by_rule(data, SplitRule(0.2, seed=1))[1]) != ids(val)


def test_a_single_image_of_a_class_is_for_training():
    train, _, _ = split_by_rule(make_set([1], [1], [1], [3]), SplitRule(0.5, seed=0))
    assert 3 in ids(train)


def test_too_few_images_are_refused():
    with pytest.raises(UserError, match=r"/data: 2 image\(s\) are too few to split"):
        split_by_rule(make_set([1], [2]), SplitRule(0.5, seed=0))


def test_all_images_are_trained_on_with_a_fraction_of_zero():
    train, val, test = split_by_rule(make_set([1], [], [2]), SplitRule(0))
    assert (ids(train), ids(val), test) == ([0, 1, 2], [], None)


def test_folds_are_disjoint():
    data = make_set(*[[1]] * 20, *[[1, 2]] * 10)
    folds = [ids(split_by_rule(data, SplitRule(folds=Folds(5, one)))[1]) for one in range(1, 6)]
    assert sorted(one for fold in folds for one in fold) == list(range(30))
    assert {sum(one >= 20 for one in fold) for fold in folds} == {2}


def test_groups_are_never_split():
    data = make_set(*[[1 + number % 3] for number in range(60)], [])
    for rule in (SplitRule(0.3, by=r"(\d+)\d\.jpg|\d+"), SplitRule(folds=Folds(3, 1), by=r"(\d+)\d\.jpg|\d+")):
        train, val, _ = split_by_rule(data, rule)
        tens = [{one // 10 if one > 9 else f"single {one}" for one in ids(part)} for part in (train, val)]
        assert tens[0].isdisjoint(tens[1])
        assert len(train) + len(val) == 61


def test_a_split_file_may_lack_images_without_objects(tmp_path):
    data = make_set([1], [2], [3], [], [1])
    rows = ["name,subset", "0.jpg,train", "1.jpg,val", "2.jpg,test", "4.jpg,train"]
    (tmp_path / "split.csv").write_text("\n".join(rows))
    parts = split_by_rule(data, SplitRule(file=tmp_path / "split.csv"))
    assert [ids(part) for part in parts] == [[0, 4], [1], [2]]
    (tmp_path / "split.csv").write_text("\n".join(rows[:-1]))
    with pytest.raises(UserError, match=r"split_file: .*split\.csv lacks the image 4\.jpg"):
        split_by_rule(data, SplitRule(file=tmp_path / "split.csv"))
