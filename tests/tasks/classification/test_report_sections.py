import pytest
from PIL import Image

from msgformer.tasks.classification.report_sections import CONFUSED, GALLERY, OPEN_ROWS, headline, outcome_sections
from msgformer.visual.page import Figure, Gallery, Table, Text
from tasks.classification.outcomes import answers, hand_made, outcome_of


def sections(outcome):
    found = outcome_sections(outcome, lambda index: f"image{index}", lambda _: Image.new("RGB", (4, 4)))
    return {section.title: section.blocks for section in found}


def only(kind, blocks):
    return [block for block in blocks if isinstance(block, kind)]


@pytest.fixture(scope="module")
def many():
    return sections(outcome_of(*answers(400, 60)))


def test_the_headline_has_the_numbers_that_count():
    tiles = {tile.label: (tile.value, tile.note) for tile in headline(hand_made([0, 0, 1], [0, 1, 1]))}
    assert tiles["Top-1 accuracy"] == ("66.67 %", "2 of 3")
    assert tiles["Mean F1"] == ("66.67 %", "of 3 classes")
    assert "Top-5 accuracy" not in tiles  # among three classes it says nothing
    assert "Top-5 accuracy" in {tile.label for tile in headline(outcome_of(*answers(20, 8)))}


def test_the_weakest_class_comes_first_and_those_without_images_last():
    (table,) = only(Table, sections(hand_made([0, 0, 0, 1], [0, 0, 1, 1]))["Classes"])
    assert [row[0] for row in table.rows] == ["b", "a", "c"]
    assert table.rows[1][1:] == ("3", "2", "100.00 %", "66.67 %", "80.00 %")
    assert table.rows[2][1:] == ("0", "0", "-", "-", "-")


def test_of_many_classes_the_weakest_are_shown_and_the_rest_is_folded(many):
    quartiles, shown, folded = only(Table, many["Classes"])
    assert len(shown.rows) == OPEN_ROWS
    assert len(folded.rows) == 60 - OPEN_ROWS
    assert folded.folded == "The other 30 classes"
    assert [row[0] for row in quartiles.rows] == ["Precision", "Recall", "F1"]
    assert [figure.plot.name for figure in only(Figure, many["Classes"])] == ["recall"]


def test_confused_pairs_are_listed(many):
    (table,) = only(Table, many["Confusion"])
    assert len(table.rows) == CONFUSED


def test_galleries_show_what_was_said_of_which_picture():
    found = sections(hand_made([0, 1, 2, 0], [1, 1, 0, 2], confidences=[0.6, 0.5, 0.9, 0.7]))
    (mistakes,), (doubts,) = (only(Gallery, found[title]) for title in ("Worst mistakes", "Least certain"))
    assert [(one.name, one.lines[0]) for one in mistakes.images] == [
        ("image2", "c taken for a"),
        ("image3", "a taken for c"),
        ("image0", "a taken for b"),
    ]
    assert only(Text, found["Worst mistakes"])[0].text.startswith("All 3 mistakes, first those")
    assert mistakes.images[0].lines[1:] == ["a 90.0 %", "a 10.0 %"]
    assert (doubts.images[0].lines[0], doubts.images[0].good) == ("b, recognised", True)


def test_galleries_end_somewhere(many):
    assert only(Text, many["Worst mistakes"])[0].text.startswith(f"The {GALLERY} of ")
    assert all(len(only(Gallery, many[title])[0].images) == GALLERY for title in ("Worst mistakes", "Least certain"))


def test_a_model_without_mistakes():
    found = sections(hand_made([0, 1], [0, 1]))
    assert only(Text, found["Worst mistakes"])[0].text == "Every image was recognised."
    assert only(Text, found["Confusion"])[0].text == "No image was taken for another class."
    assert len(only(Gallery, found["Least certain"])[0].images) == 2
