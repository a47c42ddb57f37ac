import numpy as np
import pytest

from msgformer.data.loading.balance import balanced_order, class_weights, rarest_classes

LABELS = [0] * 14 + [1] * 4 + [3] * 2


def drawn(seed=0, labels=LABELS):
    return balanced_order(labels, np.random.default_rng(seed)).tolist()


def test_classes_are_drawn_equally_and_images_without_replacement():
    order = drawn()
    assert len(order) == len(LABELS)
    counts = np.bincount([LABELS[index] for index in order])
    assert counts.sum() == 20
    assert sorted(counts.tolist()) == [0, 6, 7, 7]
    for label in (0, 1, 3):
        times = np.bincount(order, minlength=20)[np.array(LABELS) == label]
        assert times.max() - times.min() <= 1


def test_the_order_follows_the_generator():
    assert drawn(1) == drawn(1)
    assert drawn(1) != drawn(2)
    assert drawn(1) != sorted(drawn(1))


def test_balanced_classes_lose_no_image():
    assert sorted(drawn(labels=[0, 1, 0, 1])) == [0, 1, 2, 3]


def test_a_class_may_have_fewer_images_than_its_share():
    assert sorted(drawn(labels=[0, 1, 2])) == [0, 1, 2]


def test_rare_classes_have_larger_weights():
    weights = class_weights(LABELS, 4)
    assert weights == pytest.approx([20 / 42, 20 / 12, 0, 20 / 6])
    assert np.mean([weights[label] for label in LABELS]) == pytest.approx(1)
    assert class_weights([0, 1], 2) == [1, 1]


def test_weights_are_plain_numbers():
    assert {type(weight) for weight in class_weights(LABELS, 4)} == {float}


def test_the_class_of_an_image_is_its_rarest():
    assert rarest_classes([[0, 1], [0], [0, 2], [1, 0], []]) == [1, 0, 2, 1, -1]
