import numpy as np
import pytest

from msgformer.data.bundled.scenes import (
    MAX_COVERED,
    NUM_DIGITS,
    PHOTOGRAPHS,
    SIDE,
    SIZE,
    SceneMaker,
    load_photograph,
    split_digits,
)


@pytest.fixture(scope="module")
def scenes():
    maker = SceneMaker("train", seed=3)
    return [maker.make(index) for index in range(12)]


def test_scenes_depend_on_seed_subset_and_index(scenes):
    again = SceneMaker("train", seed=3).make(5)
    np.testing.assert_array_equal(again.image, scenes[5].image)
    np.testing.assert_array_equal(again.owner, scenes[5].owner)
    others = [scenes[4], SceneMaker("train", seed=4).make(5), SceneMaker("val", seed=3).make(5)]
    assert all((other.image != again.image).any() for other in others)


def test_number_and_size_of_digits_are_within_limits(scenes):
    for scene in scenes:
        assert scene.image.shape == (SIDE, SIDE, 3)
        assert NUM_DIGITS[0] <= len(scene.labels) <= NUM_DIGITS[1]
        assert set(np.unique(scene.owner)) == set(range(-1, len(scene.labels)))
    sides = [max(box[2:]) for scene in scenes for box in scene.boxes()]
    assert min(sides) >= SIZE[0] * 0.5  # of the scan's square the strokes fill most
    assert max(sides) <= SIZE[1] * 1.5  # turned by 15 degrees
    assert max(sides) > 3 * min(sides)


def test_boxes_masks_and_label_maps_agree(scenes):
    for scene in scenes:
        classes = scene.classes()
        assert (classes == 0).sum() == (scene.owner == -1).sum()
        for label, mask, (x, y, width, height) in zip(scene.labels, scene.masks(), scene.boxes(), strict=True):
            assert (classes[mask] == label + 1).all()
            assert mask[y : y + height, x : x + width].sum() == mask.sum()
            inside = mask[y : y + height, x : x + width]
            assert all(edge.any() for edge in (inside[0], inside[-1], inside[:, 0], inside[:, -1]))


def test_digits_are_covered_by_less_than_a_third(scenes):
    covered = [1 - scene.masks().sum((1, 2)) / scene.areas for scene in scenes]
    assert 0.05 < max(part.max() for part in covered) <= MAX_COVERED


def test_digits_contrast_with_their_background(scenes):
    for scene in scenes:
        grey = scene.image.mean(-1) / 255
        for mask in scene.masks():
            assert grey[mask].std() < 0.25  # one color, its edges blended


def test_subsets_share_neither_digits_nor_photographs():
    train, val = split_digits(0)
    assert not set(train) & set(val)
    assert len(train) + len(val) == 1797
    assert split_digits(1)[0] != train
    assert not set(PHOTOGRAPHS["train"]) & set(PHOTOGRAPHS["val"])
    for names in PHOTOGRAPHS.values():
        for name in names:
            photograph = load_photograph(name)
            assert photograph.mode == "RGB"
            assert min(photograph.size) >= SIDE
