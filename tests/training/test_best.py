import math

from msgformer.training.best import Best


def rows(**columns):
    return [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]


def test_the_highest_or_the_lowest_is_the_best():
    table = rows(epoch=[1, 2, 3], score=[1.0, 3.0, 2.0])
    assert Best("score").of(table)["epoch"] == 2
    assert Best("score", higher=False).of(table)["epoch"] == 1


def test_among_equals_the_tie_decides_and_then_the_first():
    table = rows(epoch=[1, 2, 3], score=[5.0, 5.0, 5.0], loss=[0.3, 0.1, 0.1])
    assert Best("score", tie="loss").of(table)["epoch"] == 2
    assert Best("score").of(table)["epoch"] == 1


def test_what_is_not_a_number_or_was_not_scored_is_not_the_best():
    table = rows(epoch=[1, 2, 3], score=[math.nan, 1.0, 1.0], loss=[0.0, math.nan, 9.0])
    assert Best("score", tie="loss").of([{"epoch": 0}, *table])["epoch"] == 3


def test_a_prefix_goes_to_the_names_not_to_their_groups():
    assert Best("val/top1", tie="val/loss").with_prefix("ema_") == Best("val/ema_top1", tie="val/ema_loss")
    assert Best("val/map").with_prefix("") == Best("val/map")
