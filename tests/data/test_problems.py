from msgformer.data.problems import Problem, has_errors, problem_rows, sort_problems

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
    many = [Problem("error", "unreadable image", f"{number:03d}.png", "replace it") for number in range(25)]
    rows = problem_rows([*many, NOTE])
    assert len(rows) == 22
    assert rows[20][2] == "... and 5 more"
    assert rows[21] == ("note", "animation", "b.gif", "the first frame is used")
    assert problem_rows([*many, Problem("warning", "unreadable image", "w.png", "")])[-1][0] == "warning"
    assert problem_rows(many[:20]) == [("error", "unreadable image", one.path, "replace it") for one in many[:20]]
