"""PyTorch modules do not import MindSpore, and MindSpore modules do not import PyTorch."""

import pkgutil
import subprocess
import sys

import pytest

import msgformer

MODULES = [module.name for module in pkgutil.walk_packages(msgformer.__path__, "msgformer.")]
OURS = [name for name in MODULES if name.startswith("msgformer.mindspore")]


def imported(modules):
    """What is imported at the top when a new process imports the modules; those that lack an extra aside."""
    code = f"""
import importlib, sys
for name in {modules}:
    try:
        importlib.import_module(name)
    except ModuleNotFoundError as error:
        assert not error.name.startswith("msgformer"), error
print(*{{name.partition(".")[0] for name in sys.modules}})
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr[-2000:]
    return set(done.stdout.split())


@pytest.mark.parametrize(
    ("modules", "other"),
    [(OURS, "torch"), ([name for name in MODULES if name not in OURS and "__main__" not in name], "mindspore")],
    ids=["the models of MindSpore", "all the rest"],
)
def test_other_library_is_not_imported(modules, other):
    assert modules
    found = imported(modules)
    assert other not in found
    assert {"torch", "mindspore"} - {other} <= found
