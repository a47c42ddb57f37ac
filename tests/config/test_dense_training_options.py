import dataclasses
import inspect

import pytest

from msgformer.config.dense_training_options import DetectOptions, SegmentOptions
from msgformer.heads import create_detector, create_segmenter


@pytest.mark.parametrize(("create", "options"), [(create_detector, DetectOptions), (create_segmenter, SegmentOptions)])
def test_the_options_defaults_are_those_of_the_function(create, options):
    defaults = {name: one.default for name, one in inspect.signature(create).parameters.items()}
    fields = [one for one in dataclasses.fields(options) if one.name in defaults]
    assert {one.name: one.default for one in fields} == {one.name: defaults[one.name] for one in fields}
    assert {one.name for one in dataclasses.fields(options)} - {*defaults} == {"map_norm", "frozen_stages"}
