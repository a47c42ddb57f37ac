"""Reading of weights files in every format, and one-line errors for other files."""

import argparse
import pickle
import re
import zipfile

import pytest
import torch
from safetensors.torch import save_file

from msgformer.checkpoints.weights_file import read_checkpoint
from msgformer.errors import UserError


def write(path, kind):
    content = {"w": torch.arange(6.0).view(2, 3)}
    if kind == "safetensors":
        save_file(content, path)
    else:
        if "objects" in kind:
            content["args"] = argparse.Namespace(lr=1)
        torch.save(content, path, _use_new_zipfile_serialization="legacy" not in kind)
    return path


KINDS = ["zip", "legacy", "zip with objects", "legacy with objects", "safetensors"]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", ["a.pth", "a.safetensors", "weights"])
def test_reads_a_file_by_its_content_whatever_its_name(tmp_path, kind, name):
    checkpoint = read_checkpoint(str(write(tmp_path / name, kind)))
    assert torch.equal(checkpoint["w"], torch.arange(6.0).view(2, 3))
    assert checkpoint.left_out == (("argparse.Namespace",) if "objects" in kind else ())


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("part", [0.02, 0.3, 0.7, 0.95])
def test_a_truncated_file_gives_one_line(tmp_path, kind, part):
    path = write(tmp_path / "cut.pth", kind)
    whole = path.read_bytes()
    path.write_bytes(whole[: max(1, int(part * len(whole)))])
    with pytest.raises(UserError, match=r"cut\.pth' can't be read.*again") as error:
        read_checkpoint(path)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "it is empty"),
        (b"\n<!DOCTYPE html><html><body>Sign in</body></html>", "web page"),
        (b"<HTML></HTML>", "web page"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "git lfs pull"),
        (b"Weights are available on request.", "neither a PyTorch nor a safetensors file"),
        (b"\x00" * 600, "neither a PyTorch nor a safetensors file"),
        (b"12345678{not json", "truncated or damaged"),
        (pickle.dumps({"w": [1.0]}), "not one that PyTorch wrote"),
    ],
)
def test_other_files_are_refused_with_the_reason(tmp_path, content, reason):
    path = tmp_path / "file.pth"
    path.write_bytes(content)
    with pytest.raises(UserError, match=rf"checkpoint '.*file\.pth' can't be read: .*{reason}") as error:
        read_checkpoint(path)
    assert "\n" not in str(error.value)


def test_a_path_that_cannot_be_opened_is_named(tmp_path):
    for path, reason in ((tmp_path / "none.pth", "No such file"), (tmp_path, "directory|Permission")):
        with pytest.raises(UserError, match=rf"'{re.escape(str(path))}' can't be opened .*({reason}).*give the path"):
            read_checkpoint(path)


def test_files_without_a_dictionary_are_refused(tmp_path):
    path = tmp_path / "a.pth"
    torch.save(torch.nn.Linear(2, 2), path)
    with pytest.raises(UserError, match="whole model"):
        read_checkpoint(path)
    torch.save([torch.zeros(2)], path)
    with pytest.raises(UserError, match="holds a list"):
        read_checkpoint(path)


def test_a_zip_file_of_something_else_is_named(tmp_path):
    path = tmp_path / "a.pth"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("weights/readme.txt", "hello")
    with pytest.raises(UserError, match="a zip file of something else"):
        read_checkpoint(path)


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
def test_a_torchscript_program_is_named(tmp_path):
    torch.jit.trace(torch.nn.Linear(2, 2), torch.zeros(1, 2)).save(tmp_path / "a.pt")
    with pytest.raises(UserError, match="TorchScript"):
        read_checkpoint(tmp_path / "a.pt")
