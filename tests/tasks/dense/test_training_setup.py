from pathlib import Path

import pytest

from msgformer.data.detection.instances import AnnotatedImage, InstanceSet
from msgformer.data.loading.split import read_split
from msgformer.tasks.dense.training_setup import DenseSetup


def one_image(name):
    return InstanceSet(Path("/data"), [AnnotatedImage(1, f"/data/{name}.png", 9, 9, ())], ("x",), (1,))


class Setup(DenseSetup):
    """A setup of three images."""

    def __init__(self, test):
        names = ("a", "b", "c") if test else ("a", "b")
        images = [
            InstanceSet(Path("/data"), [AnnotatedImage(1, f"/data/{one}.png", 9, 9, ())], ("x",), (1,)) for one in names
        ]
        self.train, self.val, self.test = images if test else (*images, None)

    def build(self, trainer, *, fresh):
        raise NotImplementedError

    def find_problems(self, source):
        raise NotImplementedError


@pytest.mark.parametrize("test", [True, False])
def test_images_are_recorded_by_subset(tmp_path, test):
    Setup(test).record(tmp_path)
    assert [read_split(tmp_path, subset) for subset in ("train", "val")] == [["a.png"], ["b.png"]]
    assert read_split(tmp_path, "test") == (["c.png"] if test else [])
