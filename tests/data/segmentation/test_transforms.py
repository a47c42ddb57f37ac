from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.tv_tensors import Mask

from data.dense_folders import write_ade20k
from msgformer.config.dense_data_options import LabelOptions, SegmentImageOptions
from msgformer.data.dense.samples import SegmentationSamples
from msgformer.data.segmentation.label_scheme import IGNORED
from msgformer.data.segmentation.sets import open_segmentation
from msgformer.data.segmentation.transforms import SegmentEval, SegmentTrain, scaled_size
from msgformer.utils.seeding import seeded

MEAN, STD = (0.5, 0.5, 0.5), (0.25, 0.25, 0.25)
PLAIN = SegmentImageOptions(short_side=64, crop=64, scale=(1.0, 1.0), hflip=0.0, photometric=False)


def coded(height=90, width=120):
    """Return an image of four stripes, whose red channel encodes the label of each pixel."""
    labels = np.repeat(np.arange(4), width // 4)[None].repeat(height, 0).astype(np.uint8)
    pixels = np.stack([labels * 60, labels * 0 + 100, labels * 0], -1)
    return Image.fromarray(pixels), Mask(torch.from_numpy(labels))


def test_labels_move_with_the_image():
    options = SegmentImageOptions(short_side=64, crop=48, photometric=False)
    transform = SegmentTrain(options, MEAN, STD)
    flipped = padded = 0
    for seed in range(30):
        with seeded(seed):
            image, labels = transform(*coded())
        assert image.shape == (3, 48, 48)
        assert labels.shape == (48, 48)
        assert labels.dtype == torch.int64
        counted = labels != IGNORED
        padded += int(not counted.all())
        assert (image[:, ~counted] == 0).all()
        decoded = ((image[0] * 0.25 + 0.5) * 255 / 60)[counted]
        near = (decoded - labels[counted]).abs() < 0.2
        assert near.float().mean() > 0.8  # all but the blurred borders of the stripes
        row = labels[0][labels[0] != IGNORED]
        flipped += int(row[0] > row[-1])
    assert 5 < flipped < 25
    assert padded > 0


def test_a_crop_with_several_classes_is_preferred():
    labels = torch.zeros(64, 256, dtype=torch.uint8)
    labels[:, :40] = 1
    labels = Mask(labels)
    varied = {}
    for ratio in (0.75, 1.1):
        transform = SegmentTrain(SegmentImageOptions(crop=64, cat_max_ratio=ratio), MEAN, STD)
        with seeded(0):
            crops = [transform.crop(Image.new("RGB", (256, 64)), labels)[1] for _ in range(40)]
        varied[ratio] = sum(0.25 < (crop == 1).float().mean() < 0.75 for crop in crops)
    assert varied[0.75] > 1.2 * varied[1.1]


def test_ignored_pixels_are_no_class_when_a_crop_is_chosen():
    labels = torch.full((64, 256), IGNORED, dtype=torch.uint8)
    labels[:, ::2] = 0  # a crop of the left part has one class and ignored pixels
    labels[:, 192::4] = 1
    transform = SegmentTrain(SegmentImageOptions(crop=64, cat_max_ratio=0.75), MEAN, STD)
    with seeded(0):
        crops = [transform.crop(Image.new("RGB", (256, 64)), Mask(labels))[1] for _ in range(20)]
    assert sum(bool((crop == 1).any()) for crop in crops) >= 12


@pytest.mark.parametrize("change", [{"photometric": True}, {"color_mix": 0.4}])
def test_color_jitter_leaves_labels_unchanged(change):
    image, labels = coded(64, 64)
    varied = SegmentTrain(replace(PLAIN, **change), MEAN, STD)
    results = []
    for seed in range(6):
        with seeded(seed):
            results.append(varied(image, labels))
    plain, same = SegmentTrain(PLAIN, MEAN, STD)(image, labels)
    assert all(torch.equal(result[1], same) for result in results)
    assert sum(not torch.allclose(result[0], plain) for result in results) >= 4


def test_resizing_keeps_the_aspect_ratio():
    options = SegmentImageOptions()
    assert scaled_size((480, 640), options, 1.0) == [512, 683]
    assert scaled_size((480, 640), options, 0.5) == [256, 341]
    assert scaled_size((100, 1000), options, 1.0) == [205, 2048]


def test_evaluation_resizes_the_image_alone():
    image, labels = SegmentEval(PLAIN, MEAN, STD)(*coded())
    assert image.shape == (3, 64, 85)
    assert labels.shape == (90, 120)
    assert SegmentEval(PLAIN, MEAN, STD).image(coded()[0], 1.5).shape == (3, 96, 128)
    assert abs(image[2].mean() - (0 - 0.5) / 0.25) < 1e-4


def test_samples_depend_on_seed_epoch_and_index(tmp_path):
    train, _ = open_segmentation(write_ade20k(tmp_path), LabelOptions(True))
    samples = SegmentationSamples(train, SegmentTrain(SegmentImageOptions(short_side=40, crop=32), MEAN, STD), seed=4)
    first, other = samples[1, 2], samples[2, 2]
    torch.manual_seed(9)
    again = samples[1, 2]
    assert torch.equal(first.image, again.image)
    assert torch.equal(first.target, again.target)
    assert not torch.equal(first.image, other.image)
    assert set(first.target.unique().tolist()) <= {0, 1, 2, 255}


def test_a_map_of_another_size_is_named(tmp_path):
    root = write_ade20k(tmp_path)
    Image.new("L", (9, 9), 1).save(root / "annotations/training/0.png")
    train, _ = open_segmentation(root, LabelOptions(True))
    with pytest.raises(Exception, match=r"9 x 9 pixels, but .* has 40 x 30"):
        SegmentationSamples(train, SegmentEval(PLAIN, MEAN, STD))[0, 0]
