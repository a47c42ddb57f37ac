"""Weights of the classes in the loss."""

import numpy as np
import pytest
from PIL import Image

from data.dense_folders import write_ade20k
from msgformer.config.dense_data_options import LabelOptions
from msgformer.data.segmentation.sets import open_segmentation
from msgformer.errors import UserError
from msgformer.tasks.segmentation.class_weights import balanced_weights, resolve_class_weights


def test_balanced_weights_are_the_inverse_frequency():
    weights = balanced_weights(np.array([90, 10, 0]))
    assert weights == pytest.approx([100 / 180, 5.0, 1.0])
    assert np.dot(weights[:2], [0.9, 0.1]) == pytest.approx(1)


def test_frequencies_are_measured_on_the_training_maps(tmp_path):
    root = write_ade20k(tmp_path, ("sea", "wall", "sky", "tree"))
    labels = np.zeros((30, 40), np.uint8)
    labels[:10], labels[:, :4] = 1, 255
    for path in (root / "annotations/training").iterdir():
        with Image.open(path) as image:
            size = image.size
        Image.fromarray(labels).resize(size, Image.Resampling.NEAREST).save(path)
    train, _ = open_segmentation(root, LabelOptions())
    assert resolve_class_weights("balanced", train) == pytest.approx([0.75, 1.5, 1.0, 1.0], rel=0.1)
    assert resolve_class_weights(None, train) is None
    assert resolve_class_weights({"wall": 3}, train) == [1, 3, 1, 1]
    assert resolve_class_weights([1, 2, 3, 4], train) == [1, 2, 3, 4]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ([1, 2], "has 2 numbers for 3 classes"),
        ({"dog": 1}, "no class 'dog'; the classes are wall, sky, tree"),
        ([1, -1, 1], "must be at least 0"),
        ([0, 0, 0], "not all 0"),
        ([1, float("nan"), 1], "must be at least 0"),
    ],
)
def test_weights_that_do_not_fit_are_refused(given, message, tmp_path):
    train, _ = open_segmentation(write_ade20k(tmp_path, ("wall", "sky", "tree")), LabelOptions(True))
    with pytest.raises(UserError, match=rf"^segment\.class_weights.*{message}"):
        resolve_class_weights(given, train)
