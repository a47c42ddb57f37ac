from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import pytest

from msgformer.config.type_hints import (
    belong_together,
    describe_type,
    is_mapping,
    item_type,
    may_be_pair,
    option_type,
)


@dataclass
class Group:
    lr: float = 0.1


def test_option_of_a_group_has_the_type_of_its_field():
    hints = {"optim": Group, "epochs": int, "classes": list[str]}
    assert option_type(hints, "optim.lr") is float
    assert option_type(hints, "classes+") == list[str]
    assert option_type(hints, "optim.unknown") is None
    assert option_type(hints, "epochs.lr") is None


def test_mappings_lists_and_pairs_are_found_in_unions():
    assert is_mapping(dict[str, Any] | None)
    assert not is_mapping(list[str])
    assert item_type(Path | list[Path]) is Path
    assert item_type(Path) is None
    assert may_be_pair(int | tuple[int, int])
    assert not may_be_pair(tuple[int, ...])
    assert not may_be_pair(tuple[int, int, int])


@pytest.mark.parametrize(
    ("hint", "first", "second", "expected"),
    [
        (int | tuple[int, int], "32", "48", True),
        (int | tuple[int, int], "32", "a.png", False),
        (int, "32", "48", False),
        (list[float], "0.5", "1", True),
        (list[str], "1", "2", False),
        (list[Literal["a", "b"]], "a", "b", True),
        (list[Literal["a", "b"]], "a", "c", False),
        (list[Literal["a", "b"]], "c", "a", False),
    ],
)
def test_words_that_are_one_value_belong_together(hint, first, second, expected):
    assert belong_together(hint, first, second) is expected


@pytest.mark.parametrize(
    ("hint", "text"),
    [
        (int, "int"),
        (bool, "true or false"),
        (Path, "a path"),
        (float | None, "float or null"),
        (Literal["a", "b"], "one of a, b"),
        (Literal["a"] | Path, "one of a or a path"),
    ],
)
def test_types_are_described_in_words(hint, text):
    assert describe_type(hint) == text
