import pytest
from PIL import Image

from msgformer.tasks.classification.report_sections import (
    MAX_CONFUSIONS,
    MAX_GALLERY,
    MAX_UNFOLDED_ROWS,
    headline,
    outcome_sections,
)
from msgformer.visual.page import Figure, Gallery, Table, Text
from tasks.classification.outcomes import make_outcome, outcome_of, random_logits


def sections(outcome):
    found = outcome_sections(outcome, lambda index: f"image{index}", lambda _: Image.new("RGB", (4, 4)))
    return {section.title: section.blocks for section in found}


def only(kind, blocks):
    return [block for block in blocks if isinstance(block, kind)]


@pytest.fixture(scope="module")
def many():
    return sections(outcome_of(*random_logits(400, 60)))


def test_headline_has_the_most_important_scores():
    tiles = {tile.label: (tile.value, tile.note) for tile in headline(make_outcome([0, 0, 1], [0, 1, 1]))}
    assert tiles["Top-1 accuracy"] == ("66.67 %", "2 of 3")
    assert tiles["Mean F1"] == ("66.67 %", "of 2 classes")  # c has no images
    assert "Top-5 accuracy" not in tiles  # meaningless for three classes
    assert "Top-5 accuracy" in {tile.label for tile in headline(outcome_of(*random_logits(20, 8)))}


def test_classes_are_in_ascending_order_and_those_without_images_last():
    (table,) = only(Table, sections(make_outcome([0, 0, 0, 1], [0, 0, 1, 1]))["Classes"])
    assert [row[0] for row in table.rows] == ["b", "a", "c"]
    assert table.rows[1][1:] == ("3", "2", "100.00 %", "66.67 %", "80.00 %")
    assert table.rows[2][1:] == ("0", "0", "-", "-", "-")


def test_only_the_weakest_of_many_classes_are_unfolded(many):
    quartiles, shown, folded = only(Table, many["Classes"])
    assert len(shown.rows) == MAX_UNFOLDED_ROWS
    assert len(folded.rows) == 60 - MAX_UNFOLDED_ROWS
    assert folded.folded == "The other 30 classes"
    assert [row[0] for row in quartiles.rows] == ["Precision", "Recall", "F1"]
    assert [figure.plot.name for figure in only(Figure, many["Classes"])] == ["recall"]


def test_most_frequent_confusions_are_listed(many):
    (table,) = only(Table, many["Confusion"])
    assert len(table.rows) == MAX_CONFUSIONS


def test_galleries_show_images_with_true_and_predicted_classes():
    found = sections(make_outcome([0, 1, 2, 0], [1, 1, 0, 2], confidences=[0.6, 0.5, 0.9, 0.7]))
    (mistakes,), (least_certain,) = (only(Gallery, found[title]) for title in ("Worst mistakes", "Least certain"))
    assert [(one.name, one.lines[0]) for one in mistakes.images] == [
        ("image2", "c predicted as a"),
        ("image3", "a predicted as c"),
        ("image0", "a predicted as b"),
    ]
    assert only(Text, found["Worst mistakes"])[0].text.startswith("All 3 mistakes, in descending order")
    assert mistakes.images[0].lines[1:] == ["a 90.0 %", "a 10.0 %"]
    assert (least_certain.images[0].lines[0], least_certain.images[0].good) == ("b, correct", True)


def test_galleries_have_a_maximum_size(many):
    assert only(Text, many["Worst mistakes"])[0].text.startswith(f"{MAX_GALLERY} of ")
    for title in ("Worst mistakes", "Least certain"):
        assert len(only(Gallery, many[title])[0].images) == MAX_GALLERY


def test_sections_of_a_model_without_mistakes():
    found = sections(make_outcome([0, 1], [0, 1]))
    assert only(Text, found["Worst mistakes"])[0].text == "Every image is classified correctly."
    assert only(Text, found["Confusion"])[0].text == "No image is misclassified."
    assert len(only(Gallery, found["Least certain"])[0].images) == 2
