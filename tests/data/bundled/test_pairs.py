"""Images of two digits: their classes, and parts of an image that must not reveal the class."""

import numpy as np
import pytest

from msgformer.data.bundled import pairs
from msgformer.data.bundled.pairs import NUM_IMAGES, SHARES, SIDE, PairsSource
from msgformer.data.classification.subsets import open_subsets


@pytest.fixture(scope="module")
def subsets():
    return {subset: PairsSource(subset) for subset in NUM_IMAGES}


def quarters(source, index):
    """Return an image as four quarters, [4, 32, 32]."""
    image = np.asarray(source.load(index))
    assert image.shape == (SIDE, SIDE, 3)
    assert (image == image[..., :1]).all()
    half = SIDE // 2
    return image[..., 0].reshape(2, half, 2, half).swapaxes(1, 2).reshape(4, half, half)


def test_both_classes_are_frequent(subsets):
    for subset, source in subsets.items():
        assert source.classes == ("different", "same")
        assert len(source.labels) == NUM_IMAGES[subset]
        assert np.mean(source.labels) == pytest.approx(sum(share**2 for share in SHARES.values()), abs=0.04)


def test_two_quarters_hold_a_digit_each(subsets):
    places = {tuple((quarters(subsets["train"], index) > 60).any(axis=(1, 2))) for index in range(60)}
    assert len(places) == 6, "any two of the four"
    assert {sum(place) for place in places} == {2}


def test_the_class_tells_whether_the_digits_are_equal(monkeypatch):
    """Replace each scan by a uniform one whose brightness encodes the digit."""
    monkeypatch.setattr(pairs, "_stroke", lambda scan, side, _: np.full((side, side), scan, np.uint8))
    source = PairsSource("val")
    source._scans = {digit: np.full(3, 50 * (digit + 1)) for digit in SHARES}
    for index in range(80):
        found = [int(quarter.max()) for quarter in quarters(source, index) if quarter.any()]
        assert (found[0] == found[1]) == source.labels[index]


def test_images_depend_on_their_index_and_subsets_share_no_scan(subsets):
    source = subsets["train"]
    assert np.array_equal(source.load(3), PairsSource("train").load(3))
    assert not np.array_equal(source.load(3), source.load(5))
    for digit in SHARES:
        ours, theirs = ({scan.tobytes() for scan in one._scans[digit]} for one in subsets.values())
        assert not ours & theirs


def test_it_is_a_sample_set_with_a_split_of_its_own():
    train, val, _ = open_subsets("sample:pairs", 0.5, 7)
    assert (train.name(42), val.name(0)) == ("train-0042", "val-0000")
    assert (len(train.labels), len(val.labels)) == (NUM_IMAGES["train"], NUM_IMAGES["val"])
    assert val.probe(0, whole=True) is None
