import pytest

from msgformer.data.problems import Problem, has_errors, problem_lines, raise_errors, sort_problems
from msgformer.errors import UserError

NOTE = Problem("note", "animation", "b.gif", "the first frame is used")
ERROR = Problem("error", "unreadable image", "z.png", "replace it")


def test_problems_are_sorted_by_severity_and_kind():
    other = Problem("note", "animation", "a.gif", "the first frame is used")
    warning = Problem("warning", "skew", ".", "few")
    assert sort_problems([NOTE, warning, other, ERROR]) == [ERROR, warning, other, NOTE]


def test_only_errors_are_errors():
    assert has_errors([NOTE, ERROR])
    assert not has_errors([NOTE])


def test_many_of_a_kind_are_counted_and_the_last_is_not_lost():
    many = [Problem("error", "unreadable image", f"/data/{number:03d}.png", "replace it") for number in range(5)]
    assert [*problem_lines([*many, NOTE], "/data")] == [
        "error: unreadable image (5): replace it",
        "  000.png, 001.png, 002.png, ... and 2 more",
        "note: animation",
        "  b.gif: the first frame is used",
    ]
    assert [*problem_lines([*many, Problem("warning", "unreadable image", "w.png", "")])][-2] == (
        "warning: unreadable image"
    )
    assert [*problem_lines(many, "/data", max_examples=5)][1] == "  000.png, 001.png, 002.png, 003.png, 004.png"


def test_problems_of_one_file_name_it_and_the_remedy_once():
    found = [Problem("warning", "box", "/data/a.json", f"annotation {number} has no area; cut") for number in range(4)]
    assert [*problem_lines(found, "/data", 2)] == [
        "warning: box (4) in a.json; cut",
        "  annotation 0 has no area",
        "  annotation 1 has no area",
        "  ... and 2 more",
    ]


def test_a_path_is_shown_before_its_message_only():
    """Messages of functions that read files name the file themselves."""
    messages = ("can't read image /data/a.png (not an image)", "/data/a.png: is empty", "/data/a.png has colors")
    found = [Problem("error", str(kind), "/data/a.png", message) for kind, message in enumerate(messages)]
    found.append(Problem("warning", "skew", "/data", "few"))
    assert [*problem_lines(found, "/data")][1::2] == [
        "  a.png: can't read image (not an image)",
        "  a.png: is empty",
        "  a.png: has colors",
        "  .: few",
    ]
    with pytest.raises(UserError, match=r"^/data/a\.png: can't read image \(not an image\) \(2 more"):
        raise_errors(found)


def test_examples_show_each_kind_of_message():
    """A problem that is found once is not hidden behind many of another sort."""
    same = [Problem("error", "file", "a.json", f"images[{number}] lacks 'id'") for number in range(4)]
    other = Problem("error", "file", "a.json", "two categories have the name 'cat'")
    lines = [*problem_lines([*same, other])]
    assert lines[1:] == [f"  {one.message}" for one in (*same[:2], other)] + ["  ... and 2 more"]


def test_paths_and_messages_leave_out_the_data_folder_and_control_characters():
    found = Problem("error", "image without label map", "/data/a\n.png", "no label map for it in /data/maps; add one")
    assert [*problem_lines([found], "/data")][1] == "  a\\n.png: no label map for it in maps; add one"


def test_a_training_names_the_first_error_and_counts_the_others_by_kind():
    box, mask = (Problem("error", kind, "a.json", f"{kind} 1 is wrong") for kind in ("box", "mask"))
    for problems, rest in (
        ([box], ""),
        ([NOTE, box, box], " (1 more; 'msgformer check-data' lists them)"),
        ([box, mask, mask, box], " (3 more: 2 x mask, 1 x box; 'msgformer check-data' lists them)"),
    ):
        with pytest.raises(UserError) as refused:
            raise_errors(problems)
        assert str(refused.value) == f"a.json: box 1 is wrong{rest}"
    raise_errors([NOTE])
