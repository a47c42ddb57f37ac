import errno
import importlib
import json
import os
import subprocess
import sys
from importlib.metadata import version

import pytest

import msgformer
from msgformer.cli import main as cli
from msgformer.config.parser import Options
from msgformer.errors import JobError, UserError
from msgformer.model_names import MODELS


def test_help_shows_every_command(run_light):
    done = run_light("--help")
    assert done.returncode == 0
    for name, (_, text) in cli.COMMANDS.items():
        assert name in done.stdout
        assert text in done.stdout
    assert run_light().stdout == done.stdout


def test_version(run_light):
    done = run_light("--version")
    assert (done.stdout, done.returncode) == (f"msgformer {version('msgformer')}\n", 0)


def test_listings(run_light):
    assert all(name in run_light("models").stdout for name in MODELS)
    assert json.loads(run_light("models", "--json").stdout)["models"] == list(MODELS)
    assert "embedded/digits" in json.loads(run_light("recipes", "--json").stdout)["recipes"]


@pytest.mark.parametrize("command", cli.COMMANDS)
def test_help_of_a_command_is_light(run_light, command):
    done = run_light(command, "--help")
    assert done.returncode == 0
    assert done.stdout.startswith(f"usage: msgformer {command} ")


@pytest.mark.parametrize("command", cli.COMMANDS)
def test_every_argument_is_described(command):
    module, function = cli.COMMANDS[command][0].split(":")
    options = Options(getattr(importlib.import_module(module), function))
    undescribed = [key for key, text in options.help().items() if not text]
    assert undescribed == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["trian"], "unknown command 'trian'; did you mean 'train'?"),
        (["--vers"], "unknown option '--vers'; did you mean '--version'?"),
        (["-v"], "unknown option '-v'"),
        (["models", "--jsn"], "unknown option '--jsn'; did you mean '--json'?"),
        (["train", "--epoch", "3"], "unknown option '--epoch'; did you mean '--epochs'?"),
        (["train", "--model", "sgformer_smal"], "unknown model 'sgformer_smal'; did you mean 'sgformer_small'?"),
        (["train", "--config", "embeded/digits"], "'embeded/digits'; did you mean 'embedded/digits'?"),
        (["train", "--data", "nowhere"], "nowhere"),
        (["evaluate", "nowhere"], "nowhere"),
        (["predict", "nowhere", "image.png"], "nowhere"),
        (["convert", "nowhere.pth", "out.safetensors", "--model", MODELS[0]], "nowhere.pth"),
    ],
)
def test_a_mistake_is_reported_in_one_line_before_heavy_imports(run_light, arguments, message):
    done = run_light(*arguments)
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.startswith("msgformer: error: ")
    assert message in done.stderr
    assert done.stderr.count("\n") == 1


@pytest.fixture
def replace_command(monkeypatch):
    """Replace a command by a function of the test."""

    def put(function):
        monkeypatch.setattr(cli, "_load", lambda _: function)

    return put


def failing(error):
    def fail():
        raise error

    return fail


@pytest.mark.parametrize(
    ("error", "status", "message"),
    [
        (UserError("two\n  lines"), 2, "two lines"),
        (JobError("out of disk space"), 1, "out of disk space"),
        (KeyboardInterrupt(), 130, "interrupted"),
        (PermissionError(errno.EACCES, "Permission denied", "runs/a"), 1, "runs/a: Permission denied"),
        (OSError(errno.ENOSPC, "No space left on device"), 1, "No space left on device"),
    ],
)
def test_user_and_system_errors_are_reported_in_one_line(replace_command, capsys, error, status, message):
    replace_command(failing(error))
    assert cli.main(["models"]) == status
    assert capsys.readouterr().err == f"msgformer: error: {message}\n"


@pytest.mark.parametrize("error", [ValueError("a bug"), OSError(errno.EBADF, "Bad file descriptor")])
def test_bugs_keep_their_traceback(replace_command, error):
    replace_command(failing(error))
    with pytest.raises(type(error)):
        cli.main(["models"])


def test_an_interrupt_converted_to_an_exit_by_lightning_is_an_interrupt(replace_command, capsys):
    def interrupted():
        try:
            raise KeyboardInterrupt
        except KeyboardInterrupt:
            sys.exit(1)

    replace_command(interrupted)
    assert cli.main(["models"]) == 130
    assert capsys.readouterr().err == "msgformer: error: interrupted\n"


def test_only_the_result_goes_to_standard_output(replace_command, capsys):
    from msgformer.commands.models import models

    def noisy():
        print("progress")
        return models()

    replace_command(noisy)
    assert cli.main(["models", "--json"]) == 0
    captured = capsys.readouterr()
    assert json.loads(captured.out)["models"]
    assert captured.err == "progress\n"


def test_a_closed_pipe_ends_quietly():
    reader, writer = os.pipe()
    os.close(reader)
    command = [sys.executable, "-m", "msgformer", "models"]
    done = subprocess.run(command, stdout=writer, stderr=subprocess.PIPE, timeout=60)
    os.close(writer)
    assert (done.returncode, done.stderr) == (1, b"")


def test_the_package_imports_nothing_heavy():
    code = (
        "import sys, msgformer; assert set(msgformer.__all__) <= set(dir(msgformer));"
        "msgformer.__version__, msgformer.list_models(), msgformer.UserError, msgformer.train;"
        "print({'torch', 'timm', 'lightning', 'numpy'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert (done.stdout, done.stderr) == ("set()\n", "")


def test_every_public_name_exists():
    assert all(getattr(msgformer, name) is not None for name in msgformer.__all__)
    with pytest.raises(AttributeError, match="no attribute 'trian'"):
        msgformer.trian  # noqa: B018
