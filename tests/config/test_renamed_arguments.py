"""Old names of arguments: keywords in Python, options on the command line and keys in configuration files."""

import dataclasses
import inspect
import warnings

import pytest

from config.echo_commands import Given
from msgformer.cli.main import COMMANDS, _load
from msgformer.commands.predict import iter_predictions
from msgformer.commands.train import train
from msgformer.config.parser import Options
from msgformer.config.recipes import load_config
from msgformer.config.renamed_arguments import renamed_arguments, renamed_options
from msgformer.config.training_options import TrainerOptions
from msgformer.errors import UserError

FUNCTIONS = {**{name: _load(name) for name in COMMANDS}, "iter_predictions": iter_predictions}
RENAMED = [
    (command, old, new)
    for command, function in FUNCTIONS.items()
    for old, new in renamed_options(function, Options(function).hints).items()
]


@renamed_arguments(old="new")
@dataclasses.dataclass(frozen=True)
class Group:
    """A group.

    Attributes:
        new: A number.
    """

    new: int = 1


@renamed_arguments(checkpoint="model", fast="quick")
def command(model: str, quick: bool = False, group: Group = Group()) -> Given:
    """Run.

    Args:
        model: A model.
        quick: Faster.
        group: A group.
    """
    return Given(dict(locals()))


def one_warning(call):
    with pytest.warns(FutureWarning) as caught:
        result = call()
    (warning,) = caught
    assert warning.filename == __file__  # the line that has to change
    return result, str(warning.message)


def test_an_old_keyword_warns_once_and_has_the_new_ones_effect():
    result, message = one_warning(lambda: command(checkpoint="run"))
    assert result.arguments["model"] == "run"
    assert message == "checkpoint is deprecated: its name is model now"
    assert one_warning(lambda: command("run", fast=True))[0].arguments["quick"]
    assert one_warning(lambda: Group(old=3)) == (Group(3), "old is deprecated: its name is new now")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert command("run", quick=True, group=Group(new=2)).arguments["quick"]


def test_both_names_at_once_are_refused():
    with pytest.raises(UserError, match=r"^fast is the old name of quick; give only quick$"):
        command("run", quick=True, fast=False)


def test_signature_and_docstring_are_those_of_the_function():
    assert [*inspect.signature(command).parameters] == ["model", "quick", "group"]
    assert command.__doc__.startswith("Run.")
    assert [*inspect.signature(Group).parameters] == ["new"]


def test_an_old_option_prints_one_line(capsys):
    options = Options(command)
    values, _ = options.parse(["run", "--fast", "--group.old", "4"])
    assert values == {"model": "run", "quick": True, "group": Group(4)}
    assert capsys.readouterr().err == (
        "msgformer: warning: --fast is deprecated: its name is --quick now\n"
        "msgformer: warning: --group.old is deprecated: its name is --group.new now\n"
    )
    options.parse(["run", "--quick", "--group.new", "4"])
    assert capsys.readouterr().err == ""
    assert "old" not in options.help()
    assert "fast" not in options.help()


@pytest.mark.parametrize(("command", "old", "new"), RENAMED)
def test_every_renamed_option_is_one_that_exists(command, old, new):
    keys = {*Options(FUNCTIONS[command]).help()}
    assert new in keys
    assert old not in keys


def test_old_keys_in_a_users_file_are_named_once(tmp_path, capsys):
    path = tmp_path / "mine.yaml"
    path.write_text("extends: imagenet/msg_transformer_tiny\ntrainer: {clip_grad: 1.0, accumulate: 3}\n")
    values, _ = Options(train).parse(["--config", str(path)])
    assert (values["trainer"].gradient_clip_val, values["trainer"].accumulate_grad_batches) == (1.0, 3)
    err = capsys.readouterr().err
    assert err.splitlines() == [
        f"msgformer: warning: {path}: trainer.{old} is deprecated: its name is trainer.{new} now"
        for old, new in (("accumulate", "accumulate_grad_batches"), ("clip_grad", "gradient_clip_val"))
    ]


def test_old_keys_of_a_run_are_read_silently(tmp_path, capsys):
    (tmp_path / "config.yaml").write_text("trainer: {clip_grad: 1.0}\n")
    assert load_config(tmp_path / "config.yaml") == {"trainer": {"gradient_clip_val": 1.0}}
    assert capsys.readouterr().err == ""


def test_training_accepts_old_names_in_a_mapping():
    def call():
        with pytest.raises(UserError, match="epochs must be at least 1"):
            train(trainer={"accumulate": 2}, epochs=0)

    assert one_warning(call)[1] == ("trainer.accumulate is deprecated: its name is trainer.accumulate_grad_batches now")
    assert one_warning(lambda: TrainerOptions(clip_grad=2.0))[0].gradient_clip_val == 2.0
