from dataclasses import replace

import numpy as np
import pytest

from msgformer.data.loading.split import (
    Folds,
    SplitRule,
    assign_subsets,
    match_groups,
    read_split,
    split_images,
    stratified_split,
    write_split,
)
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


def test_all_images_are_trained_on_with_a_fraction_of_zero():
    assert split_images([0, 0, 1], CLASSES[:2], SplitRule(0.0)) == ([0, 1, 2], [])


@pytest.mark.parametrize("count", [2, 3, 5])
def test_folds_are_disjoint_and_stratified(count):
    folds = [split_images(LABELS, CLASSES, SplitRule(seed=3, folds=Folds(count, one + 1))) for one in range(count)]
    assert sorted(index for _, val in folds for index in val) == list(range(len(LABELS)))
    for train, val in folds:
        assert sorted(train + val) == list(range(len(LABELS)))
        assert set(np.take(LABELS, train)) == {0, 1, 2}
        per_class = np.bincount(np.take(LABELS, val), minlength=3)
        assert all(abs(found - total / count) < 1 for found, total in zip(per_class, np.bincount(LABELS), strict=True))
        assert abs(len(val) - len(LABELS) / count) < 1
    assert folds[0] != split_images(LABELS, CLASSES, SplitRule(seed=4, folds=Folds(count, 1)))


def test_more_folds_than_images_are_refused():
    with pytest.raises(UserError, match="folds is 5, but there are only 4 images"):
        split_images([0, 0, 1, 1], CLASSES[:2], SplitRule(folds=Folds(5, 1)))


GROUPED = np.random.default_rng(0).integers(0, 40, 600)
GROUPED_LABELS = (GROUPED % 3).tolist()
GROUPS = [f"patient {group}" for group in GROUPED]


@pytest.mark.parametrize("rule", [SplitRule(0.2), SplitRule(0.45, seed=1), SplitRule(folds=Folds(5, 2))])
def test_groups_are_never_split(rule):
    train, val = split_images(GROUPED_LABELS, CLASSES, rule, GROUPS)
    assert sorted(train + val) == list(range(600))
    assert {GROUPS[index] for index in train}.isdisjoint(GROUPS[index] for index in val)
    target = 0.2 if rule.folds else rule.fraction
    shares = np.bincount(np.take(GROUPED_LABELS, val), minlength=3) / np.bincount(GROUPED_LABELS)
    assert np.abs(shares - target).max() < 0.06
    assert split_images(GROUPED_LABELS, CLASSES, rule, GROUPS) == (train, val)
    assert split_images(GROUPED_LABELS, CLASSES, replace(rule, seed=7), GROUPS) != (train, val)


def test_grouped_folds_are_disjoint():
    rules = [SplitRule(folds=Folds(4, one)) for one in (1, 2, 3, 4)]
    folds = [split_images(GROUPED_LABELS, CLASSES, rule, GROUPS)[1] for rule in rules]
    assert sorted(index for val in folds for index in val) == list(range(600))


def test_many_groups_of_one_image_are_split_as_images():
    train, val = split_images(LABELS * 50, CLASSES, SplitRule(0.2), [str(index) for index in range(3100)])
    assert np.bincount(np.take(LABELS * 50, val)).tolist() == pytest.approx([500, 100, 20], abs=1)
    assert len(train) == 3100 - len(val)


@pytest.mark.parametrize("fraction", [0.01, 0.5, 0.99])
def test_either_side_of_two_groups_has_one(fraction):
    train, val = split_images([0, 1, 0, 1, 0, 1], CLASSES[:2], SplitRule(fraction), ["a", "a", "b", "b", "b", "b"])
    assert sorted([train, val]) == [[0, 1], [2, 3, 4, 5]]


def test_the_only_group_of_a_class_is_trained_on():
    labels, groups = [0, 0, 1, 1, 2, 2], ["a", "b", "a", "c", "d", "d"]
    for seed in range(20):
        train, val = split_images(labels, CLASSES, SplitRule(0.5, seed), groups)
        assert {4, 5} <= {*train}
        assert val


