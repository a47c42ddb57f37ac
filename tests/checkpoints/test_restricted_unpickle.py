"""The restricted reader: what it restores, and that nothing in a file is executed, modified or trusted."""

import argparse
import io
import operator
import os
import pickle
import struct
import subprocess
import zipfile

import pytest
import torch
from yacs.config import CfgNode

from msgformer.checkpoints.restricted_unpickle import LEGACY_MAGIC, RestrictedUnpickler, StandIn, load_restricted
from msgformer.checkpoints.weights_file import read_checkpoint
from msgformer.errors import UserError

FORMATS = pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])


def save(content, path, zipped=True):
    torch.save(content, path, _use_new_zipfile_serialization=zipped)
    return path


def restore(content, zipped):
    file = io.BytesIO()
    torch.save(content, file, _use_new_zipfile_serialization=zipped)
    file.seek(0)
    return load_restricted(file, len(file.getvalue()))


def hand_written(path, opcodes, zipped, data=b"\0" * 16):
    """Return a file with a custom pickle and one storage "0"."""
    if zipped:
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("archive/data.pkl", opcodes)
            archive.writestr("archive/data/0", data)
    else:
        head = b"".join(pickle.dumps(value, 2) for value in (LEGACY_MAGIC, 1001, {}))
        tail = pickle.dumps(["0"], 2) + struct.pack("<q", len(data) // 4) + data
        path.write_bytes(head + opcodes + tail)
    return path


class Calls:
    """An object that is pickled as a function call."""

    def __init__(self, function, *args):
        self.call = function, args

    def __reduce__(self):
        return self.call


@FORMATS
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.float16, torch.bfloat16, torch.int64])
def test_restores_every_kind_of_view(zipped, dtype):
    base = torch.arange(24).to(dtype).reshape(2, 3, 4)
    content = {
        "whole": base,
        "transposed": base.transpose(0, 2),
        "part": base[1, 1:],
        "scalar": base.sum(),
        "empty": base[:0],
        "flags": base > 3,
        "parameter": torch.nn.Parameter(base.float()),
    }
    restored, left_out = restore(content, zipped)
    assert list(restored) == list(content)
    for name, tensor in content.items():
        assert restored[name].dtype == tensor.dtype
        assert restored[name].stride() == tensor.stride()
        assert torch.equal(restored[name], tensor)
    assert not left_out


@FORMATS
def test_tensors_that_shared_memory_share_it_again(zipped):
    base = torch.zeros(4)
    restored, _ = restore({"all": base, "nested": [(base[1:],)]}, zipped)
    restored["all"].fill_(1)
    assert torch.equal(restored["nested"][0][0], torch.ones(3))


@FORMATS
@pytest.mark.parametrize(
    ("other", "name"),
    [
        (argparse.Namespace(lr=0.1, nested=argparse.Namespace(a=[1])), "argparse.Namespace"),
        (CfgNode({"MODEL": {"TYPE": "msg", "DEPTHS": [2, 4]}}), "yacs.config.CfgNode"),
        ({1, 2, argparse.ArgumentError}, "argparse.ArgumentError"),
    ],
)
def test_objects_become_placeholders_and_weights_are_loaded(tmp_path, zipped, other, name):
    weight = torch.randn(3, 2)
    path = save({"model": {"w": weight}, "config": other, "epoch": 7}, tmp_path / "a.pth", zipped)
    with pytest.raises(pickle.UnpicklingError, match="Weights only"):
        torch.load(path, weights_only=True)
    checkpoint = read_checkpoint(path)
    assert torch.equal(checkpoint["model"]["w"], weight)
    assert checkpoint["epoch"] == 7
    assert name in checkpoint.left_out
    left = checkpoint["config"]
    assert isinstance(left, StandIn) or any(isinstance(item, type) for item in left)
    assert not hasattr(left, "lr")


@FORMATS
@pytest.mark.parametrize("attack", ["system", "exec", "eval", "popen", "nested", "getattr", "in_tensor"])
def test_nothing_in_a_file_is_run(tmp_path, zipped, attack):
    marker = tmp_path / "marker"
    code = f"open({str(marker)!r}, 'w')"
    shell = f"touch '{marker}'"
    payload = {
        "system": Calls(os.system, shell),
        "exec": Calls(exec, code),
        "eval": Calls(eval, code),
        "popen": Calls(subprocess.check_call, ["touch", str(marker)]),
        "nested": Calls(exec, Calls(str, code)),
        "getattr": Calls(operator.call, Calls(getattr, Calls(__import__, "os"), "system"), shell),
        "in_tensor": Calls(torch._utils._rebuild_parameter, torch.zeros(1), True, Calls(eval, code)),
    }[attack]
    path = save({"model": {"w": torch.ones(2)}, "other": payload}, tmp_path / "a.pth", zipped)
    torch.load(path, weights_only=False)
    assert marker.exists(), "the attack would work"
    marker.unlink()

    checkpoint = read_checkpoint(path)
    assert not marker.exists()
    assert torch.equal(checkpoint["model"]["w"], torch.ones(2))
    assert checkpoint.left_out
    if attack != "in_tensor":
        assert isinstance(checkpoint["other"], StandIn)


