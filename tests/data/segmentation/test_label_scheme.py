import numpy as np
import pytest

from msgformer.data.segmentation.label_scheme import LabelScheme, ignored_index
from msgformer.errors import UserError


@pytest.mark.parametrize(("reduce_zero", "first"), [(False, 0), (True, 1)])
def test_labels_count_the_classes(reduce_zero, first):
    scheme = LabelScheme.from_classes(["a", "b"], reduce_zero=reduce_zero)
    labels = np.array([first, first + 1, 255, 65535], np.uint16)
    assert scheme.to_classes(labels).tolist() == [0, 1, 255, 255]
    assert scheme.unknown_labels(labels) is None
    assert "label 5 of no class" in scheme.unknown_labels(np.array([0, 5], np.uint8))
    assert scheme.to_classes(labels).dtype == np.uint8


def test_255_is_a_class_among_more_classes():
    scheme = LabelScheme.from_classes([str(number) for number in range(256)], reduce_zero=False)
    found = scheme.to_classes(np.array([0, 255, 65535], np.uint16))
    assert (found.tolist(), found.dtype, ignored_index(256)) == ([0, 255, 65535], np.int32, 65535)


def test_more_classes_than_labels_are_refused():
    with pytest.raises(UserError, match=r"65536 classes are too many; label maps have at most 65534"):
        LabelScheme.from_classes([""] * 65536, reduce_zero=False)


def test_others_may_be_ignored():
    scheme = LabelScheme(("road",), {7: 0}, others_ignored=True)
    assert scheme.to_classes(np.array([7, 8, 255], np.uint8)).tolist() == [0, 255, 255]
