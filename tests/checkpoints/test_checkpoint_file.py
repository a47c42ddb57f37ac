import errno
import os
import zipfile

import pytest
import torch

from msgformer.checkpoints.card import KEY, ModelCard
from msgformer.checkpoints.checkpoint_file import (
    is_sealed,
    read_training_checkpoint,
    save_checkpoint,
    trained_weights,
    write_atomically,
)
from msgformer.errors import UserError
from msgformer.tasks.opened_model import load_model
from msgformer.training.build import build_model

TINY = {"embed_dim": 16, "depths": [1, 1], "num_heads": [1, 2], "window_size": 2, "shuffle_sizes": [2, 2]}
PREPROCESSING = {"input_size": [3, 16, 16]}


class Trap:
    """An object whose unpickling has a side effect."""

    def __init__(self, mark):
        self.mark = mark

    def __reduce__(self):
        return os.mkdir, (str(self.mark),)


@pytest.fixture
def saved(tmp_path):
    """A checkpoint of a tiny model, and the model."""
    model = build_model("msg_transformer_tiny", 2, (16, 16), TINY).eval()
    card = ModelCard("msg_transformer_tiny", TINY, ["a", "b"], PREPROCESSING)
    checkpoint = {"state_dict": {f"model.{name}": value for name, value in model.state_dict().items()}}
    card.write(checkpoint)
    path = tmp_path / "best.ckpt"
    save_checkpoint(checkpoint, path)
    return path, model, card


def test_a_checkpoint_holds_the_model_and_its_card(saved):
    path, model, card = saved
    loaded, read = load_model(path)
    images = torch.rand(2, 3, 16, 16)
    assert read == card
    assert not loaded.training
    assert torch.equal(loaded(images), model(images))


def test_averaged_weights_are_chosen_on_request_only():
    both = {"state_dict": {"model.w": 1, "ema.module.w": 2, "scores.raw.count": 3}}
    assert trained_weights(both) == {"w": 1}
    assert trained_weights(both, ema=True) == {"w": 2}
    assert trained_weights({"state_dict": {"model.w": 1}}, ema=True) == {"w": 1}


def test_nothing_is_left_beside_a_checkpoint(saved):
    assert [entry.name for entry in saved[0].parent.iterdir()] == ["best.ckpt"]


def test_a_failed_write_keeps_the_previous_file(tmp_path):
    path = tmp_path / "file"
    path.write_text("before")

    def fail(partial):
        partial.write_text("half")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_atomically(path, fail)
    assert path.read_text() == "before"
    assert [entry.name for entry in tmp_path.iterdir()] == ["file"]


def test_a_full_disk_is_reported_with_the_file_name(tmp_path):
    def fill(partial):
        raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(OSError, match="No space left") as error:
        write_atomically(tmp_path / "last.ckpt", fill)
    assert error.value.filename == str(tmp_path / "last.ckpt")


def test_an_object_in_a_checkpoint_is_refused_and_never_run(tmp_path):
    path = tmp_path / "trap.ckpt"
    torch.save({"state_dict": {}, KEY: Trap(tmp_path / "sprung")}, path)
    with pytest.raises(UserError, match=r"trap\.ckpt can't be read .* Python objects"):
        load_model(path)
    assert not (tmp_path / "sprung").exists()


def test_a_truncated_checkpoint_is_named(saved):
    path = saved[0]
    path.write_bytes(path.read_bytes()[:-5000])
    with pytest.raises(UserError, match=r"best\.ckpt can't be read as a checkpoint"):
        read_training_checkpoint(path)


@pytest.mark.parametrize("content", [{"state_dict": {}}, [1, 2], {"model": {}, KEY: None}])
def test_a_checkpoint_of_something_else_is_named(tmp_path, content):
    torch.save(content, tmp_path / "other.ckpt")
    with pytest.raises(UserError, match=r"other\.ckpt holds no model card"):
        load_model(tmp_path / "other.ckpt")


def test_a_card_of_another_version_is_named(saved):
    checkpoint = read_training_checkpoint(saved[0])
    checkpoint[KEY]["invented"] = 1
    torch.save(checkpoint, saved[0])
    with pytest.raises(UserError, match="written by another version"):
        load_model(saved[0])


def test_weights_that_do_not_fit_are_named(saved):
    checkpoint = read_training_checkpoint(saved[0])
    checkpoint[KEY]["classes"].append("c")
    torch.save(checkpoint, saved[0])
    with pytest.raises(UserError, match="weights don't fit msg_transformer_tiny"):
        load_model(saved[0])


def test_a_card_without_weights_is_named(saved):
    checkpoint = read_training_checkpoint(saved[0])
    del checkpoint["state_dict"]
    torch.save(checkpoint, saved[0])
    with pytest.raises(UserError, match="weights don't fit msg_transformer_tiny"):
        load_model(saved[0])


def test_a_checkpoint_with_one_wrong_bit_is_refused(saved):
    path = saved[0]
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(UserError, match=r"best\.ckpt is damaged: .* don't match their checksum"):
        load_model(path)


def test_a_wrong_bit_that_the_checksums_of_zip_do_not_cover_is_found(saved):
    path = saved[0]
    content = bytearray(path.read_bytes())
    entry = content.rindex(b"PK\1\2", 0, content.rindex(b"/data/1"))
    content[entry + 38] ^= 16  # marks the record as a folder: torch would leave the tensor's memory as it is
    path.write_bytes(content)
    with zipfile.ZipFile(path) as archive:
        assert archive.testzip() is None
    assert torch.load(path, weights_only=True)
    with pytest.raises(UserError, match=r"best\.ckpt is damaged: .* don't match their checksum"):
        read_training_checkpoint(path)


def test_a_checkpoint_with_its_checksum_is_a_zip_archive_like_any_other(saved):
    path = saved[0]
    assert is_sealed(path)
    with zipfile.ZipFile(path) as archive:
        assert archive.comment.startswith(b"sha256:")
        assert archive.testzip() is None
    assert torch.load(path, weights_only=True).keys() == read_training_checkpoint(path).keys()


def test_a_file_without_a_checksum_has_none(tmp_path):
    torch.save({"state_dict": {}}, tmp_path / "other.ckpt")
    (tmp_path / "empty.ckpt").touch()
    assert is_sealed(tmp_path / "other.ckpt") is None
    assert is_sealed(tmp_path / "empty.ckpt") is None
