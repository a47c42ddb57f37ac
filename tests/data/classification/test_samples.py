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
