import pytest

from msgformer.tasks.detection.record import MAX_LISTED, DetectionLayout, DetectionPrediction, FoundObject

BOX = [1.0, 2.0, 3.5, 4.0]


def found(*scores, label="cat"):
    return DetectionPrediction("a.png", [FoundObject(label, score, BOX) for score in scores])


def test_summary_is_limited():
    assert found().summary() == "nothing"
    assert found(0.9, 0.5).summary() == "cat 90 %, cat 50 %"
    assert found(*[0.5] * (MAX_LISTED + 2)).summary().endswith("cat 50 % and 2 more")


@pytest.mark.parametrize(
    ("scores", "expected"),
    [((0.9, 0.5), True), ((0.895, 0.505), True), ((0.9, 0.52), False), ((0.9,), False), ((0.9, 0.5, 0.4), False)],
)
def test_predictions_are_close_within_a_tolerance(scores, expected):
    assert found(*scores).is_close(found(0.9, 0.5)) is expected
    assert found(0.9, 0.5).is_close(found(*scores)) is expected


def test_other_classes_or_many_more_objects_are_not_close():
    assert not found(0.9, 0.5).is_close(found(0.9, 0.5, label="dog"))
    assert not found(0.5).is_close(found(0.9, 0.8, 0.5))


def test_rows_are_numbered():
    layout = DetectionLayout()
    rows = layout.to_rows(found(0.9, 0.5))
    assert [row[:5] for row in rows] == [["a.png", "2", "1", "cat", "0.9"], ["a.png", "2", "2", "cat", "0.5"]]
    assert [layout.num_rows(row) for row in rows] == [2, 2]
    assert layout.from_rows(rows) == found(0.9, 0.5)
    assert layout.num_rows(layout.to_rows(found())[0]) == 1
    with pytest.raises(ValueError, match="columns"):
        layout.from_rows([rows[0][:-1]])
