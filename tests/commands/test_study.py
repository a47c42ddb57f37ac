"""Ablation tables, trained in one process, in several, and after an interruption."""

import csv
import inspect
import json
import statistics

import pytest

from msgformer.commands.study import open_study, study
from msgformer.commands.train import train
from msgformer.errors import UserError
from msgformer.studies.table import TABLES, Table

BUDGET = """
batch_size: 4
epochs: 1
augment: {enabled: false}
optim: {lr: 1.0e-3, lr_batch: null, warmup_epochs: 0}
trainer: {accelerator: cpu, progress: none}
workers: 0
"""
TABLE7 = TABLES["table7"].rows


@pytest.fixture
def budget(tmp_path):
    path = tmp_path / "budget.yaml"
    path.write_text(BUDGET)
    return path


def test_a_table_is_trained_written_and_resumed(image_folder, budget, tmp_path, monkeypatch):
    monkeypatch.setitem(TABLES, "table7", Table("Sides", TABLE7[:2]))
    data = image_folder(per_class=5)
    first = study("table7", data=data, small=True, budget=budget, seeds=1, output=tmp_path / "study")
    assert [row.name for row in first.rows] == ["2, 2, 2, 1", "4, 2, 2, 1"]
    assert [row.spread for row in first.rows] == [None] * 2
    assert sorted(path.suffix for path in first.output.glob("table.*")) == [".csv", ".json", ".png", ".svg", ".txt"]

    # A second seed: finished runs are kept, and an interrupted run is resumed.
    kept = {path: path.stat().st_mtime_ns for path in first.output.glob("*seed0/*")}
    begun, original = [], train
    monkeypatch.setattr("msgformer.commands.train.train", lambda **given: begun.append(given) or original(**given))
    killed = first.output / "table7_4221-seed1"
    killed.mkdir()
    (killed / "classes.txt").touch()  # as far as a run comes before it can go on
    second = study("table7", data=data, small=True, budget=budget, seeds=2, output=first.output)
    assert [given["output"].name for given in begun] == [f"table7_{n}-seed1" for n in ("2221", "4221")]
    assert kept == {path: path.stat().st_mtime_ns for path in first.output.glob("*seed0/*")}
    for before, after in zip(first.rows, second.rows, strict=True):
        assert after.scores[:1] == before.scores
        assert after.spread == pytest.approx(statistics.stdev(after.scores))

    table = json.loads((second.output / "table.json").read_text())
    assert [row["mean"] for row in table["rows"]] == [row.mean for row in second.rows]
    with (second.output / "table.csv").open() as file:
        assert [float(row["published"]) for row in csv.DictReader(file)] == [80.6, 80.8]
    with pytest.raises(UserError, match="has epochs None, not 2; continue with the same"):
        study("table7", data=data, small=True, budget=budget, epochs=2, output=first.output)


def test_scores_are_those_of_the_last_epoch(image_folder, budget, tmp_path, monkeypatch):
    def train_badly(config, output):
        output.mkdir()
        (output / "metrics.csv").write_text("epoch,val/top1\n1,80.0\n2,60.0\n")

    monkeypatch.setitem(TABLES, "table7", Table("Sides", TABLE7[:1]))
    monkeypatch.setattr("msgformer.commands.train.train", train_badly)
    result = study("table7", data=image_folder(), small=True, budget=budget, epochs=2, output=tmp_path / "study")
    assert result.rows[0].scores == [60.0] * result.seeds


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"table": "table3"}, "table must be one of table4, .*, not 'table3'"),
        ({"seeds": 0}, "seeds must be at least 1, not 0"),
        ({"data": "nowhere"}, "nowhere"),
        ({"budget": "embedded/pear"}, "did you mean 'embedded/pairs'"),
    ],
)
def test_unusable_arguments_are_reported_immediately(arguments, message, tmp_path):
    with pytest.raises(UserError, match=message):
        study(**{"table": "table4", "output": tmp_path / "study", **arguments})
    assert not (tmp_path / "study").exists()


def test_a_folder_with_other_files_is_not_used(tmp_path):
    (tmp_path / "mine.txt").touch()
    with pytest.raises(UserError, match="isn't empty"):
        open_study(tmp_path, {"table": "table4"})


def test_each_row_is_trained_with_three_seeds_by_default():
    assert inspect.signature(study).parameters["seeds"].default == 3
