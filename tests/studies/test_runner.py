"""The runs of a study: their settings, processes and GPUs."""

import pytest

from msgformer.commands.train import train
from msgformer.errors import JobError
from msgformer.studies import runner as studying
from msgformer.studies.runner import Job, find_gpus, make_job, row_settings, run_all
from msgformer.studies.table import SMALL_SIDE, TABLES

TABLE7 = TABLES["table7"].rows


def plan(**changes):
    shared = {"batch_size": 8, "trainer": {"progress": "none"}}
    return {"table": "table7", "data": "sample:pairs", "small": True, "epochs": 5, "budget": shared, **changes}


def test_an_unfinished_run_is_resumed(tmp_path):
    job = Job(TABLE7[0], 0, {"epochs": 3, "optim": {"cooldown_epochs": 1}}, tmp_path / "run")
    assert job.arguments() == {"config": tmp_path / "run.yaml", "output": tmp_path / "run"}
    assert (job.epochs, job.scores()) == (4, [])
    job.folder.mkdir()
    (job.folder / "config.yaml").touch()
    (job.folder / "metrics.csv").write_text("epoch,val/top1\n1,50.0\n2,75.0\n")
    assert job.arguments() == {"resume": tmp_path / "run"}
    assert job.scores() == [50.0, 75.0]


def test_rows_share_everything_but_the_model():
    settings = [row_settings(row, plan()) for row in TABLE7]
    sizes = [values.pop("model_args")["shuffle_sizes"] for values in settings]
    assert sizes == [[2, 2, 2], [4, 2, 2], [4, 4, 2]]
    assert settings[0] == settings[1] == settings[2]
    assert settings[0]["img_size"] == SMALL_SIDE
    assert settings[0]["trainer"]["devices"] == 1


def test_models_of_the_published_size_follow_their_recipes():
    values = row_settings(TABLE7[0], plan(small=False, epochs=10))
    assert values["model_args"] == {"drop_path_rate": 0.2, "shuffle_sizes": [2, 2, 2, 1]}
    assert (values["img_size"], values["batch_size"], values["epochs"]) == (224, 8, 10)
    assert values["optim"]["lr"] == 1e-3
    assert values["optim"]["warmup_epochs"] < 10
    trainer = values["trainer"]
    assert (trainer["devices"], trainer["strategy"], trainer["accelerator"]) == (1, "auto", "auto")


@pytest.mark.parametrize(("given", "taken"), [({}, "32-true"), ({"precision": "bf16-mixed"}, "bf16-mixed")])
def test_the_budget_determines_the_accelerator(given, taken):
    shared = {"trainer": {"accelerator": "cpu", **given}}
    trainer = row_settings(TABLE7[0], plan(small=False, budget=shared))["trainer"]
    assert (trainer["accelerator"], trainer["precision"]) == ("cpu", taken)


def test_several_gpus_train_one_run_each(tmp_path, monkeypatch):
    """With fake processes that record their GPU."""
    monkeypatch.setattr(studying, "find_gpus", lambda: ["3", "5"])
    seen = []
    monkeypatch.setattr(studying.subprocess, "run", lambda command, env, **_: seen.append((command, env)) or Done(seen))
    jobs = [make_job(tmp_path, row, 0, {"epochs": 1}) for row in TABLE7]
    run_all(jobs, studying.find_gpus(), train)
    assert {env["CUDA_VISIBLE_DEVICES"] for _, env in seen} <= {"3", "5"}
    assert sorted(command[-1] for command, _ in seen) == sorted(str(job.folder) for job in jobs)
    assert all(job.folder.with_suffix(".yaml").is_file() for job in jobs)


def test_processes_of_a_study_import_its_plugins(tmp_path, monkeypatch):
    seen = []
    monkeypatch.setattr(studying, "loaded_plugins", lambda: ["a.b", "/c.py"])
    monkeypatch.setattr(studying.subprocess, "run", lambda command, **_: seen.extend(command) or Done(seen))
    run_all([make_job(tmp_path, TABLE7[0], 0, {"epochs": 1})], ["3", "5"], train)
    assert seen[-4:] == ["--plugins", "a.b", "--plugins", "/c.py"]


class Done:
    """A successful process."""

    def __init__(self, _):
        self.returncode = 0


def test_a_failed_process_is_reported_with_its_last_line(tmp_path):
    jobs = [make_job(tmp_path, row, 0, {"epochs": 1, "model": "msg_transformer_tinny"}) for row in TABLE7[:1]]
    with pytest.raises(JobError, match=r"2, 2, 2, 1, seed 0, failed: .*'msg_transformer_tinny'.* \(see .*\.log\)"):
        run_all(jobs, ["", "0"], train)


@pytest.mark.parametrize(("visible", "count", "names"), [(None, 2, ["0", "1"]), ("4,6", 2, ["4", "6"]), ("4", 0, [])])
def test_gpus_are_named_as_in_cuda_visible_devices(monkeypatch, visible, count, names):
    monkeypatch.setattr(studying.torch.cuda, "device_count", lambda: count)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if visible is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert find_gpus() == names