@FORMATS
@pytest.mark.parametrize(
    "target",
    [b"ctorch._utils\n_rebuild_tensor_v2\n", b"ccollections\nOrderedDict\n", b"cargparse\nNamespace\n"],
)
def test_a_file_cannot_modify_the_reader(tmp_path, zipped, target):
    changes = [  # of attributes; of slots
        b"}(X\x01\x00\x00\x00aK\x01X\x08\x00\x00\x00functionK\x01ub.",
        b"N}X\x01\x00\x00\x00aK\x01s\x86b.",
    ]
    for state in changes:
        path = hand_written(tmp_path / "a.pth", b"\x80\x02" + target + state, zipped)
        with pytest.raises(UserError, match=r"a\.pth"):
            read_checkpoint(path)
    good = save({"w": torch.ones(2), "args": argparse.Namespace()}, tmp_path / "b.pth", zipped)
    assert torch.equal(read_checkpoint(good)["w"], torch.ones(2))
    assert not hasattr(StandIn, "a")
    assert not hasattr(torch._utils._rebuild_tensor_v2, "a")


def tensor_opcodes(storage="('storage', FloatStorage, '0', 'cpu', 4)", arguments="0, (4,), (1,)"):
    """A dictionary with a tensor, and an object that only the restricted reader accepts."""

    class Pickler(pickle._Pickler):
        def persistent_id(self, value):
            return value.pid if isinstance(value, Storage) else None

    class Storage:
        pid = eval(storage, {"FloatStorage": torch.FloatStorage})

    values = (Storage(), *eval(f"({arguments},)"), False, {})
    file = io.BytesIO()
    content = {"w": Calls(torch._utils._rebuild_tensor_v2, *values), "args": argparse.Namespace()}
    Pickler(file, 2).dump(content)
    return file.getvalue()


@FORMATS
def test_reads_the_handwritten_tensor_of_the_next_tests(tmp_path, zipped):
    data = struct.pack("<4f", 1, 2, 3, 4)
    path = hand_written(tmp_path / "a.pth", tensor_opcodes(), zipped, data)
    assert read_checkpoint(path)["w"].tolist() == [1, 2, 3, 4]


@FORMATS
@pytest.mark.parametrize(
    "arguments",
    [
        "0, (5,), (1,)",
        "1, (4,), (1,)",
        "-1, (4,), (1,)",
        "0, (2**40,), (1,)",
        "0, (2**62, 2**62), (1, 1)",
        "0, (2**40,), (0,)",
        "0, (4,), (2**40,)",
        "0, (4,), (-1,)",
        "0, (-4,), (1,)",
        "0, (4,), (1, 1)",
        "0, (4.0,), (1,)",
        "0, '4', '1'",
        "'0', (4,), (1,)",
        "0, None, None",
        "0",
    ],
)
def test_refuses_tensors_that_do_not_fit_their_data(tmp_path, zipped, arguments):
    path = hand_written(tmp_path / "a.pth", tensor_opcodes(arguments=arguments), zipped)
    with pytest.raises(UserError, match=r"a\.pth.*again"):
        read_checkpoint(path)


@FORMATS
@pytest.mark.parametrize(
    "storage",
    [
        "('storage', FloatStorage, '0', 'cpu', 3)",
        "('storage', FloatStorage, '0', 'cpu', 5)",
        "('storage', FloatStorage, '0', 'cpu', 2**50)",
        "('storage', FloatStorage, '0', 'cpu', -4)",
        "('storage', FloatStorage, '1', 'cpu', 4)",
        "('storage', FloatStorage, 0, 'cpu', 4)",
        "('storage', 'FloatStorage', '0', 'cpu', 4)",
        "('storage', print, '0', 'cpu', 4)",
        "('storage', FloatStorage, '0', 'cpu', 4, ('view', 1, 3))",
        "('storage',)",
        "('module', print, 'a.py', 'source')",
        "('other', 1)",
        "3",
        "()",
    ],
)
def test_refuses_storages_that_do_not_fit_the_file(tmp_path, zipped, storage):
    path = hand_written(tmp_path / "a.pth", tensor_opcodes(storage), zipped)
    with pytest.raises(UserError, match=r"a\.pth.*again"):
        read_checkpoint(path)


@FORMATS
@pytest.mark.parametrize(
    "opcodes",
    [
        b"\x80\x02Nr\xff\xff\xff\xff.",  # a memo of four thousand million entries
        b"\x80\x04\x8e" + struct.pack("<Q", 2**62) + b".",  # a string of four million million million bytes
        b"\x80\x02cos\nsystem\n" + b"]" + b"](a" * 20000 + b"e" * 20000 + b"\x86.",  # lists 20,000 deep
        b"\x80\x02R.",
        b"\x80\x02Q.",
        b"\x80\x02\x82\x01.",  # an extension
        b"\x80\x02cos\nsystem\n",
    ],
    ids=["memo", "length", "depth", "reduce", "persistent", "extension", "stop"],
)
def test_refuses_pickles_that_exhaust_memory_or_are_inconsistent(tmp_path, zipped, opcodes):
    path = hand_written(tmp_path / "a.pth", opcodes, zipped)
    with pytest.raises(UserError, match=r"a\.pth"):
        read_checkpoint(path)


def test_a_compressed_file_is_not_decompressed_beyond_what_it_declares(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.pth", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data.pkl", tensor_opcodes())
        archive.writestr("archive/data/0", bytes(50_000_000))
    with pytest.raises(UserError, match="don't fit"):
        read_checkpoint(tmp_path / "a.pth")


def test_storages_above_the_memory_limit_are_refused_before_allocation():
    assert RestrictedUnpickler(io.BytesIO(tensor_opcodes()), 16).load()
    with pytest.raises(pickle.UnpicklingError, match="don't fit"):
        RestrictedUnpickler(io.BytesIO(tensor_opcodes()), 15).load()


def test_refuses_another_byte_order(tmp_path):
    path = hand_written(tmp_path / "a.pth", tensor_opcodes(), zipped=True)
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("archive/byteorder", "middle")
    with pytest.raises(UserError, match="byte order"):
        read_checkpoint(path)
