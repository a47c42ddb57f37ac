"""Results of detectors."""

import numpy as np
import pytest

from tasks.prediction.example_results import FAILED, HEIGHT, IMAGE, SOURCE, WIDTH, detection, masks


@pytest.mark.parametrize("with_masks", [True, False])
def test_detection_has_boxes_masks_and_labels(with_masks):
    result = detection(with_masks)
    assert result.labels == ["tree", "cat"]
    assert len(result) == 2
    assert result.boxes.tolist()[0] == [20, 10, 50, 30]
    if with_masks:
        assert result.masks.dtype == bool
        assert (result.masks == masks()).all()
    else:
        assert result.masks is None
    values = result.to_dict()
    assert values["image"] == SOURCE.name
    assert [one["label"] for one in values["objects"]] == ["tree", "cat"]
    assert values["objects"][1]["box"] == [0, 0, 5, 60]
    assert (values["objects"][0]["mask"] is None) is not with_masks
    assert repr(result) == "DetectionResult(photos/a <b>.png: tree 90 %, cat 25 %)"


def test_detection_without_objects_is_empty():
    empty = {name: value for name, value in FAILED["detect"].items() if name not in ("size", "rles")}
    result = detection(**empty, rles=[])
    assert (len(result), result.labels, result.masks.shape) == (0, [], (0, HEIGHT, WIDTH))
    assert result.to_dict() == {"image": SOURCE.name, "objects": []}
    assert (np.asarray(result.plot()) == np.asarray(IMAGE)).all()
    assert repr(result) == "DetectionResult(photos/a <b>.png: nothing)"


def test_boxes_of_records_have_two_decimals():
    result = detection(boxes=np.float32([[20.126, 10.5, 50, 30], [0, 0.25, 5, 60.004]]))
    assert result.objects[0].box == pytest.approx([20.13, 10.5, 50, 30], abs=1e-5)
    assert result.objects[1].box == pytest.approx([0, 0.25, 5, 60], abs=1e-5)
