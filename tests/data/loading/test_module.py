import multiprocessing

import pytest
import timm
import torch

from msgformer.config.data_options import AugmentOptions, PreprocessOptions
from msgformer.data.bundled.digits import DigitsSource
from msgformer.data.classification.samples import Samples
from msgformer.data.files.folder import list_classes
from msgformer.data.files.sources import FolderSource
from msgformer.data.loading.module import make_loader
from msgformer.data.loading.sampling import EpochSampler
from msgformer.data.preprocessing import Preprocessing, train_transform
from msgformer.errors import UserError


def augmented(source, seed=0):
    settings = Preprocessing.of(timm.create_model("test_vit"), (16, 16), 3, PreprocessOptions())
    return Samples(source, train_transform(settings, AugmentOptions()), seed)


def epoch_of(samples, epoch, workers, start_method=None, seed=0):
    sampler = EpochSampler(len(samples), seed, shuffle=True)
    loader = make_loader(samples, sampler, 5, workers, start_method)
    for earlier in range(epoch + 1):  # the workers live on from epoch to epoch
        sampler.set_epoch(earlier)
        batches = list(loader)
    return [torch.cat(field) for field in zip(*batches, strict=True)]


@pytest.fixture
def digits():
    return augmented(DigitsSource(list(range(12))))


def test_batches_hold_images_labels_and_positions(digits):
    images, labels, positions = epoch_of(digits, 0, workers=0)
    assert images.shape == (12, 3, 16, 16)
    assert labels.tolist() == [digits.source.labels[position] for position in positions.tolist()]
    assert sorted(positions.tolist()) == list(range(12))


@pytest.mark.parametrize("start_method", multiprocessing.get_all_start_methods())
def test_an_epoch_is_the_same_for_any_workers_and_start_method(digits, start_method):
    for ours, theirs in zip(
        epoch_of(digits, 1, workers=0), epoch_of(digits, 1, workers=1, start_method=start_method), strict=True
    ):
        assert torch.equal(ours, theirs)


def test_an_epoch_is_the_same_for_several_workers(digits):
    for ours, theirs in zip(epoch_of(digits, 1, workers=0), epoch_of(digits, 1, workers=2), strict=True):
        assert torch.equal(ours, theirs)


def test_epochs_and_seeds_differ(digits):
    first = epoch_of(digits, 0, workers=0)[0]
    assert not torch.equal(first, epoch_of(digits, 1, workers=0)[0])
    assert not torch.equal(first, epoch_of(augmented(digits.source, seed=1), 0, workers=0, seed=1)[0])


def test_reading_data_keeps_the_callers_random_state(digits):
    torch.manual_seed(0)
    expected = torch.rand(3)
    torch.manual_seed(0)
    digits[(0, 0)]
    assert torch.equal(torch.rand(3), expected)


def test_an_unreadable_image_in_a_worker_gives_one_line(image_folder):
    root = image_folder()
    samples = augmented(FolderSource(list_classes(root)))
    (root / "light" / "02.png").write_bytes(b"")
    with pytest.raises(UserError, match=r"^can't read image .*light/02\.png .*remove it$"):
        epoch_of(samples, 0, workers=1)
