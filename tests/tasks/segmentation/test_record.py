from pathlib import Path

import pytest

from msgformer.tasks.segmentation.record import MAX_LISTED, SegmentationLayout, SegmentationPrediction

ONE = SegmentationPrediction("a.png", {"sky": 25.0, "tree": 75.0})
LAYOUT = SegmentationLayout(["sky", "tree", "wall"])


def test_summary_lists_the_largest_areas():
    assert ONE.summary() == "tree 75.0 %, sky 25.0 %"
    many = SegmentationPrediction("a.png", {str(number): float(number) for number in range(12)})
    assert many.summary().startswith("11 11.0 %, 10 10.0 %")
    assert many.summary().count("%") == MAX_LISTED


@pytest.mark.parametrize(
    ("classes", "expected"),
    [
        ({"sky": 26.0, "tree": 74.0}, True),
        ({"sky": 26.1, "tree": 73.9}, False),
        ({"sky": 25.0, "tree": 74.5, "wall": 0.5}, True),
        ({"sky": 24.5, "tree": 74.5, "wall": 1.5}, False),
        ({"tree": 100.0}, False),
    ],
)
def test_predictions_are_close_within_a_tolerance(classes, expected):
    other = SegmentationPrediction("a.png", classes)
    assert ONE.is_close(other) is other.is_close(ONE) is expected


def test_json_names_written_files():
    written = SegmentationPrediction("a.png", {"sky": 100.0}, Path("a-drawn.png"), Path("a-classes.png"))
    values = LAYOUT.to_json(written)
    assert values == {
        "image": "a.png",
        "classes": {"sky": 100.0},
        "drawn": "a-drawn.png",
        "class_map": "a-classes.png",
    }
    assert LAYOUT.from_json(values) == written


def test_a_row_has_the_area_of_every_class():
    assert LAYOUT.to_rows(ONE) == [["a.png", "25", "75", "0", ""]]
    assert LAYOUT.from_rows(LAYOUT.to_rows(ONE)) == ONE
    with pytest.raises(ValueError, match="columns"):
        LAYOUT.from_rows([["a.png", "25", "75", ""]])
