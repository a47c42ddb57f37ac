import torch
from PIL import Image

from msgformer.data.classification.samples import UNREADABLE, Samples
from msgformer.data.files.folder import list_classes
from msgformer.data.files.sources import FolderSource


def test_an_unreadable_image_has_the_label_of_no_class(image_folder):
    root = image_folder(per_class=2, classes=["a", "b", "c", "d"])
    (root / "a/00.png").write_bytes(b"no image")
    source = FolderSource(list_classes(root))
    samples = Samples(source, lambda image: torch.tensor(image.size), on_bad_image="skip")
    label, shape = samples[0, 0].label, samples[0, 0].image.tolist()
    assert (label, shape) == (UNREADABLE, [1, 1])
    assert label < 0
    assert samples[0, 7].label == 3
    assert samples[0, 7].image.tolist() == [*Image.open(root / "d/01.png").size]


def test_random_transforms_differ_by_epoch_and_image(image_folder):
    source = FolderSource(list_classes(image_folder(per_class=2)))
    samples = Samples(source, lambda _: torch.rand(4))
    drawn = [tuple(samples[epoch, index].image.tolist()) for epoch in (0, 1) for index in (0, 1, 2)]
    assert len(set(drawn)) == 6
    assert drawn == [tuple(samples[epoch, index].image.tolist()) for epoch in (0, 1) for index in (0, 1, 2)]
