import subprocess
import sys
from pathlib import Path

from importlinter.cli import lint_imports

import msgformer
from msgformer.cli import COMMANDS

PACKAGE = Path(msgformer.__file__).parent
HEAVY = {"torch", "torchvision", "timm", "lightning", "numpy", "sklearn", "torchmetrics", "safetensors", "PIL"}


def test_modules_import_only_from_floors_below(capsys):
    status = lint_imports(config_filename=str(PACKAGE.parents[1] / "pyproject.toml"), no_cache=True)
    assert status == 0, capsys.readouterr().out


def test_what_the_command_line_imports_is_light():
    """All that is imported before a command's arguments are known to be right, each verb's options included."""
    modules = ["msgformer", "msgformer.cli", *(target.partition(":")[0] for target, _ in COMMANDS.values())]
    code = f"import sys, {', '.join(modules)}; print(sorted({HEAVY} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert (done.stdout, done.stderr) == ("[]\n", "")
