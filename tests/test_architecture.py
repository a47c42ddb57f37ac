import subprocess
import sys
from pathlib import Path

import msgformer
from msgformer.cli.main import COMMANDS

PACKAGE = Path(msgformer.__file__).parent
HEAVY = {"torch", "torchvision", "timm", "lightning", "numpy", "sklearn", "torchmetrics", "safetensors", "PIL"}


def test_modules_import_only_from_lower_layers():
    """In a separate process: it closes all log handlers, and absl's would close the file that pytest captures to."""
    lint = "import sys; from importlinter.cli import lint_imports; sys.exit(lint_imports(no_cache=True))"
    command = [sys.executable, "-c", lint]
    done = subprocess.run(command, capture_output=True, text=True, cwd=PACKAGE.parents[1], timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_command_line_imports_nothing_heavy():
    """Imports before the arguments of a command are checked, including those of the options of all commands."""
    modules = ["msgformer", "msgformer.cli.main", *(target.partition(":")[0] for target, _ in COMMANDS.values())]
    code = f"import sys, {', '.join(modules)}; print(sorted({HEAVY} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert (done.stdout, done.stderr) == ("[]\n", "")