def test_groups_that_cannot_be_split_are_named():
    with pytest.raises(UserError, match="no group can be held out, such as a, which holds all images of class 'a'"):
        split_images([0, 0, 1], CLASSES[:2], SplitRule(0.5), ["a", "a", "b"])
    with pytest.raises(UserError, match=r"folds is 3, but split_by finds only 2 group\(s\)"):
        split_images([0, 0, 1], CLASSES[:2], SplitRule(folds=Folds(3, 1)), ["a", "a", "b"])
    rules = [SplitRule(folds=Folds(2, one)) for one in (1, 2)]
    with pytest.raises(UserError, match=r"fold \d of 2 has all groups of class 'b'"):
        [split_images([0, 0, 1], CLASSES[:2], rule, ["a", "b", "b"]) for rule in rules]


@pytest.mark.parametrize(
    ("pattern", "groups"),
    [
        (r"p(\d+)_", ["1", "1", "12"]),
        (r"p\d+", ["p1", "p1", "p12"]),
        (r"a/(p1)_0|p\d+", ["p1", "p1", "p12"]),
    ],
)
def test_the_group_is_the_first_group_of_a_match_or_all_of_it(pattern, groups):
    assert match_groups(["a/p1_0.png", "b/p1_1.png", "a/p12_0.png"], pattern) == groups


@pytest.mark.parametrize(
    ("pattern", "message"),
    [
        ("p(1", r"split_by: 'p\(1' is no regular expression \(.*\); correct it"),
        ("p1", r"split_by: 'p1' doesn't match b/p2\.png \(1 more\); make it match every image"),
        ("p", "split_by: 'p' puts all images into one group, 'p'; give a finer one"),
    ],
)
def test_unusable_patterns_are_refused(pattern, message):
    with pytest.raises(UserError, match=message):
        match_groups(["a/p1.png", "b/p2.png", "b/p3.png"], pattern)


NAMES = ["a/0.png", "a/1.png", "b/0.png"]


@pytest.mark.parametrize(
    "text",
    [
        "subset,class,name\ntrain,a,a/0.png\ntest,a,a/1.png\nval,b,b/0.png\n",
        "\ufeffImage, Split\na/0.png,TRAIN\nb/0.png,validation\na/1.png,testing\n",
    ],
)
def test_a_split_file_assigns_the_images(tmp_path, text):
    (tmp_path / "split.csv").write_text(text, encoding="utf-8")
    assert assign_subsets(NAMES, tmp_path / "split.csv") == {"train": [0], "val": [2], "test": [1]}


ROWS = "name,subset\na/0.png,train\na/1.png,train\nb/0.png,val\n"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "has no columns; it needs a column name or image, and a column subset or split"),
        ("name,label\n", "has name, label; it needs"),
        (ROWS.replace("b/0.png,val\n", ""), r"lacks the image b/0\.png; add a row, or remove the image"),
        ("name,subset\n", r"lacks the image a/0\.png \(2 more\)"),
        (f"{ROWS}c.png,val\n", r"names c\.png, but the data has no such image; remove the row"),
        (f"{ROWS}b/0.png,train\n", r"row 4: b/0\.png is in val and in train; keep one"),
        (ROWS.replace("val", "fold 1"), "row 3 has the subset 'fold 1'; give train, val or test"),
        (ROWS.replace("train", "test"), "has no training images"),
        (ROWS.replace("val", "train"), "has no validation images; .* or --val_fraction 0 instead of the file"),
    ],
)
def test_unusable_split_files_are_refused(tmp_path, text, message):
    (tmp_path / "mine.csv").write_text(text, encoding="utf-8")
    with pytest.raises(UserError, match=f"split_file: .*mine.csv.*{message}") as error:
        assign_subsets(NAMES, tmp_path / "mine.csv")
    assert "\n" not in str(error.value)


def test_images_that_are_skipped_may_be_in_a_split_file(tmp_path):
    (tmp_path / "split.csv").write_text(f"{ROWS}c.png,val\n", encoding="utf-8")
    assert assign_subsets(NAMES, tmp_path / "split.csv", skipped=["c.png"])["val"] == [2]
