"""The layout and labels of Cityscapes."""

import numpy as np
import pytest

from data.dense_folders import quarters, write_cityscapes
from msgformer.config.dense_data_options import LabelOptions
from msgformer.data.segmentation.cityscapes import CLASSES
from msgformer.data.segmentation.sets import open_segmentation


@pytest.mark.parametrize("kind", ["labelIds", "labelTrainIds"])
def test_cityscapes_keeps_the_evaluated_labels(kind, tmp_path):
    train, val = open_segmentation(write_cityscapes(tmp_path, kind), LabelOptions(True))
    assert len(val) == 3
    assert train.classes == tuple(CLASSES.values())
    assert len(train.classes) == 19
    expected = np.array([0, 1, 255, 255])[quarters(40, 30)]
    np.testing.assert_array_equal(train.labels(0), expected)
    assert train.name(0) == "leftImg8bit/train/ulm/ulm_0_leftImg8bit.png"
