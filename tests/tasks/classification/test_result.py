"""Results of classifiers."""

import numpy as np
import pytest

from tasks.prediction.example_results import SOURCE, classification


def test_classification_has_labels_and_probabilities():
    result = classification()
    assert (result.label, result.probability) == ("dog, big", pytest.approx(0.7))
    assert result.top(2) == [("dog, big", pytest.approx(0.7)), ("cat", pytest.approx(0.2))]
    assert len(result.top(99)) == len(result.top()) == 3
    assert result.to_dict() == {"image": SOURCE.name, "classes": ["dog, big", "cat"], "probabilities": [0.7, 0.2]}
    assert repr(result) == "ClassificationResult(photos/a <b>.png: dog, big 70.0 %, cat 20.0 %)"


def test_classes_of_equal_probability_are_in_their_original_order():
    assert [name for name, _ in classification(probabilities=np.float32([0.4, 0.2, 0.4])).top(3)] == [
        "cat",
        "tree",
        "dog, big",
    ]
