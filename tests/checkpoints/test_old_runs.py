"""A run folder of version 0.1.0 gives the same results as with that version."""

from pathlib import Path

import numpy as np
import pytest

import msgformer
from msgformer.commands.train import train
from msgformer.config.recipes import load_yaml

RUN = Path(__file__).parent / "data" / "run_0_1"
EXPECTED = {"light": 0.36286407709121704, "dark": 0.3194262981414795, "grey": 0.31770962476730347}
"""Predictions of version 0.1.0 for the image below."""


@pytest.fixture(scope="module")
def image():
    ramp = np.add.outer(np.arange(96), np.arange(128))
    return np.stack([ramp * factor % 256 for factor in (1, 2, 3)], axis=-1).astype(np.uint8)


def test_predictions_are_those_of_the_version_that_wrote_it(image):
    result = msgformer.load(RUN, device="cpu").predict(image)
    assert dict(result.top(3)) == pytest.approx(EXPECTED, abs=1e-6)
    assert [name for name, _ in result.top(3)] == list(EXPECTED)


def test_weights_are_loaded_unchanged():
    model = msgformer.load(RUN, optimize=False)
    assert model.num_parameters == sum(parameter.numel() for parameter in model.module.parameters())
    assert model.class_names == ["dark", "grey", "light"]
    assert model.img_size == (16, 16)


def test_its_configuration_is_understood(tmp_path):
    """All keys of its configuration are still options; the error is about the missing data."""
    assert load_yaml(RUN / "config.yaml")["task"] == "classify"
    with pytest.raises(msgformer.UserError, match=r"data: no such file or folder: /data/grays"):
        train(config=RUN / "config.yaml", output=tmp_path / "run")
