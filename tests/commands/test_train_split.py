"""Splits of the images of a training."""

import csv
import json
import shutil

import pytest

from commands.tiny import assert_same_run, tiny_run
from commands.trained import CPU, make_images, make_run, scored
from msgformer.commands.evaluate import evaluate
from msgformer.commands.report import report
from msgformer.commands.train import train
from msgformer.data.loading.split import read_split
from msgformer.errors import UserError
from msgformer.training.run_files import RunFiles


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return make_images(tmp_path_factory.mktemp("flat") / "data")


@pytest.fixture(scope="module")
def run(data):
    return make_run(data, data.parent / "run")


@pytest.fixture(scope="module")
def all_trained(data):
    return make_run(data, data.parent / "all", val_fraction=0, report=True)


def test_all_images_are_trained_on(all_trained):
    assert len(read_split(all_trained, "train")) == 30
    assert read_split(all_trained, "val") == []
    with (all_trained / "metrics.csv").open(newline="") as file:
        assert not [column for column in next(csv.reader(file)) if "val/" in column]
    note = "There are no held-out images: the run was trained on all images (val_fraction 0), so nothing is scored;"
    assert note in (all_trained / "report.html").read_text()


def test_the_last_epoch_of_a_training_on_all_images_is_its_best(data, tmp_path):
    result = tiny_run(data, tmp_path / "run", val_fraction=0)
    assert (result.epoch, result.epochs, result.top1, result.loss) == (3, 3, None, None)
    assert result.table().startswith("trained 3 epochs on all images, without validation (")
    assert json.loads(result.render(as_json=True))["top1"] is None


def test_a_training_on_all_images_is_resumed_exactly(data, tmp_path, monkeypatch):
    whole = tiny_run(data, tmp_path / "whole", val_fraction=0).run
    saved = RunFiles.save_last

    def stop(self, trainer):
        saved(self, trainer)
        if trainer.current_epoch == 1:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(RunFiles, "save_last", stop)
        with pytest.raises(KeyboardInterrupt):
            tiny_run(data, tmp_path / "parts", val_fraction=0)
    train(resume=tmp_path / "parts")
    assert_same_run(whole, tmp_path / "parts")


def test_without_held_out_images_evaluation_needs_data(all_trained, data, capsys):
    with pytest.raises(UserError, match=r"has no held-out images: it was trained on all images .*; give --data FOLDER"):
        evaluate(all_trained, **CPU)
    assert len(scored(all_trained, data)) == 30
    assert "warning: 30 of the 30 scored images are training images of" in capsys.readouterr().err
    report(all_trained, **CPU)
    assert "note: There are no held-out images" in capsys.readouterr().err
    report(all_trained, data, **CPU)
    assert "There are no held-out images" not in (all_trained / "report.html").read_text()


def test_the_split_of_a_run_is_used_again(run, data, tmp_path):
    again = make_run(data, tmp_path / "again", seed=5, split_file=run / "split.csv")
    assert (again / "split.csv").read_text() == (run / "split.csv").read_text()
    assert scored(again) == read_split(run, "val")


def test_a_changed_split_file_does_not_change_a_resumed_run(run, data, tmp_path):
    file = tmp_path / "mine.csv"
    shutil.copy(run / "split.csv", file)
    again = make_run(data, tmp_path / "again", split_file=file)
    file.unlink()
    assert train(resume=again).epochs == 2


def test_a_split_file_keeps_images_for_a_test(run, data, tmp_path):
    rows = (run / "split.csv").read_text().splitlines()
    held = rows.index(next(row for row in rows if row.startswith("val,")))
    file = tmp_path / "mine.csv"
    file.write_text("\n".join([rows[0], rows[1].replace("train", "test"), *rows[2:held], *rows[held:]]))
    again = make_run(data, tmp_path / "again", split_file=file)
    name = rows[1].split(",")[-1]
    assert read_split(again, "test") == [name]
    assert name not in read_split(again, "train")
    assert scored(again, split="test") == scored(again, data, split="test") == [name]


