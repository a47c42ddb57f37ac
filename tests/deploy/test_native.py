"""The C++ kernels as a whole: with several threads, and where they can't be built or aren't to be used."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

from msgformer.deploy.kernels import attend, attend_and_measure
from msgformer.deploy.packed import PackedLinear
from msgformer.models.native import library
from msgformer.models.native_attention import padded

pytestmark = pytest.mark.skipif(shutil.which("c++") is None, reason="there is no C++ compiler")


def results():
    generator = torch.Generator().manual_seed(0)
    x, key_value = (torch.randn(5, n, c, generator=generator) for n, c in [(9, 32), (20, 64)])
    bias = padded(torch.randn(1, 2, 9, 20, generator=generator))
    weight = torch.randn(48, 32, generator=generator)
    layer = PackedLinear(weight, None, activation="gelu", eps=1e-6)
    return [attend([x, key_value], 2, bias), *attend_and_measure([x, key_value], 2), layer(x)]


@pytest.mark.parametrize("how", ["switched off", "no compiler", "broken compiler", "no room"])
def test_without_them_pytorch_computes_the_same(how, monkeypatch, tmp_path, forget_kernels):
    assert library.library() is not None
    expected = results()
    (tmp_path / "file").touch()
    name, value = {
        "switched off": ("MSGFORMER_NATIVE", "0"),
        "no compiler": ("CXX", str(tmp_path / "none")),
        "broken compiler": ("CXX", "false"),
        "no room": ("MSGFORMER_CACHE", str(tmp_path / "file" / "below")),
    }[how]
    if how == "broken compiler":
        monkeypatch.setenv("MSGFORMER_CACHE", str(tmp_path))
    monkeypatch.setenv(name, value)
    forget_kernels()
    assert library.library() is None
    for one, two in zip(expected, results(), strict=True):
        torch.testing.assert_close(one, two, rtol=1e-5, atol=1e-5)
    assert not list(tmp_path.rglob("*.so"))


def test_layers_without_gradients_alone_use_them():
    layer = PackedLinear(torch.randn(32, 16), None)
    x = torch.randn(3, 16)
    assert layer.panels_for(x) is not None
    assert layer.panels_for(x.requires_grad_()) is None
    layer(x).sum().backward()
    assert x.grad.abs().sum() > 0
    assert nn.Module.state_dict(layer).keys() == {"weight"}


def test_threads_share_the_work_and_agree():
    program = [sys.executable, str(Path(__file__).with_name("compare_threads.py"))]
    done = subprocess.run(program, capture_output=True, text=True, timeout=240, check=False)
    assert (done.returncode, done.stdout) == (0, ""), done.stderr
