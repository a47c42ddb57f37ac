import importlib.util

import pytest

from msgformer.config.training_options import TrainerOptions
from msgformer.errors import UserError
from msgformer.runs.train_settings import check_compiler, check_model, check_trackers


@pytest.mark.parametrize("name", ["msg_transformer_tiny", "sgformer_s", "resnet18", "hf-hub:timm/resnet18.a1_in1k"])
def test_names_of_ours_and_of_others_pass(name):
    check_model(name)


@pytest.mark.parametrize(
    ("name", "nearest"),
    [("msg_transformer_tny", "msg_transformer_tiny"), ("sgformers", "sgformer_s"), ("sg_former_base", "sgformer_base")],
)
def test_mistyped_names_of_ours_are_found_without_timm(name, nearest):
    with pytest.raises(UserError, match=f"unknown model '{name}'; did you mean '{nearest}'"):
        check_model(name)


def test_a_missing_compiler_is_said_beforehand(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CXX", raising=False)
    with pytest.raises(UserError, match=r"trainer\.compile needs a C\+\+ compiler .*; install g\+\+"):
        check_compiler()


@pytest.mark.parametrize("name", ["wandb", "mlflow"])
def test_a_logger_that_is_not_installed_is_said_beforehand(monkeypatch, name):
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    with pytest.raises(UserError, match=rf"trainer\.logger: {name} isn't installed; run uv sync --extra {name}"):
        check_trackers(TrainerOptions(logger=[name]).trackers)


def test_a_compiler_may_be_named(tmp_path, monkeypatch):
    compiler = tmp_path / "my-compiler"
    compiler.touch(mode=0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("CXX", "my-compiler")
    check_compiler()