def test_folds_and_seeds_of_the_split(data, tmp_path):
    folds = [make_run(data, tmp_path / f"{one}", folds=3, fold=one, split_seed=7, epochs=1) for one in (1, 2, 3)]
    held_out = [read_split(one, "val") for one in folds]
    assert sorted(name for names in held_out for name in names) == sorted(
        [*read_split(folds[0], "train"), *held_out[0]]
    )
    assert scored(folds[1]) == held_out[1]
    other = make_run(data, tmp_path / "other", split_seed=8, epochs=1)
    same = make_run(data, tmp_path / "same", seed=8, epochs=1)
    assert read_split(other, "val") == read_split(same, "val")
    assert scored(other) == read_split(other, "val")


def test_groups_by_a_pattern_and_by_a_column(data, tmp_path):
    run = make_run(data, tmp_path / "run", split_by=r"(\d)\.png", val_fraction=0.3, epochs=1)
    held_out, trained = ({name[-5] for name in read_split(run, subset)} for subset in ("val", "train"))
    assert len(held_out) == 3
    assert held_out.isdisjoint(trained)
    copy = shutil.copytree(data, tmp_path / "copy")
    names = [f"{folder.name}/{file.name}" for folder in copy.iterdir() for file in folder.iterdir()]
    rows = [f"{name},{name.split('/')[0]},case {int(name[-6:-4]) // 2}" for name in names]
    (copy / "labels.csv").write_text("\n".join(["image,label,Patient", *rows]))
    run = make_run(copy, tmp_path / "table", split_by="patient", epochs=1)
    held_out, trained = ({int(name[-6:-4]) // 2 for name in read_split(run, subset)} for subset in ("val", "train"))
    assert len(held_out) == 1
    assert held_out.isdisjoint(trained)
    assert scored(run, copy) == read_split(run, "val")


def test_bundled_digits_are_evaluated_on_their_fold(tmp_path):
    run = make_run(None, tmp_path / "run", folds=4, fold=2, epochs=1, config="embedded/digits")
    assert scored(run) == read_split(run, "val")
    assert len(read_split(run, "val")) == pytest.approx(1797 / 4, abs=1)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"val_fraction": 0.3, "folds": 3, "fold": 1}, "val_fraction has no effect with folds; leave one of them out"),
        ({"val_fraction": 0.2, "split_file": "x.csv"}, "val_fraction has no effect with split_file"),
        ({"folds": 3}, "folds needs fold, as in --folds 5 --fold 1; give both, or neither"),
        ({"fold": 3}, "fold needs folds"),
        ({"folds": 3, "fold": 4}, "fold must be at most 3, the number of folds, not 4"),
        ({"folds": 3, "fold": 0}, "fold must be at least 1, not 0"),
        ({"folds": 1, "fold": 1}, "folds must be at least 2, not 1"),
        ({"split_seed": -1}, "split_seed must be at least 0, not -1"),
        ({"split_file": "x.csv", "folds": 3, "fold": 1}, "folds has no effect with split_file"),
        ({"split_file": "x.csv", "split_by": "x"}, "split_by has no effect with split_file"),
        ({"split_file": "x.csv", "split_seed": 1}, "split_seed has no effect with split_file"),
        ({"split_file": "gone.csv"}, r"split_file: no such file or folder: .*gone\.csv"),
        ({"val_fraction": 0, "split_by": "x"}, "split_by has no effect with val_fraction 0"),
        ({"val_fraction": 0, "split_seed": 1}, "split_seed has no effect with val_fraction 0"),
        ({"val_fraction": 0, "trainer": {"patience": 3}}, "trainer.patience has no effect with val_fraction 0"),
        ({"task": "segment", "folds": 3, "fold": 1}, "folds is for --task classify, not for segment; leave it out"),
    ],
)
def test_options_of_the_split_that_contradict_are_refused(data, tmp_path, settings, message):
    with pytest.raises(UserError, match=message):
        train(data=data, output=tmp_path / "run", **settings)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    "settings",
    [{"val_fraction": 0}, {"folds": 2, "fold": 1}, {"split_by": "x"}, {"split_seed": 3}],
)
def test_data_with_validation_images_is_not_split(tmp_path, settings):
    make_images(tmp_path / "data" / "train", 2)
    make_images(tmp_path / "data" / "val", 2)
    name = next(iter(settings))
    with pytest.raises(UserError, match=rf"{name}.* is for data without validation images, and .*data has some"):
        make_run(tmp_path / "data", tmp_path / "run", **settings)
