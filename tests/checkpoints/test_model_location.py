from pathlib import Path

import pytest
import torch

from msgformer.checkpoints.model_location import find_checkpoint, find_model, find_trained_model
from msgformer.errors import UserError


def test_a_run_stands_for_its_best_checkpoint(tmp_path):
    torch.save({}, tmp_path / "last.ckpt")
    assert find_checkpoint(tmp_path) == tmp_path / "last.ckpt"
    torch.save({}, tmp_path / "best.ckpt")
    assert find_checkpoint(tmp_path) == tmp_path / "best.ckpt"
    assert find_checkpoint(tmp_path / "last.ckpt") == tmp_path / "last.ckpt"


def test_a_tilde_is_the_home_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    torch.save({}, tmp_path / "best.ckpt")
    for path in ("~", "~/best.ckpt"):
        assert find_checkpoint(Path(path)) == tmp_path / "best.ckpt"
        assert find_model(path).path == tmp_path / "best.ckpt"


def test_a_missing_path_is_named_with_a_suggestion(tmp_path):
    (tmp_path / "digits-1").mkdir()
    with pytest.raises(UserError, match=r"no such file or folder: .*digit-1; did you mean 'digits-1'"):
        find_checkpoint(tmp_path / "digit-1")


def test_a_folder_without_checkpoints(tmp_path):
    with pytest.raises(UserError, match=r"no best\.ckpt or last\.ckpt in "):
        find_checkpoint(tmp_path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty"),
        (b"\n<!DOCTYPE html><html>", "is a web page"),
        (b"\x80\x02}q\x00.", "is not a checkpoint of msgformer"),
    ],
)
def test_a_file_of_another_kind(tmp_path, content, message):
    path = tmp_path / "model.pth"
    path.write_bytes(content)
    with pytest.raises(UserError, match=message):
        find_checkpoint(path)


@pytest.mark.parametrize("name", ["hf-hub:someone/model", "msg_transformer_tiny"])
def test_a_name_alone_is_untrained(name):
    with pytest.raises(UserError, match=f"{name} is untrained"):
        find_trained_model(name)
