import shutil

import pytest

from commands.trained import CPU, make_images, make_run, scored
from msgformer.commands.evaluate import evaluate
from msgformer.data.loading.split import read_split
from msgformer.errors import UserError


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return make_images(tmp_path_factory.mktemp("flat") / "data")


@pytest.fixture(scope="module")
def run(data):
    return make_run(data, data.parent / "run")


def test_the_data_of_a_run_is_scored_on_its_held_out_images(run, data, capsys):
    held_out = read_split(run, "val")
    assert scored(run, data) == held_out
    message = capsys.readouterr().err
    assert "note: " in message
    assert "the 6 that it held out (split.csv) are scored, of 30; --split all scores all" in message
    assert len(message.splitlines()) == 1
    assert scored(run, data, split="val") == held_out
    assert capsys.readouterr().err == ""
    assert scored(run, data, split="train") == scored(run, split="train") == read_split(run, "train")
    assert len(scored(run, data, split="all")) == len(scored(run, split="all")) == 30
    assert capsys.readouterr().err.count("warning: 24 of the 30 scored images are training images of") == 2


def test_moved_data_is_recognized_and_named(run, data, tmp_path):
    moved = shutil.copytree(data, tmp_path / "moved")
    assert scored(run, moved) == read_split(run, "val")  # a copy
    away = data.rename(data.parent / "away")
    try:
        with pytest.raises(
            UserError, match=r"the run's data: no such file or folder: .*data.*; if it moved, give --data"
        ):
            evaluate(run, **CPU)
        assert scored(run, moved) == read_split(run, "val")
    finally:
        away.rename(data)


def test_other_data_with_training_images_is_warned_of(run, data, tmp_path, capsys):
    copy = shutil.copytree(data, tmp_path / "copy")
    name = read_split(run, "train")[0]
    (copy / name).unlink()
    assert len(scored(run, copy)) == 29
    assert "warning: 23 of the 29 scored images are training images" in capsys.readouterr().err
    other = make_images(tmp_path / "other", 10, classes=("light", "dark", "grey"))
    assert len(scored(run, other)) == 30  # the same names, but other images
    assert capsys.readouterr().err == ""
    with pytest.raises(UserError, match="has no val images: it has no subsets"):
        evaluate(run, other, split="val", **CPU)


@pytest.mark.parametrize("names", [("train", "val", "test"), ("Training", "validation", "seg_test")])
def test_subsets_of_folders_are_evaluated(tmp_path, names, capsys):
    for count, name in zip((4, 3, 2), names, strict=True):
        make_images(tmp_path / "data" / name, count)
    run = make_run(tmp_path / "data", tmp_path / "run", epochs=1)
    for count, split in zip((4, 3, 2), ("train", "val", "test"), strict=True):
        assert len(scored(run, split=split)) == len(scored(run, tmp_path / "data", split=split)) == 3 * count
    assert len(scored(run, tmp_path / "data")) == 9
    capsys.readouterr()
    assert len(scored(run, tmp_path / "data" / names[0])) == 12  # although it has all recorded names
    assert "warning: 12 of the 12 scored images are training images of" in capsys.readouterr().err
    with pytest.raises(UserError, match="has train, val, test, but no all images"):
        evaluate(run, tmp_path / "data", split="all", **CPU)


def test_test_images_that_served_for_validation_are_both(tmp_path):
    make_images(tmp_path / "data" / "train", 3)
    make_images(tmp_path / "data" / "test", 2)
    run = make_run(tmp_path / "data", tmp_path / "run", epochs=1)
    assert scored(run, split="test") == scored(run, split="val") == scored(run)


def test_subsets_of_tables_are_evaluated(tmp_path, data):
    copy = shutil.copytree(data, tmp_path / "copy")
    subsets = ["train"] * 6 + ["val"] * 3 + ["test"]
    names = [(folder.name, f"{number:02d}.png") for folder in sorted(copy.iterdir()) for number in range(10)]
    rows = [f"{label}/{name},{label},{subsets[int(name[:2])]}" for label, name in names]
    (copy / "labels.csv").write_text("\n".join(["image,label,split", *rows]))
    run = make_run(copy, tmp_path / "run", epochs=1)
    for split, count in (("train", 18), ("val", 9), ("test", 3)):
        assert len(scored(run, split=split)) == len(scored(run, copy, split=split)) == count
