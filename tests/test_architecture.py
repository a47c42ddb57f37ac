import ast
import subprocess
import sys
from pathlib import Path

import pytest
from importlinter.cli import lint_imports

import msgformer

PACKAGE = Path(msgformer.__file__).parent
HEAVY = {"torch", "torchvision", "timm", "lightning", "numpy", "sklearn", "torchmetrics", "safetensors", "PIL"}
# What the command line imports before it knows that a command is right.
LIGHT = sorted([*PACKAGE.glob("*.py"), *PACKAGE.glob("api/*.py"), *PACKAGE.glob("*/options.py")])


def test_modules_import_only_from_floors_below(capsys):
    status = lint_imports(config_filename=str(PACKAGE.parents[1] / "pyproject.toml"), no_cache=True)
    assert status == 0, capsys.readouterr().out


@pytest.mark.parametrize("path", LIGHT, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_light_modules_import_nothing_heavy(path):
    imported = set()
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.Import):
            imported |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            imported.add((node.module or "").partition(".")[0])
    assert not imported & HEAVY


def test_importing_all_light_modules_imports_nothing_heavy():
    names = [".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts) for path in LIGHT]
    modules = [name for name in names if not name.endswith("__main__")]
    code = f"import sys, {', '.join(modules)}; print(sorted({HEAVY} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert (done.stdout, done.stderr) == ("[]\n", "")
