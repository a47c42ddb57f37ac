import csv
import json
import re

import pytest
import torch
import yaml

from commands.tiny import TINY, assert_same_run, rows, tiny_run, weights
from msgformer.checkpoints.checkpoint_file import read_training_checkpoint
from msgformer.commands.evaluate import evaluate
from msgformer.commands.train import resolve_config, train
from msgformer.config.recipes import RECIPES, load_yaml
from msgformer.errors import UserError


@pytest.fixture
def data(image_folder):
    return image_folder(per_class=10, classes=["dark", "grey", "light"])


@pytest.fixture
def run(data, tmp_path):
    return tiny_run(data, tmp_path / "run").run


def test_a_run_writes_all_documented_files(run, data):
    assert {entry.name for entry in run.iterdir()} == {
        "best.ckpt",
        "classes.txt",
        "config.yaml",
        "last.ckpt",
        "metrics.csv",
        "previous.ckpt",
        "environment.json",
        "split.csv",
    }
    assert (run / "classes.txt").read_text() == "dark\ngrey\nlight\n"
    table = rows(run)
    assert [row["epoch"] for row in table] == ["1", "2", "3"]
    assert list(table[0]) == ["epoch", "step", "lr", "train/loss", "val/loss", "val/top1", "val/top5"]
    assert table[-1]["step"] == str(3 * (24 // 4))
    assert all(0 <= float(row["val/top1"]) <= 100 for row in table)
    with (run / "split.csv").open(newline="") as file:
        split = list(csv.DictReader(file))
    assert sum(row["subset"] == "val" for row in split) == 6
    assert {f"{row['class']}/" for row in split} == {"dark/", "grey/", "light/"}
    assert all((data / row["name"]).is_file() for row in split)


def test_the_result_is_the_best_epoch(data, tmp_path):
    result = tiny_run(data, tmp_path / "run")
    best = max(rows(result.run), key=lambda row: (float(row["val/top1"]), -float(row["val/loss"])))
    assert (str(result.epoch), result.epochs) == (best["epoch"], 3)
    assert result.top1 == pytest.approx(float(best["val/top1"]))
    assert read_training_checkpoint(result.checkpoint)["epoch"] == result.epoch - 1
    assert f"top-1 {result.top1:.2f} %" in result.table()
    assert json.loads(result.render(as_json=True))["epoch"] == result.epoch


def test_the_configuration_repeats_the_run(run, tmp_path):
    again = train(config=run / "config.yaml", output=tmp_path / "again")
    assert_same_run(run, again.run)
    assert (again.run / "config.yaml").read_text() == (run / "config.yaml").read_text()


def test_another_seed_is_another_run(run, data, tmp_path):
    other = tiny_run(data, tmp_path / "other", seed=1).run
    assert not torch.equal(
        weights(run)["model.patch_embed.proj.weight"], weights(other)["model.patch_embed.proj.weight"]
    )


def test_the_number_of_workers_changes_nothing(run, data, tmp_path):
    assert_same_run(run, tiny_run(data, tmp_path / "workers", workers=2).run)


def test_ema_weights_are_scored_and_saved(data, tmp_path):
    run = tiny_run(data, tmp_path / "run", optim={"warmup_epochs": 1, "lr": 1e-2, "lr_batch": None, "ema": 0.9}).run
    table = rows(run)
    assert {"val/ema_loss", "val/ema_top1", "val/ema_top5"} <= table[0].keys()
    best = max(table, key=lambda row: (float(row["val/ema_top1"]), -float(row["val/ema_loss"])))
    averaged, raw = (evaluate(run / name, workers=0, device="cpu") for name in ("best_ema.ckpt", "best.ckpt"))
    assert averaged.top1 == pytest.approx(float(best["val/ema_top1"]))
    assert averaged.loss == pytest.approx(float(best["val/ema_loss"]), rel=1e-5)
    assert averaged.loss != pytest.approx(raw.loss, rel=1e-5)
    stored = read_training_checkpoint(run / "best_ema.ckpt")
    assert stored["state_dict"].keys() == read_training_checkpoint(run / "best.ckpt")["state_dict"].keys()
    assert stored["epoch"] == int(best["epoch"]) - 1


def test_layer_decay_can_be_limited_to_pretrained_weights(data, tmp_path):
    decay = {"warmup_epochs": 1, "lr": 1e-3, "lr_batch": None, "layer_decay": 0.01, "layer_decay_scratch": False}
    tiny_run(data, tmp_path / "plain", epochs=1)
    tiny_run(data, tmp_path / "scratch", epochs=1, optim=decay)
    assert_same_run(tmp_path / "plain", tmp_path / "scratch")
    given = tmp_path / "plain" / "last.ckpt"
    tiny_run(data, tmp_path / "tuned", epochs=1, optim=decay, init_from=given)
    before, after = weights(tmp_path / "plain"), weights(tmp_path / "tuned")
    moved = {name: (after[name] - before[name]).norm() / before[name].norm() for name in before}
    assert 0 < moved["model.patch_embed.proj.weight"] < moved["model.head.fc.weight"] / 100


def test_early_stopping_is_final(data, tmp_path):
    still = {"optim": {"lr": 0.0, "warmup_lr": 0.0, "min_lr": 0.0, "warmup_epochs": 0, "optimizer": "sgd"}}
    trainer = {"accelerator": "cpu", "progress": "none", "patience": 2}
    result = tiny_run(data, tmp_path / "run", epochs=9, trainer=trainer, **still)
    assert (result.epoch, result.epochs) == (1, 3)
    before = (result.run / "last.ckpt").read_bytes()
    assert train(resume=result.run).epochs == 3
    assert (result.run / "last.ckpt").read_bytes() == before


def test_epochs_are_sent_to_tensorboard_on_request(data, tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    trainer = {"accelerator": "cpu", "progress": "none", "logger": "tensorboard"}
    run = tiny_run(data, tmp_path / "run", epochs=2, trainer=trainer).run
    events = EventAccumulator(str(run / "tensorboard")).Reload()
    sent = {name: [event.value for event in events.Scalars(name)] for name in ("train/loss", "val/top1", "lr")}
    assert sent == {name: pytest.approx([float(row[name]) for row in rows(run)]) for name in sent}
    assert [event.step for event in events.Scalars("val/top1")] == [6, 12]
    assert "hp_metric" not in events.Tags()["scalars"]


def test_any_timm_model_trains(data, tmp_path):
    result = tiny_run(data, tmp_path / "run", model="test_resnet", model_args={}, epochs=1, img_size=[32, 48])
    assert read_training_checkpoint(result.checkpoint)["msgformer"]["preprocessing"]["input_size"] == [3, 32, 48]


def test_trainer_options_have_an_effect(data, tmp_path):
    trainer = {"accelerator": "cpu", "progress": "lines", "accumulate_grad_batches": 3, "precision": "bf16-mixed"}
    more = {"gradient_clip_val": 0.1, "grad_checkpointing": True, "deterministic": True}
    result = tiny_run(data, tmp_path / "run", epochs=2, trainer={**trainer, **more})
    assert [row["step"] for row in rows(result.run)] == ["2", "4"]


def test_progress_is_shown_line_by_line_without_a_terminal(data, tmp_path, capsys):
    tiny_run(data, tmp_path / "run", epochs=2, trainer={"accelerator": "cpu"})
    errors = capsys.readouterr().err
    assert re.findall(r"^epoch (\d)/2 .*val/top1 \d+\.\d\d %", errors, re.M) == ["1", "2"]


def test_runs_are_numbered(data, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names = [tiny_run("data", output, epochs=1).run.as_posix() for output in (None, None, "mine")]
    assert names == ["runs/data-1", "runs/data-2", "mine"]
    assert yaml.safe_load((tmp_path / "runs/data-1/config.yaml").read_text())["data"] == str(data)


def test_a_folder_with_fewer_images_than_a_batch_uses_an_even_batch(image_folder, tmp_path):
    result = tiny_run(image_folder(per_class=3), tmp_path / "run", epochs=1, batch_size=64)
    assert rows(result.run)[0]["step"] == "1"


def test_a_loss_that_is_not_finite_stops_the_run(data, tmp_path):
    optim = {"lr": 1e30, "warmup_epochs": 0, "lr_batch": None, "optimizer": "sgd"}
    with pytest.raises(UserError, match=r"not finite \(\w+ is (nan|inf)\) in epoch 1, batch \d.*among \w+/\d\d\.png, "):
        tiny_run(data, tmp_path / "run", optim=optim, trainer={"gradient_clip_val": None, "progress": "none"})


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"batch_size": 3}, "batch_size must be even for mixup"),
        ({"epochs": 0}, "epochs must be at least 1, not 0"),
        ({"img_size": 0}, "img_size must be at least 1, not 0"),
        ({"img_size": [16, 0]}, "img_size must be at least 1, not 0"),
        ({"seed": -1}, "seed must be at least 0, not -1"),
        ({"model_args": {"num_classes": 5}}, "num_classes can't be given here; it is the number of class folders"),
        ({"val_fraction": 1}, "val_fraction must lie between 0 and 1, not 1"),
        ({"optim": {"warmup_epochs": 9}}, r"optim\.warmup_epochs is 9, but epochs is 3"),
        ({"optim": {"ema": 1.0, "warmup_epochs": 1}}, r"optim\.ema must lie between 0 and 1, such as 0.9999, not 1.0"),
        (
            {"optim": {"ema": 0.9, "warmup_epochs": 1}, "trainer": {"precision": "bf16-true"}},
            r"optim\.ema needs weights of 32 bits: use trainer\.precision bf16-mixed",
        ),
        ({"trainer": {"accelerator": "abacus"}}, "Lightning refuses .*abacus"),
        ({"trainer": {"accelerator": "cpu", "devices": 0}}, "Lightning refuses .*devices"),
        ({"trainer": {"accelerator": "cpu", "devices": "1,x"}}, "Lightning refuses .*devices"),
        ({"trainer": {"accelerator": "cpu", "strategy": "dpd"}}, "Lightning refuses .*dpd"),
        ({"trainer": {"accelerator": "cpu", "strategy": "fsdp"}}, "Lightning refuses .*FSDP"),
        ({"trainer": {"accelerator": "cpu", "precision": "16-mixed"}}, r"precision: 16-mixed needs a GPU"),
        ({"trainer": {"patience": 0}}, r"trainer\.patience must be at least 1"),
        ({"img_size": 16, "model_args": {**TINY, "in_chans": 2}}, "in_chans must be 1"),
    ],
)
def test_settings_that_do_not_work_leave_no_run_behind(data, tmp_path, settings, message):
    with pytest.raises(UserError, match=message):
        tiny_run(data, tmp_path / "run", **settings)
    assert not (tmp_path / "run").exists()


