import pytest

from msgformer.data.files.value_range import PixelValues
from msgformer.data.value_checks import choose_value_range, find_value_problems, summarize_by_kind
from msgformer.errors import UserError

NARROW = PixelValues("8 bits")


def wide(low, high):
    return PixelValues("integer", float(low), float(high))


def choose(given, **subsets):
    return choose_value_range(given, "preprocess.value_range", lambda: subsets)


def found(value_range, *values):
    named = [(f"{number}.png", one) for number, one in enumerate(values)]
    problems = find_value_problems({"all": named}, value_range, "--o")
    return {(one.severity, one.kind, one.path) for one in problems}


def test_eight_bits_have_no_range_and_no_messages():
    assert choose(None, train=[("a", NARROW)], val=[("b", NARROW)]) == (None, [])


def test_the_range_is_that_of_the_training_images():
    chosen, messages = choose(None, train=[("a", wide(0, 3000))], val=[("b", wide(0, 9000))])
    assert chosen == (0, 4095)
    assert messages == [
        "warning: clipped image: its values 0..9000 are clipped to the value range 0..4095; remove it, or give a wider"
        " --preprocess.value_range (b)",
        "note: value range: 2 images of more than 8 bits are scaled by 0..4095 (--preprocess.value_range)"
        " (train and val)",
    ]


def test_a_given_range_is_used():
    assert choose((0, 1000), train=[("a", wide(0, 900))], val=[])[0] == (0, 1000)
    with pytest.raises(UserError, match=r"preprocess.value_range must ascend, not be 5 and 5"):
        choose((5, 5), train=[("a", wide(0, 900))], val=[])
    assert "value_range has no effect on images of 8 bits" in choose((0, 9), train=[("a", NARROW)], val=[])[1][0]


def test_nearly_black_and_clipped_images_are_warned_of():
    values = (wide(0, 63), wide(0, 64), wide(0, 4095), wide(0, 4100), wide(-5, 4000))
    assert found((0, 4095), *values) == {
        ("warning", "nearly black image", "0.png"),
        ("warning", "clipped image", "4.png"),
        ("warning", "clipped image", "3.png"),
        ("note", "value range", "all"),
    }


def test_color_of_twelve_bits_in_sixteen_is_nearly_black():
    dark, bright = (PixelValues("16-bit color", 0, high) for high in (15, 200))
    assert found(None, dark, bright) == {
        ("note", "16-bit color", "0.png"),
        ("note", "16-bit color", "1.png"),
        ("warning", "nearly black image", "0.png"),
    }


def test_both_depths_in_one_set_are_warned_of_with_counts():
    named = [("a.png", wide(0, 4000)), ("b.png", NARROW), ("c.png", wide(9, 99)), ("d.png", NARROW)]
    problems = find_value_problems({"train": named}, (0, 4095), "--o")
    (message,) = (one.message for one in problems if one.kind == "mixed bits")
    assert message.startswith(
        "2 images have more than 8 bits, but 2, such as b.png, have 8; the former are scaled by 0"
    )


def test_channels_that_are_not_alpha_are_told():
    assert found(None, PixelValues("8 bits", has_extra_channel=True)) == {("note", "extra channel", "0.png")}


def test_problems_of_one_kind_are_one_line():
    problems = find_value_problems(
        {"all": [("a", wide(0, 9)), ("b", wide(0, 8)), ("c", wide(0, 99))]}, (0, 4095), "--o"
    )
    first, _ = summarize_by_kind(problems)
    assert first == (
        "warning: nearly black image: its values are 0..9, in a value range of 0..4095; remove it, or give --o"
        " '[LOW, HIGH]' (a and 1 more images)"
    )
