"""``msgformer convert``: output files, and errors in one line before anything heavy is imported."""

import argparse
import json
import os
import subprocess
import sys
from importlib.metadata import PackageNotFoundError

import pytest
import timm
import torch
from safetensors import safe_open
from safetensors.torch import load_file

import msgformer.models  # noqa: F401  (registers the models with timm)
from msgformer.cli.main import main
from msgformer.commands.convert import convert
from msgformer.errors import UserError


@pytest.fixture(scope="module")
def official(tmp_path_factory):
    """Create a complete checkpoint of the smallest model; all of its tensors share the same memory."""
    with torch.device("meta"):
        shapes = {name: value.shape for name, value in timm.create_model("sgformer_small").state_dict().items()}
    memory = torch.arange(2**20).to(torch.uint8)
    state = {name: memory[: shape.numel()].view(shape) for name, shape in shapes.items()}
    state = {f"module.{name.replace('head.fc.', 'head.')}": value for name, value in state.items()}
    path = tmp_path_factory.mktemp("official") / "sgformer_s.pth"
    torch.save({"state_dict": state, "args": argparse.Namespace(lr=1e-3)}, path)
    return path


def test_every_parameter_is_written_by_its_name_in_this_package(official, tmp_path):
    output = tmp_path / "out.safetensors"
    output.write_text("before")
    result = convert(official, output, model="sgformer_s", overwrite=True)
    state = load_file(output)
    with torch.device("meta"):
        model = timm.create_model("sgformer_small")
    assert {name: value.shape for name, value in state.items()} == {
        name: value.shape for name, value in model.state_dict().items()
    }
    assert state["stages.0.norm.bias"].tolist() == list(range(64))
    assert (result.model, result.tensors, result.parameters) == ("sgformer_small", 669, 22_545_981)
    assert result.table().splitlines() == [
        f"{output}: sgformer_small, 669 tensors, 22,545,981 parameters",
        "left out (not weights): argparse.Namespace",
    ]
    with safe_open(output, "pt") as file:
        assert file.metadata() == {"format": "pt", "model": "sgformer_small", "source": "sgformer_s.pth"}
    other = tmp_path / "other"
    other.touch()
    assert output.stat().st_mode == other.stat().st_mode
    assert sorted(path.name for path in tmp_path.iterdir()) == ["other", "out.safetensors"]


@pytest.mark.skipif(sys.platform == "win32", reason="needs limits on the size of files")
def test_a_full_disk_leaves_the_output_unchanged(official, tmp_path):
    import resource

    output = tmp_path / "out.safetensors"
    output.write_text("before")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2**20, limits[1]))
    try:
        with pytest.raises(UserError, match=r"out\.safetensors' can't be written: .*[Ff]ile too large.*; make room"):
            convert(official, output, overwrite=True)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert output.read_text() == "before"
    assert [path.name for path in tmp_path.iterdir()] == ["out.safetensors"]


def test_another_model_is_refused_with_file_and_first_difference(official, tmp_path):
    with pytest.raises(UserError, match=r"sgformer_s\.pth' doesn't fit sgformer_medium: .*'stages.*sgformer_small'"):
        convert(official, tmp_path / "out.safetensors", model="sgformer_m")
    with pytest.raises(UserError, match="build the model with num_classes=1000 and img_size=224"):
        convert(official, tmp_path / "out.safetensors", num_classes=10, img_size=64)
    assert not list(tmp_path.iterdir())


def test_weights_of_unknown_models_are_refused(tmp_path):
    torch.save({"w": torch.zeros(2)}, tmp_path / "a.pth")
    with pytest.raises(UserError, match=r"a\.pth' fits no model"):
        convert(tmp_path / "a.pth", tmp_path / "out.safetensors")


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (["none.pth", "out.safetensors"], "checkpoint 'none.pth' doesn't exist"),
        ([".", "out.safetensors"], "checkpoint '.' is a directory"),
        (["a.pth", "out.pth"], "output 'out.pth' has to end with .safetensors; try 'out.safetensors'"),
        (["a.pth", "none/out.safetensors"], "output: there is no folder none"),
        (["a.pth", "folder.safetensors"], "output: folder.safetensors is a folder"),
        (["a.safetensors", "./a.safetensors"], "is the checkpoint itself"),
        (["a.pth", "out.safetensors", "--model", "sgformer_x"], "unknown model 'sgformer_x'; did you mean"),
        (["a.pth", "out.safetensors", "--num-classes", "-1"], "num_classes=-1"),
        (["a.pth", "out.safetensors", "--to", "mindspore"], "has to end with .ckpt; try 'out.ckpt'"),
        (["a.pth", "out.ckpt"], "has to end with .safetensors; try 'out.safetensors'"),
    ],
)
def test_a_mistake_is_reported_before_torch_is_imported(tmp_path, given, message):
    (tmp_path / "a.pth").touch()
    (tmp_path / "a.safetensors").touch()
    (tmp_path / "folder.safetensors").mkdir()
    code = (
        "import sys; from msgformer.cli.main import main; status = main(sys.argv[1:]); "
        "assert 'torch' not in sys.modules; sys.exit(status)"
    )
    command = [sys.executable, "-c", code, "convert", *given]
    run = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert run.returncode == 2, run.stderr
    assert message in run.stderr
    assert run.stderr.count("\n") == 1
    assert not run.stdout


def test_without_mindspore_the_extra_is_named(official, tmp_path, monkeypatch):
    def missing(name):
        raise PackageNotFoundError(name)

    monkeypatch.setattr("msgformer.mindspore_backend.version", missing)
    (tmp_path / "trained.ckpt").write_bytes(b"\n" + bytes(20))
    for given, to in ((official, "mindspore"), (tmp_path / "trained.ckpt", "torch")):
        output = tmp_path / f"out{'.ckpt' if to == 'mindspore' else '.safetensors'}"
        with pytest.raises(UserError, match="MindSpore isn't installed; 'uv sync --extra mindspore'"):
            convert(given, output, to=to)
    monkeypatch.setattr("msgformer.mindspore_backend.version", lambda _: "2.4.6")
    with pytest.raises(UserError, match=r"can't work with NumPy 2\.4\.6; 'uv pip install \"numpy<2\"'"):
        convert(official, tmp_path / "out.ckpt", to="mindspore")


def test_the_command_line_detects_the_model(official, tmp_path, capsys):
    output = tmp_path / "out.safetensors"
    assert main(["convert", os.fspath(official), os.fspath(output), "--json"]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert (printed["model"], printed["parameters"]) == ("sgformer_small", 22_545_981)
    assert output.is_file()
