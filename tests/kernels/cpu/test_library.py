"""The C++ kernels with several threads, without a compiler, and disabled."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from msgformer.kernels.cpu import library
from msgformer.kernels.cpu.attention import pad_bias
from msgformer.optimized.ops import attend, attend_and_measure
from msgformer.optimized.packed import PackedLinear

pytestmark = pytest.mark.skipif(shutil.which("c++") is None, reason="there is no C++ compiler")


def results():
    generator = torch.Generator().manual_seed(0)
    x, key_value = (torch.randn(5, n, c, generator=generator) for n, c in [(9, 32), (20, 64)])
    bias = pad_bias(torch.randn(1, 2, 9, 20, generator=generator))
    weight = torch.randn(48, 32, generator=generator)
    layer = PackedLinear(weight, None, activation="gelu", eps=1e-6)
    return [attend([x, key_value], 2, bias), *attend_and_measure([x, key_value], 2), layer(x)]


@pytest.mark.parametrize("how", ["switched off", "no compiler", "broken compiler", "no room"])
def test_results_are_equal_without_kernels(how, monkeypatch, tmp_path, forget_kernels):
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


_LOAD = """
from msgformer.kernels.cpu.library import library
print(library() is not None)
"""


def load_in_processes(count, cache, **environment):
    """Exit status, output and messages of processes that want the kernels at the same time, from an empty cache."""
    started = [
        subprocess.Popen(
            [sys.executable, "-c", _LOAD],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "MSGFORMER_CACHE": str(cache), **environment},
        )
        for _ in range(count)
    ]
    ended = [process.communicate(timeout=240) for process in started]
    return [(process.returncode, out, err) for process, (out, err) in zip(started, ended, strict=True)]


def compiler(folder, *lines):
    """A compiler that notes each call in a file."""
    path = folder / "cxx"
    path.write_text("\n".join(["#!/bin/sh", f"echo called >> '{folder}/calls'", *lines, ""]))
    path.chmod(0o755)
    return str(path)


def test_one_process_compiles_and_the_other_waits(tmp_path):
    cxx = compiler(tmp_path, 'exec c++ "$@"')
    ended = load_in_processes(2, tmp_path / "cache", CXX=cxx)
    assert [(status, out) for status, out, _ in ended] == [(0, "True\n")] * 2
    messages = [err for _, _, err in ended if err]
    assert len(messages) == 1
    assert messages[0].count("\n") == 1
    assert str(tmp_path / "cache" / "native") in messages[0]
    assert "MSGFORMER_NATIVE=0" in messages[0]
    assert (tmp_path / "calls").read_text().count("called") == 2  # it compiles and it links
    assert load_in_processes(1, tmp_path / "cache", CXX=cxx) == [(0, "True\n", "")]


@pytest.mark.slow
def test_failed_compilation_is_not_repeated_by_another_process(tmp_path):
    cxx = compiler(tmp_path, "sleep 15", "echo no such header >&2", "exit 1")  # long enough for both to have begun
    ended = load_in_processes(2, tmp_path / "cache", CXX=cxx)
    assert [(status, out) for status, out, _ in ended] == [(0, "False\n")] * 2
    messages = "".join(err for _, _, err in ended).splitlines()
    assert len(messages) == 2
    assert "compiling C++ kernels" in messages[0]
    assert "no such header" in messages[1]
    assert (tmp_path / "calls").read_text().count("called") == 1


def test_stale_lock_is_ignored(tmp_path, monkeypatch, forget_kernels, capfd):
    (tmp_path / "native").mkdir()
    monkeypatch.setenv("MSGFORMER_CACHE", str(tmp_path))
    monkeypatch.setattr(library, "FLAGS", ("-std=c++20", "-O0", "-fPIC", "-fopenmp"))
    identity = library._identity(shutil.which("c++"))
    (tmp_path / "native" / f"{identity}.lock").touch()
    (tmp_path / "native" / f"{identity}.failed").write_text("long ago")
    forget_kernels()
    assert library.library() is not None
    assert "compiling" in capfd.readouterr().err


def test_threads_share_the_work_and_agree():
    program = [sys.executable, str(Path(__file__).with_name("compare_threads.py"))]
    done = subprocess.run(program, capture_output=True, text=True, timeout=240, check=False)
    assert (done.returncode, done.stdout) == (0, ""), done.stderr
