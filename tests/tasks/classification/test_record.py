import pytest

from msgformer.tasks.classification.record import ClassificationLayout, Prediction

ONE = Prediction("a.png", ["cat", "dog"], [0.75, 0.25])


def test_summary_and_title():
    assert ONE.summary() == "cat 75.0 %, dog 25.0 %"
    assert ONE.title() == "cat 75.0 %"


@pytest.mark.parametrize(
    ("classes", "probabilities", "expected"),
    [
        (["cat", "dog"], [0.755, 0.245], True),
        (["cat", "dog"], [0.77, 0.23], False),
        (["cat", "bird"], [0.75, 0.25], True),  # equal to the last rank
        (["bird", "cat"], [0.75, 0.25], False),
        (["cat"], [0.75], False),
    ],
)
def test_predictions_are_close_within_a_tolerance(classes, probabilities, expected):
    assert Prediction("a.png", classes, probabilities).is_close(ONE) is expected


def test_json_has_probabilities_or_an_error():
    layout = ClassificationLayout(2)
    assert layout.to_json(Prediction("a.png", ["cat"], [0.123456789])) == {
        "image": "a.png",
        "classes": ["cat"],
        "probabilities": [0.1234568],
    }
    assert layout.to_json(Prediction("a.png", [], [], "broken")) == {"image": "a.png", "error": "broken"}


def test_a_row_has_two_columns_per_rank():
    layout = ClassificationLayout(2)
    assert layout.columns == ["image", "class_1", "probability_1", "class_2", "probability_2", "error"]
    assert layout.to_rows(ONE) == [["a.png", "cat", "0.75", "dog", "0.25", ""]]
    assert layout.from_rows(layout.to_rows(ONE)) == ONE
    with pytest.raises(ValueError, match="columns"):
        layout.from_rows([["a.png", "cat", "0.75", ""]])