def test_an_unreadable_image_is_found_before_training(data, tmp_path):
    (data / "light" / "03.png").write_bytes(b"GIF89a")
    with pytest.raises(UserError, match=r"light/03\.png"):
        tiny_run(data, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_the_recipe_follows_the_data_and_model_args_follow_the_model():
    name, digits = resolve_config({})
    assert name == "embedded/digits"
    assert digits == load_yaml(RECIPES / "embedded/digits.yaml")
    assert resolve_config({"data": "folder"})[0] == "finetune"
    assert "model_args" not in resolve_config({"model": "sgformer_small"})[1]
    assert resolve_config({"model": digits["model"]})[1]["model_args"] == digits["model_args"]
    assert resolve_config({"config": "embedded/digits", "data": "folder"})[0] == "embedded/digits"


@pytest.mark.parametrize(("epochs", "warmup"), [(1, 0), (2, 2), (90, 2)])
def test_a_recipe_with_fewer_epochs_than_its_warmup_still_trains(epochs, warmup):
    values = resolve_config({"epochs": epochs})[1]
    assert values["optim"]["warmup_epochs"] == warmup
    assert values["optim"]["lr"] == resolve_config({})[1]["optim"]["lr"]


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_the_default_training_reaches_97_percent(run_msgformer):
    done = run_msgformer("train", "--json", timeout=1200)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["top1"] >= 97.0


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_compiled_model_is_trained_and_saved_like_any_other(data, tmp_path):
    steady = {"model_args": TINY, "epochs": 1}  # Inductor draws other random numbers for drop path
    plain = tiny_run(data, tmp_path / "plain", **steady).run
    compiled = tiny_run(data, tmp_path / "compiled", **steady, trainer={"accelerator": "cpu", "compile": True}).run
    first, second = weights(plain), weights(compiled)
    assert first.keys() == second.keys()
    assert all(torch.allclose(first[name], second[name], atol=1e-4) for name in first)
