import math

from msgformer.training.best import Best


def rows(**columns):
    return [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]


def test_selects_highest_or_lowest():
    table = rows(epoch=[1, 2, 3], score=[1.0, 3.0, 2.0])
    assert Best("score").select(table)["epoch"] == 2
    assert Best("score", higher_is_better=False).select(table)["epoch"] == 1


def test_equal_epochs_are_decided_by_the_tie_breaker_then_by_order():
    table = rows(epoch=[1, 2, 3], score=[5.0, 5.0, 5.0], loss=[0.3, 0.1, 0.1])
    assert Best("score", tie_breaker="loss").select(table)["epoch"] == 2
    assert Best("score").select(table)["epoch"] == 1


def test_nan_and_unscored_epochs_are_not_selected():
    table = rows(epoch=[1, 2, 3], score=[math.nan, 1.0, 1.0], loss=[0.0, math.nan, 9.0])
    assert Best("score", tie_breaker="loss").select([{"epoch": 0}, *table])["epoch"] == 3


def test_prefix_is_added_after_the_group():
    best = Best("val/top1", tie_breaker="val/loss")
    assert best.with_prefix("ema_") == Best("val/ema_top1", tie_breaker="val/ema_loss")
    assert Best("val/map").with_prefix("") == Best("val/map")
