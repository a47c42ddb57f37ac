import csv
import json
import shutil

import pytest
from PIL import Image

import msgformer
from commands.trained import make_images, make_run
from msgformer.cli.main import main
from msgformer.commands.evaluate import evaluate
from msgformer.commands.report import report
from msgformer.commands.train import train
from msgformer.errors import UserError
from msgformer.tasks.classification.training_module import ClassificationTraining

EVIL = "<script>alert(1)</script>"
PLOTS = {"learning_curves.png", "learning_rate.png", "confusion.png", "calibration.png", "throughput.png"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("report")


@pytest.fixture(scope="module")
def data(folder):
    return make_images(folder / "data")


@pytest.fixture(scope="module")
def run(data, folder):
    return make_run(data, folder / "run", report=True)


@pytest.fixture
def copy(run, tmp_path):
    return shutil.copytree(run, tmp_path / "copy")


def test_a_training_ends_with_a_report(run, data):
    text = (run / "report.html").read_text()
    result = evaluate(run, device="cpu")
    assert f"{result.top1:.2f} %" in text
    assert f"<dd>{result.loss:.4f}" in text
    for section in ("Learning", "Confusion", "Classes", "Calibration", "Worst mistakes", "Throughput", "Environment"):
        assert f">{section}</h2>" in text
    assert str(data) in text
    assert 'class="note"' not in text
    assert {path.name for path in (run / "plots").iterdir()} == PLOTS
    assert all(min(Image.open(path).size) > 300 for path in (run / "plots").iterdir())


def test_the_run_folder_records_its_provenance(run):
    (start,) = json.loads((run / "environment.json").read_text())
    with (run / "split.csv").open(newline="") as file:
        val = [row["name"] for row in csv.DictReader(file) if row["subset"] == "val"]
    assert start["data"]["val"]["images"] == len(val) == 6
    assert start["data"]["train"]["classes"] == {"dark": 8, "grey": 8, "light": 8}
    assert start["code"]["sha256"]


def test_a_report_can_be_written_again(copy, run):
    before = (copy / "report.html").read_text()
    (copy / "report.html").unlink()
    shutil.rmtree(copy / "plots")
    result = report(copy, device="cpu", workers=0)
    assert result.report == copy / "report.html"
    assert {path.name for path in result.plots} == PLOTS
    after = result.report.read_text()
    assert [line for line in before.splitlines() if "<dd>" in line] == [
        line for line in after.splitlines() if "<dd>" in line
    ]
    assert result.table() == f"{result.report}, and 5 plots in {copy / 'plots'}"
    assert msgformer.report is report


def test_without_scores_the_data_is_not_read(copy, data, monkeypatch):
    monkeypatch.setattr("msgformer.runs.report.read_split", lambda *_: None)
    result = report(copy, score=False)
    text = result.report.read_text()
    assert ">Confusion</h2>" not in text
    assert ">val/top1</dt>" in text
    assert len(result.plots) == 2


def test_other_images_are_scored_on_request(copy, folder, capsys):
    other = make_images(folder / "other", per_class=3)
    assert main(["report", str(copy), "--data", str(other), "--device", "cpu", "--workers", "0"]) == 0
    assert f"{other}, 9 images" in (copy / "report.html").read_text()
    assert capsys.readouterr().out.startswith(f"{copy / 'report.html'}, and 5 plots")


def test_a_stopped_training_leaves_a_report_without_scores(data, tmp_path, monkeypatch, capsys):
    step = ClassificationTraining.training_step

    def interrupted(self, batch, batch_idx):
        if self.current_epoch == 1:
            raise ZeroDivisionError
        return step(self, batch, batch_idx)

    with monkeypatch.context() as patched:
        patched.setattr(ClassificationTraining, "training_step", interrupted)
        with pytest.raises(ZeroDivisionError):
            make_run(data, tmp_path / "run", report=True)
    text = (tmp_path / "run" / "report.html").read_text()
    assert "The training was stopped, so its images were not scored" in text
    assert ">Confusion</h2>" not in text
    train(resume=tmp_path / "run")
    text = (tmp_path / "run" / "report.html").read_text()
    assert ">Confusion</h2>" in text
    assert "<caption>Resumed 2" in text


def test_a_failing_report_does_not_fail_the_training(data, tmp_path, monkeypatch, capsys):
    def unreadable(*_):
        raise UserError("data: gone")

    with monkeypatch.context() as patched:
        patched.setattr("msgformer.tasks.classification.evaluation.reopen_validation", unreadable)
        run = make_run(data, tmp_path / "run", epochs=1, report=True)
    assert "the report lacks the scores of images: data: gone; 'msgformer report" in capsys.readouterr().err
    assert "The images couldn&#39;t be scored: data: gone" in (run / "report.html").read_text()

    def full(*_):
        raise OSError(28, "No space left on device", "plots")

    monkeypatch.setattr("msgformer.runs.report.build_page", full)
    run = make_run(data, tmp_path / "other", epochs=1, report=True)
    assert "no report was written: [Errno 28] No space left on device: 'plots'; " in capsys.readouterr().err


def test_names_of_classes_and_files_are_escaped(tmp_path, folder):
    data = make_images(folder / "evil", classes=(EVIL, '"quoted"'))
    (data / EVIL / "00.png").rename(data / EVIL / "<img src=x onerror=alert(2)>.png")
    run = make_run(data, tmp_path / "run", epochs=1, report=True, val_fraction=0.5)
    text = (run / "report.html").read_text()
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in text
    assert "<script" not in text
    assert "<img src=x" not in text


def test_unusable_runs_are_named(copy, data, tmp_path):
    (tmp_path / "file").touch()
    for path, message in (
        (tmp_path / "cop", r"run: no such file or folder: .*cop; did you mean 'copy'\?"),
        (tmp_path / "file", "run: .*file is a file; give the run folder"),
        (data, "no best.ckpt or last.ckpt"),
    ):
        with pytest.raises(UserError, match=message):
            report(path)
    for content, message in (("epoch,lr\n1,x\n", "isn't a table of metrics"), ("epoch,lr\n", "has no finished epoch")):
        (copy / "metrics.csv").write_text(content)
        with pytest.raises(UserError, match=message):
            report(copy)
