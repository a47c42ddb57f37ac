import pickle
import struct

import numpy as np
import pytest

from msgformer.data.classification.torch_sets import open_torch_set
from msgformer.data.files.locations import Location
from msgformer.errors import UserError


def write_idx(path, array):
    """Write MNIST's format: a magic number, the shape, then bytes."""
    header = struct.pack(">HBB", 0, 8, array.ndim) + struct.pack(f">{array.ndim}I", *array.shape)
    path.write_bytes(header + array.tobytes())


@pytest.fixture
def mnist(tmp_path):
    raw = tmp_path / "MNIST" / "raw"
    raw.mkdir(parents=True)
    for subset, count in (("train", 6), ("t10k", 3)):
        pixels = np.arange(count, dtype=np.uint8)[:, None, None].repeat(28, 1).repeat(28, 2)
        write_idx(raw / f"{subset}-images-idx3-ubyte", pixels)
        write_idx(raw / f"{subset}-labels-idx1-ubyte", np.arange(count, dtype=np.uint8) % 3)
    return tmp_path


def test_a_set_of_torchvision(mnist):
    train, val = open_torch_set(Location("torch", f"mnist:{mnist}"))
    assert (train.labels, val.labels) == ((0, 1, 2, 0, 1, 2), (0, 1, 2))
    assert len(train.classes) == 10
    assert (train.name(5), val.name(0)) == ("train[5]", "val[0]")
    image = pickle.loads(pickle.dumps(train)).load(5)
    assert (image.mode, image.size, image.getpixel((0, 0))) == ("RGB", (28, 28), (5, 5, 5))
    assert train.probe(0, whole=True) is None


def test_a_set_that_was_not_downloaded_is_named(tmp_path):
    with pytest.raises(UserError, match=r"no cifar10 in .*; torchvision\.datasets can download it there"):
        open_torch_set(Location("torch", f"cifar10:{tmp_path}"))
