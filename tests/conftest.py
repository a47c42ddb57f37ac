"""Fixtures of all tests."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from PIL import Image

# Parallel test processes get one thread each, because more would compete for the cores. torch reads this on import.
if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ.setdefault("OMP_NUM_THREADS", "1")

# The hub's libraries read this when they are imported; no test may depend on the network.
os.environ["HF_HUB_OFFLINE"] = "1"

import torch

import msgformer
from msgformer import plugins
from msgformer.kernels.cpu import library

if TYPE_CHECKING:
    from msgformer.trained_model import TrainedModel
    from tasks.tiny_runs import TinyRun

_AVX2 = torch.backends.cpu.get_cpu_capability() in {"AVX2", "AVX512"}
_FEWER_INSTRUCTIONS = [["-mavx2", "-mfma", "-mno-avx512f"], ["-msse4.2", "-mno-avx"]] if _AVX2 else []

# Runs the command line, and prints the heavy modules that it imported.
_PROBE = """
import sys
from msgformer.cli.main import main
try:
    status = main(sys.argv[1:])
finally:
    print("IMPORTED:", *sorted({name.partition(".")[0] for name in sys.modules}), file=sys.stderr)
sys.exit(status)
"""


def pytest_addoption(parser):
    parser.addoption("--fifth", type=int, choices=range(5), help="of the chosen tests, every fifth from this one on")


@pytest.hookimpl(trylast=True)  # after -m has chosen
def pytest_collection_modifyitems(config, items):
    first = config.getoption("--fifth")
    if first is not None:
        config.hook.pytest_deselected(items=[item for index, item in enumerate(items) if index % 5 != first])
        items[:] = items[first::5]


@pytest.fixture(scope="session", autouse=True)
def _forks_can_train():
    """Allow forked processes to compute gradients.

    The first gradient of a process decides whether autograd has threads, which wouldn't survive a fork: they are for
    devices, and capturing a graph makes autograd believe that there is one.
    """
    torch.zeros(1, requires_grad=True).sum().backward()


@pytest.fixture(autouse=True)
def _no_plugins_of_other_tests(monkeypatch):
    """Forget the loaded plug-ins after each test."""
    monkeypatch.setattr(plugins, "_loaded", [*plugins._loaded])


@pytest.fixture
def one_thread():
    """Compute with one thread, as forked processes do, so that sums are bitwise equal."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def run_msgformer(tmp_path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run ``msgformer`` in a new process and an empty folder, as a shell does."""

    def run(*arguments: str, timeout: float = 240) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "msgformer", *arguments]
        return subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, timeout=timeout)

    return run


@pytest.fixture
def run_light(tmp_path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run ``msgformer`` in a new process, and check that it imports nothing heavy."""

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-c", _PROBE, *arguments]
        done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, timeout=60)
        done.stderr, _, imported = done.stderr.partition("IMPORTED:")
        heavy = {"torch", "torchvision", "timm", "lightning", "numpy", "sklearn", "torchmetrics"}
        assert not heavy & set(imported.split()), f"{arguments} imported {heavy & set(imported.split())}"
        return done

    return run


@pytest.fixture
def image_folder(tmp_path) -> Callable[..., Path]:
    """Create class folders of small, uniform images, whose brightness determines the class."""

    def make(where: str = "data", per_class: int = 6, classes: Sequence[str] = ("dark", "light")) -> Path:
        root = tmp_path / where
        for label, name in enumerate(classes):
            (root / name).mkdir(parents=True)
            for number in range(per_class):
                grey = 40 + 160 * label // max(1, len(classes) - 1) + number
                Image.new("RGB", (20, 16), (grey, grey, 255 - grey)).save(root / name / f"{number:02d}.png")
        return root

    return make


@pytest.fixture(scope="session")
def runs(tmp_path_factory) -> Callable[[str], "TinyRun"]:
    """Return a function that trains a tiny run of a task, once."""
    from tasks.tiny_runs import make_tiny_run  # imports everything

    folder, made = tmp_path_factory.mktemp("runs"), {}

    def get(task: str) -> "TinyRun":
        if task not in made:
            made[task] = make_tiny_run(task, folder)
        return made[task]

    return get


@pytest.fixture(scope="module")
def model(run: "TinyRun") -> "TrainedModel":
    """Return the loaded model of the module's fixture ``run``."""
    return msgformer.load(run.folder, device="cpu")


def _forget() -> None:
    library.library.cache_clear()
    library._function.cache_clear()


@pytest.fixture
def forget_kernels() -> Iterator[Callable[[], None]]:
    """Unload the C++ kernels when called and after the test."""
    _forget()
    yield _forget
    _forget()


@pytest.fixture(scope="session")
def kernels_folder(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("kernels")


@pytest.fixture(params=[[], *_FEWER_INSTRUCTIONS], ids=lambda flags: " ".join(flags) or "own")
def processor(request, monkeypatch, kernels_folder, forget_kernels) -> None:
    """Build the C++ kernels for this processor, and for processors with fewer instructions."""
    if request.param:
        monkeypatch.setattr(library, "FLAGS", (*(f for f in library.FLAGS if f != "-march=native"), *request.param))
        monkeypatch.setenv("MSGFORMER_CACHE", str(kernels_folder))
