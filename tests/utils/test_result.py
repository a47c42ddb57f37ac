import dataclasses
import json
from pathlib import Path

from msgformer.utils.result import Result, text_table


@dataclasses.dataclass(frozen=True)
class Score:
    top1: float


@dataclasses.dataclass(frozen=True)
class Evaluation(Result):
    score: Score
    run: Path


def test_fields_are_the_json():
    result = Evaluation(Score(97.5), Path("runs/a"))
    assert json.loads(result.render(as_json=True)) == {"score": {"top1": 97.5}, "run": "runs/a"}
    assert result.render() == "score  {'top1': 97.5}\nrun    runs/a"


def test_characters_of_double_width_keep_the_columns_aligned():
    rows = [("日本犬", 1), ("cat", 2), ("golden", 3)]
    assert text_table(("", ""), rows) == "日本犬  1\ncat     2\ngolden  3"


def test_tables_align_and_may_have_a_header():
    assert text_table(("NAME", "N"), [("a", 10), ("longer", 2)]) == "NAME    N\na       10\nlonger  2"
    assert text_table(("", ""), []) == ""
    assert text_table(("NAME",), [("two\nlines\x1b[0m",)]) == "NAME\ntwo\\nlines\\x1b[0m"
