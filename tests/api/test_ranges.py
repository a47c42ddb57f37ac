import math

import pytest

from msgformer.api.benchmark import benchmark
from msgformer.api.evaluate import evaluate
from msgformer.api.explain import explain
from msgformer.api.listing import models
from msgformer.api.options import Options
from msgformer.api.predict import predict
from msgformer.api.ranges import ASCENDING, RANGES, check_ranges
from msgformer.api.study import study
from msgformer.api.train import train
from msgformer.errors import UserError


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("epochs", 0, "epochs must be at least 1, not 0"),
        ("val_fraction", 1, "val_fraction must lie between 0 and 1, not 1"),
        ("augment.hflip", 1.5, "augment.hflip must lie between 0 and 1, not 1.5"),
        ("optim.eps", 0, "optim.eps must be above 0, not 0"),
        ("preprocess.std", [0.2, -1, 0.2], "preprocess.std must be above 0, not -1"),
        ("optim.lr", math.nan, "optim.lr must be at least 0, not nan"),
        ("optim.lr", math.inf, "optim.lr must be at least 0, not inf"),
        ("augment.scale", [0.5, 0.1], "augment.scale must ascend, not be 0.5 and 0.1; swap them"),
    ],
)
def test_numbers_that_cannot_be_meant_are_refused(key, value, message):
    with pytest.raises(UserError) as error:
        check_ranges({key: value})
    assert str(error.value) == message


def test_what_can_be_meant_passes():
    check_ranges({"epochs": 1, "augment.hflip": 1, "augment.scale": [0.1, 0.1], "optim.eps": None, "unknown": -1})


def test_every_range_is_of_an_option():
    known = {
        key for verb in (train, evaluate, predict, explain, models, benchmark, study) for key in Options(verb).keys
    }
    assert {*RANGES, *ASCENDING} <= known
