import dataclasses

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision import tv_tensors

from msgformer.config.dense_data_options import DetectImageOptions
from msgformer.data.bundled.scene_folders import write_detection
from msgformer.data.dense.samples import DetectionSamples
from msgformer.data.detection.sets import open_detection
from msgformer.data.detection.transforms import RandomSidesCrop, detect_eval_transform, detect_train_transform
from msgformer.utils import rle
from msgformer.utils.seeding import seeded

SMALL = DetectImageOptions(train_sides=(192, 256, 320), max_side=400, crop_resize=(256,), crop_sides=(128, 200))


@pytest.fixture(scope="module")
def scenes(tmp_path_factory):
    folder = tmp_path_factory.mktemp("scenes") / "coco"
    write_detection(folder, {"train": 6, "val": 1}, seed=0)
    return open_detection(folder)[0]


def test_boxes_and_masks_move_with_the_image(scenes):
    samples = DetectionSamples(scenes, detect_train_transform(SMALL), with_masks=True)
    sizes = set()
    for epoch in range(4):
        for index in range(len(scenes)):
            image, target, position = samples[epoch, index]
            sizes.add(image.shape[1:])
            assert position == index
            assert image.dtype == torch.float32
            assert 0 <= image.min() < image.max() <= 1
            assert min(image.shape[1:]) <= 320
            assert target["masks"].shape == (len(target["boxes"]), *image.shape[1:])
            for box, mask in zip(target["boxes"], target["masks"], strict=True):
                ys, xs = mask.nonzero(as_tuple=True)
                if len(ys):  # a crop may keep a corner of a box without any of its digit
                    around = torch.stack([xs.min(), ys.min(), xs.max() + 1, ys.max() + 1])
                    assert (around[:2] >= box[:2] - 1.5).all()
                    assert (around[2:] <= box[2:] + 1.5).all()
            assert type(target["boxes"]) is type(target["masks"]) is torch.Tensor
    assert len(sizes) > 6


def test_samples_depend_on_seed_epoch_and_index(scenes):
    samples = DetectionSamples(scenes, detect_train_transform(SMALL), with_masks=False, seed=1)
    first = samples[2, 3]
    torch.manual_seed(5)
    samples[1, 1]
    again = samples[2, 3]
    torch.testing.assert_close(again.image, first.image, rtol=0, atol=0)
    torch.testing.assert_close(again.target["boxes"], first.target["boxes"], rtol=0, atol=0)
    other = DetectionSamples(scenes, detect_train_transform(SMALL), with_masks=False, seed=2)[2, 3]
    assert other.image.shape != first.image.shape or (other.image != first.image).any()


def test_published_sizes_are_the_default():
    transform = detect_train_transform(DetectImageOptions(crop=0.0))
    shapes = []
    for seed in range(12):
        with seeded(seed):
            image, _ = transform(Image.new("RGB", (640, 480)), {"boxes": torch.zeros(0, 4)})
        shapes.append(tuple(image.shape[1:]))
    assert {height for height, _ in shapes} <= set(range(480, 801, 32))
    assert len(set(shapes)) > 3
    wide, _ = transform(Image.new("RGB", (2000, 300)), {"boxes": torch.zeros(0, 4)})
    assert wide.shape[2] == 1333


def test_crops_have_sides_in_the_range():
    crop = RandomSidesCrop(20, 30)
    sides = []
    for seed in range(40):
        torch.manual_seed(seed)
        cropped = crop(Image.new("RGB", (50, 25)))
        sides.append(cropped.size)
    widths, heights = map(set, zip(*sides, strict=True))
    assert widths == set(range(20, 31))
    assert heights == set(range(20, 26))
    assert crop(Image.new("RGB", (5, 6))).size == (5, 6)


def test_evaluation_changes_nothing(scenes):
    image, target, _ = DetectionSamples(scenes, detect_eval_transform, with_masks=True)[0, 2]
    np.testing.assert_allclose(image.permute(1, 2, 0), np.asarray(scenes.load(2)) / 255, atol=1e-6)
    assert target["boxes"].tolist() == scenes.target(2, True)["boxes"].tolist()


