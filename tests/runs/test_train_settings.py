import importlib.util
import inspect
from dataclasses import replace

import pytest
import yaml

from msgformer.commands.train import train
from msgformer.config.training_options import TrainerOptions
from msgformer.errors import UserError
from msgformer.runs.train_settings import TrainSettings, check_compiler, check_model, check_trackers


@pytest.mark.parametrize("name", ["msg_transformer_tiny", "sgformer_s", "resnet18", "hf-hub:timm/resnet18.a1_in1k"])
def test_names_of_this_package_and_of_others_pass(name):
    check_model(name)


@pytest.mark.parametrize(
    ("name", "nearest"),
    [("msg_transformer_tny", "msg_transformer_tiny"), ("sgformers", "sgformer_s"), ("sg_former_base", "sgformer_base")],
)
def test_mistyped_names_of_this_package_are_refused_without_timm(name, nearest):
    with pytest.raises(UserError, match=f"unknown model '{name}'; did you mean '{nearest}'"):
        check_model(name)


@pytest.fixture
def settings():
    parameters = inspect.signature(train).parameters
    return TrainSettings.of({name: parameter.default for name, parameter in parameters.items()})


def test_a_run_of_a_version_without_an_option_is_resumed_with_its_default(settings, tmp_path):
    stored = settings.to_dict()
    del stored["optim"]["layer_decay_scratch"], stored["augment"]["scale"]
    path = tmp_path / "config.yaml"
    path.write_text(yaml.safe_dump(stored))
    settings.check_unchanged(path)
    changed = replace(settings, optim=replace(settings.optim, layer_decay_scratch=False))
    with pytest.raises(UserError, match=r"resume: optim\.layer_decay_scratch is True in .*, not False"):
        changed.check_unchanged(path)


def test_missing_compiler_is_refused(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CXX", raising=False)
    with pytest.raises(UserError, match=r"trainer\.compile needs a C\+\+ compiler .*; install g\+\+"):
        check_compiler()


@pytest.mark.parametrize("name", ["wandb", "mlflow"])
def test_missing_logger_package_is_refused(monkeypatch, name):
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    with pytest.raises(UserError, match=rf"trainer\.logger {name} needs the package '{name}'; install it with"):
        check_trackers(TrainerOptions(logger=[name]).trackers)


def test_compiler_in_cxx_is_found(tmp_path, monkeypatch):
    compiler = tmp_path / "my-compiler"
    compiler.touch(mode=0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("CXX", "my-compiler")
    check_compiler()


@pytest.mark.parametrize("given", ["swin.safetensors", "~/swin.safetensors"])
def test_initial_weights_are_recorded_with_an_absolute_path(tmp_path, monkeypatch, given):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    defaults = {name: parameter.default for name, parameter in inspect.signature(train).parameters.items()}
    settings = TrainSettings.of({**defaults, "init_from": given})
    assert settings.to_dict()["init_from"] == str(tmp_path / "swin.safetensors")
