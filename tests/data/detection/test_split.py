from pathlib import Path

import pytest

from msgformer.data.detection.instances import AnnotatedImage, Instance, InstanceSet
from msgformer.data.detection.split import split_instances
from msgformer.errors import UserError


def make_set(*labels):
    """Return a set of images with objects of the given labels."""
    images = [
        AnnotatedImage(number, f"/data/{number}.jpg", 9, 9, tuple(Instance(0, one, (1, 1, 4, 4), 16) for one in found))
        for number, found in enumerate(labels)
    ]
    return InstanceSet(Path("/data"), images, ("cat", "dog", "cow"), (1, 2, 3))


def ids(data):
    return [image.id for image in data.images]


def test_the_images_of_a_rare_class_are_split_by_the_same_fraction():
    data = make_set(*[[1]] * 40, *[[1, 2]] * 10, [])
    train, val = split_instances(data, 0.2, seed=0)
    assert sorted(ids(train) + ids(val)) == list(range(51))
    assert sum(2 in [one.label for one in image.instances] for image in val.images) == 2
    assert len(val) == 10
    assert ids(split_instances(data, 0.2, seed=0)[1]) == ids(val) != ids(split_instances(data, 0.2, seed=1)[1])


def test_a_single_image_of_a_class_is_for_training():
    train, _ = split_instances(make_set([1], [1], [1], [3]), 0.5, seed=0)
    assert 3 in ids(train)


def test_too_few_images_are_refused():
    with pytest.raises(UserError, match=r"/data: 2 image\(s\) are too few to split"):
        split_instances(make_set([1], [2]), 0.5, seed=0)
