import importlib

import pytest

from msgformer.cli import main as cli
from msgformer.config.other_tools import COMMANDS, OPTIONS, VALUES
from msgformer.config.parser import Options

KEYS = {
    name: Options(getattr(importlib.import_module(target.partition(":")[0]), target.partition(":")[2])).keys
    for name, (target, _) in cli.COMMANDS.items()
}


@pytest.mark.parametrize(
    ("words", "hint"),
    [
        ("predict RUN IMAGE --conf 0.3", "--threshold"),
        ("predict RUN IMAGE --gpu 0", "--device"),
        ("train --device cpu", "--trainer.accelerator"),
        ("train --name first", "--output"),
        ("train --imgsz 320", "--img_size"),
        ("train --batch 8", "--batch_size"),
        ("train photos", "--data photos"),
        ("detect photos", "train --task detect"),
        ("val RUN", "evaluate"),
        ("embed RUN IMAGE --force", "--overwrite"),
    ],
)
def test_words_of_other_tools_get_a_hint(words, hint, capsys):
    assert cli.main(words.split()) == cli.USER_ERROR
    error = capsys.readouterr().err
    assert f"did you mean '{hint}'?" in error
    assert error.count("\n") == 1


@pytest.mark.parametrize("value", ["tensorrt", "engine"])
def test_tensorrt_is_made_from_onnx(value, capsys):
    assert cli.main(["export", "RUN", "--format", value]) == cli.USER_ERROR
    assert "use onnx, then trtexec (see docs/export.md)" in capsys.readouterr().err


def test_hints_name_what_exists():
    options = {key for keys in KEYS.values() for key in keys}
    assert {option for meant in OPTIONS.values() for option in meant} <= options | {"weights"}
    assert {meant.split()[0] for meant in COMMANDS.values()} <= {*cli.COMMANDS}
    assert {option for option, _ in VALUES} <= options


def test_the_words_are_not_options_themselves():
    assert not {*COMMANDS} & {*cli.COMMANDS}
