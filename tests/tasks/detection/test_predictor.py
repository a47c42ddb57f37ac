from types import SimpleNamespace

import pytest

from msgformer.tasks.detection.predictor import DetectionPredictor
from msgformer.tasks.detection.record import DetectionPrediction, FoundObject


def record(*scores, label="cat"):
    return DetectionPrediction("image", [FoundObject(label, score, [0.0, 0.0, 8.0, 8.0]) for score in scores])


@pytest.mark.parametrize(
    ("stored", "fresh", "agrees"),
    [
        (record(0.9, 0.8), record(0.905, 0.8), True),
        (record(0.9), record(0.93), False),
        (record(0.9), record(0.9, label="dog"), False),
        (record(0.9), record(0.9, 0.502), True),
        (record(0.9, 0.502), record(0.9), True),
        (record(), record(0.504, 0.501), True),
        (record(), record(0.9), False),
        (record(0.9), record(0.9, 0.8), False),
    ],
)
def test_resuming_tolerates_objects_near_the_threshold_only(stored, fresh, agrees):
    assert DetectionPredictor.agrees(SimpleNamespace(threshold=0.5), stored, fresh) is agrees