@pytest.mark.parametrize("name", ["color_jitter", "color_mix"])
def test_color_jitter_is_optional(scenes, name):
    options = DetectImageOptions(train_sides=(256,), crop=0.0, hflip=0.0, **{name: 0.4})
    image = DetectionSamples(scenes, detect_train_transform(options), with_masks=False)[0, 0].image
    plain = DetectionSamples(scenes, detect_eval_transform, with_masks=False)[0, 0].image
    assert image.shape == plain.shape
    assert (image - plain).abs().mean() > 0.01


@pytest.mark.parametrize(("hflip", "left"), [(0.0, 2.0), (1.0, 54.0)])
def test_hflip_is_the_probability_of_a_flip(hflip, left):
    options = DetectImageOptions(train_sides=(64,), max_side=64, crop=0.0, hflip=hflip)
    boxes = tv_tensors.BoundingBoxes([[2.0, 3.0, 10.0, 12.0]], format="XYXY", canvas_size=(64, 64))
    image = Image.new("RGB", (64, 64))
    image.paste("white", (2, 3, 10, 12))
    with seeded(0):
        pixels, target = detect_train_transform(options)(image, {"boxes": boxes, "labels": torch.tensor([1])})
    assert target["boxes"].tolist() == [[left, 3.0, left + 8, 12.0]]
    assert pixels[0].nonzero()[:, 1].min() == left


def test_masks_in_chunks_move_like_all_masks_at_once(monkeypatch, scenes):
    """One mask per chunk gets the same random crop, flip and size, and later random numbers don't change."""
    options = dataclasses.replace(SMALL, color_jitter=0.2, color_mix=0.3)
    transform = detect_train_transform(options)
    monkeypatch.setattr(rle, "MAX_CHUNK_PIXELS", 1)
    for seed in range(12):
        image = scenes.load(seed % len(scenes))
        with seeded(seed):
            whole, expected = transform(image, scenes.target(seed % len(scenes), with_masks=True))
        with seeded(seed):
            target = scenes.target(seed % len(scenes), with_masks=True, decoded=False)
            pixels, moved = transform(image, target, scenes.mask_chunks(seed % len(scenes)))
        assert len([*scenes.mask_chunks(seed % len(scenes))]) == len(target["labels"])
        torch.testing.assert_close(pixels, whole, rtol=0, atol=0)
        assert set(moved) == set(expected)
        for name, values in expected.items():
            torch.testing.assert_close(moved[name], values, rtol=0, atol=0)


def test_tiles_are_cut_from_large_images_without_resizing():
    """Objects are cut at the border of a tile, those outside are dropped; a small image stays whole."""
    pixels = torch.zeros(90, 200, 3, dtype=torch.uint8)
    pixels[30:50, 100:130] = 255
    boxes = tv_tensors.BoundingBoxes([[100.0, 30, 130, 50]], format="XYXY", canvas_size=(90, 200))
    masks = tv_tensors.Mask(pixels[None, :, :, 0] // 255)
    transform = detect_train_transform(DetectImageOptions(tile=64, hflip=0.0))
    counts = set()
    for seed in range(30):
        target = {"boxes": boxes, "labels": torch.tensor([1]), "masks": masks}
        with seeded(seed):
            image, moved = transform(Image.fromarray(pixels.numpy()), target)
        assert image.shape == (3, 64, 64)
        assert moved["masks"].shape == (len(moved["boxes"]), 64, 64)
        counts.add(len(moved["boxes"]))
        for (x1, y1, x2, y2), mask in zip(moved["boxes"].int().tolist(), moved["masks"], strict=True):
            assert torch.equal(mask.bool(), image[0] == 1)
            assert mask[y1:y2, x1:x2].all()
            assert mask.sum() == (x2 - x1) * (y2 - y1)
    assert counts == {0, 1}
    small = Image.new("RGB", (50, 40))
    assert transform(small, {"boxes": torch.zeros(0, 4)})[0].shape == (3, 40, 50)
