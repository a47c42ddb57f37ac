"""The commands in the README are valid; with ``-m slow``, they are also run, as are those in docs/."""

import importlib
import re
import shlex
import shutil
import subprocess
import sys
from importlib.metadata import distributions
from pathlib import Path

import pytest

from msgformer.cli import main as cli
from msgformer.commands.models import models
from msgformer.config.parser import Options
from msgformer.model_names import MODELS

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```(?:bash|sh)\n(.*?)^```", README, re.M | re.S)
INSTALLED = {distribution.name for distribution in distributions()}
NEEDS_MINDSPORE = pytest.mark.skipif("mindspore" not in INSTALLED, reason="MindSpore isn't installed")
PYTHON_BLOCKS = [
    pytest.param(block, id=f"{page.name}-{index}", marks=NEEDS_MINDSPORE if "mindspore" in block else ())
    for page in [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
    for index, block in enumerate(re.findall(r"^```python\n(.*?)^```", page.read_text(encoding="utf-8"), re.M | re.S))
    if not re.search(r'"[A-Z]+\.\w+"', block)  # it stands for a file of the reader's
]


def shell_commands() -> list[list[str]]:
    """Every command in the README's shell blocks, as words."""
    lines = [line for block in BLOCKS for line in block.replace("\\\n", " ").splitlines()]
    simple = [command for line in lines for command in re.split(r"&&|[|;>]", line)]
    return [words for words in (shlex.split(command, comments=True) for command in simple) if words]


COMMANDS = [words[words.index("msgformer") + 1 :] for words in shell_commands() if "msgformer" in words]


def test_readme_shows_the_quick_start_and_the_tests():
    assert ["uv", "run", "msgformer", "train"] in shell_commands()
    assert ["uv", "run", "pytest"] in shell_commands()
    assert "\nuv run pytest\n" in (ROOT / ".ci" / "run").read_text(encoding="utf-8")


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_commands_are_valid(command, capsys):
    name, *arguments = command
    if name.startswith("-"):
        assert cli.main(command) == 0
        return
    module, function = cli.COMMANDS[name][0].split(":")
    options = Options(getattr(importlib.import_module(module), function))
    options.parse(arguments, json="As JSON.")


def test_model_table_is_that_of_the_command():
    rows = [[cell.strip(" `") for cell in line.split("|")] for line in README.splitlines() if line.startswith("| `")]
    table = [" ".join([*row[1:-1], "%"]) for row in rows if row[1] in MODELS]
    assert [line.split() for line in table] == [line.split() for line in models().table().splitlines()[1:]]


@pytest.mark.slow
@pytest.mark.long
@pytest.mark.timeout(3600)
def test_commands_run_in_order(run_msgformer, tmp_path):
    """All except those with a word in capitals, which is a placeholder."""
    shutil.copytree(ROOT / "docs", tmp_path / "docs")
    runnable = [command for command in COMMANDS if not any(word.partition(".")[0].isupper() for word in command)]
    assert runnable
    for command in runnable:
        done = run_msgformer(*command, timeout=1800)
        assert done.returncode == 0, f"{command}: {done.stderr[-2000:]}"


@pytest.fixture(scope="module")
def reader_folder(tmp_path_factory) -> Path:
    """Return a folder with a clone of the project and the digits trained for one epoch."""
    folder = tmp_path_factory.mktemp("reader")
    shutil.copytree(ROOT / "docs", folder / "docs")
    command = ["-m", "msgformer", "train", "--epochs", "1", "--report", "false"]
    subprocess.run([sys.executable, *command], cwd=folder, check=True, timeout=300)
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("block", PYTHON_BLOCKS)
def test_python_blocks_run(block, reader_folder):
    command = [sys.executable, "-c", block]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, cwd=reader_folder)
    assert done.returncode == 0, done.stderr[-2000:]
