"""Results of segmenters."""

import numpy as np
import pytest

from tasks.prediction.example_results import HEIGHT, SOURCE, WIDTH, segmentation


def test_segmentation_has_areas_and_a_palette_image():
    result = segmentation()
    assert result.area_by_class == {"cat": pytest.approx(200 / 3), "tree": pytest.approx(100 / 3)}
    assert result.to_dict() == {"image": SOURCE.name, "classes": result.area_by_class}
    image = result.to_image()
    assert (image.mode, image.size) == ("P", (WIDTH, HEIGHT))
    assert (np.asarray(image) == result.class_map).all()
    assert repr(result) == "SegmentationResult(photos/a <b>.png: cat 66.7 %, tree 33.3 %)"
