"""One word per concept, and one meaning per name, in the signatures of all commands."""

import collections
import dataclasses
import typing
from pathlib import Path
from types import NoneType, UnionType

import pytest

from msgformer.cli.main import COMMANDS, _load
from msgformer.commands.predict import iter_predictions
from msgformer.config.parser import Options

FUNCTIONS = {**{name: _load(name) for name in COMMANDS}, "iter_predictions": iter_predictions}

OTHER_CHOICES = {
    "backend": "what runs a model: predict has the libraries, benchmark their modes, too",
    "format": "format of the output: records of predictions, or files of an exported model",
    "precision": "number format: benchmark has tf32 but none of Lightning's names",
}
"""Options with one meaning whose choices differ between commands."""

OLD_WORDS = {"accelerator", "checkpoint", "batch", "input_size", "models", "accumulate", "clip_grad"}
ALLOWED = {"trainer.accelerator"}  # Lightning's word
IN_TRAIN_ONLY = {"resume", "trainer"}
WRITE_FILES = {
    "average", "benchmark", "convert", "embed", "evaluate", "explain", "export", "init-from", "predict", "sample-data"
}  # fmt: skip
CONTINUE_FOLDERS = {"train", "study"}  # a run by --resume, and a study by the same --output; nothing is replaced


def kinds(hint) -> frozenset:
    """Return what a value may be, apart from None and lists; paths and choices are text, a larger group its base."""
    origin = typing.get_origin(hint)
    if origin in (typing.Union, UnionType):
        return frozenset().union(*map(kinds, typing.get_args(hint)))
    if origin is list:
        return kinds(typing.get_args(hint)[0])
    if origin is typing.Literal:
        return frozenset(map(type, typing.get_args(hint)))
    if hint is NoneType:
        return frozenset()
    if dataclasses.is_dataclass(hint):
        return frozenset([next(base for base in reversed(hint.__mro__) if dataclasses.is_dataclass(base))])
    return frozenset([str if hint is Path else hint])


def choices(hint) -> frozenset:
    if typing.get_origin(hint) is typing.Literal:
        return frozenset(typing.get_args(hint))
    return frozenset().union(*map(choices, typing.get_args(hint)))


def uses() -> dict[str, dict[str, object]]:
    """Return the type hint of each option in each command."""
    found = collections.defaultdict(dict)
    for command, function in FUNCTIONS.items():
        for name, hint in Options(function).hints.items():
            if name != "return":
                found[name][command] = hint
    return found


@pytest.mark.parametrize(("name", "hints"), [(name, hints) for name, hints in uses().items() if len(hints) > 1])
def test_an_option_has_one_type_in_all_commands(name, hints):
    found = {command: kinds(hint) for command, hint in hints.items()}
    widest = max(found.values(), key=len)
    assert {command: kind for command, kind in found.items() if not kind <= widest} == {}
    sets = {choices(hint) for hint in hints.values()} - {frozenset()}
    if name not in OTHER_CHOICES:
        assert all(one <= max(sets, key=len) for one in sets)


@pytest.mark.parametrize("name", OTHER_CHOICES)
def test_listed_options_do_differ(name):
    assert len({choices(hint) for hint in uses()[name].values()}) > 1


@pytest.mark.parametrize(("command", "function"), FUNCTIONS.items())
def test_no_old_word_is_left(command, function):
    options = Options(function)
    keys = {*options.help()} - ALLOWED
    assert {key for key in keys if key.rpartition(".")[2] in OLD_WORDS} == set()
    if command != "train":
        assert not {key.partition(".")[0] for key in keys} & IN_TRAIN_ONLY


@pytest.mark.parametrize("command", FUNCTIONS)
def test_commands_share_the_options_of_files(command):
    hints = Options(FUNCTIONS[command]).hints
    if command in WRITE_FILES:
        assert hints["overwrite"] is bool
    assert ("output" in hints) == (command in WRITE_FILES | CONTINUE_FOLDERS)
    assert ("overwrite" in hints) == (command in WRITE_FILES)
