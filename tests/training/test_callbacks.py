import warnings

import pytest
import torch
from lightning.pytorch.callbacks import Callback, EarlyStopping

from msgformer.checkpoints.checkpoint_file import read_training_checkpoint
from msgformer.errors import UserError
from msgformer.training.callbacks import StateGuard, check_callbacks, is_plain
from msgformer.training.checkpoint import AtomicCheckpointIO


class UnsafeState(Callback):
    def state_dict(self):
        return {"self": self}


def test_one_callback_or_several():
    stop = EarlyStopping("val/loss")
    assert check_callbacks(None) == []
    assert check_callbacks(stop) == [stop]
    assert check_callbacks(iter((stop, stop))) == [stop, stop]


@pytest.mark.parametrize(
    ("callbacks", "message"),
    [
        (3, "callbacks: 3 is not a lightning.pytorch.callbacks.Callback"),
        ([len], "callbacks: <built-in function len> is not a lightning.pytorch.callbacks.Callback"),
        ("abc", "callbacks: 'a' is not a lightning.pytorch.callbacks.Callback"),
        ([EarlyStopping], r"callbacks: EarlyStopping is a class; give an instance, EarlyStopping\(...\)"),
        (
            [UnsafeState()],
            "callbacks: the state_dict of UnsafeState holds other objects than tensors and plain values, which no",
        ),
    ],
)
def test_invalid_callbacks_are_refused(callbacks, message):
    with pytest.raises(UserError, match=message) as error:
        check_callbacks(callbacks)
    assert "\n" not in str(error.value)


def test_callbacks_of_pytorch_lightning_are_refused():
    other = type("Other", (), {"__module__": "pytorch_lightning.callbacks"})()
    with pytest.raises(UserError, match="import it from lightning, not from pytorch_lightning"):
        check_callbacks([other])


@pytest.mark.parametrize("value", [{"a": [1, None, "b", 0.5, (True,)], "t": torch.zeros(2)}, torch.Size([2])])
def test_tensors_and_plain_values_are_plain(value):
    assert is_plain(value)


@pytest.mark.parametrize(
    "value", [{"a": [object()]}, lambda: 0, UnsafeState(), EarlyStopping, warnings.catch_warnings()]
)
def test_objects_are_not_plain(value):
    assert not is_plain(value)


def test_unsafe_entries_are_removed_and_reported_once(tmp_path, capsys):
    io = AtomicCheckpointIO(StateGuard().clean)
    weights = {"w": torch.ones(2)}
    states = {"Unsafe": {"self": UnsafeState()}, "Plain": {"count": 3}}
    for _ in range(2):
        io.save_checkpoint({"state_dict": weights, "callbacks": states, "extra": len}, tmp_path / "a.ckpt")
    stored = read_training_checkpoint(tmp_path / "a.ckpt")
    assert (stored.keys(), stored["callbacks"]) == ({"state_dict", "callbacks"}, {"Plain": {"count": 3}})
    assert torch.equal(stored["state_dict"]["w"], weights["w"])
    assert capsys.readouterr().err.splitlines() == [
        f"warning: the {entry} isn't saved, and a resumed run won't have it: it holds other objects than tensors and"
        " plain values, which no checkpoint can hold; convert them there"
        for entry in ("state of the callback Unsafe", "entry 'extra'")
    ]
