import shutil
from functools import partial

import numpy as np
import pytest
from PIL import Image, ImageFilter

from data.dense_folders import write_ade20k, write_coco
from data.test_survey import no_progress
from msgformer.data.duplicates import ALIKE, EQUAL, find_leaks, make_thumbnail
from msgformer.data.survey import survey_classification, survey_detection, survey_segmentation


def scene(seed, side=96):
    """Make a smooth random image, as a stand-in for a photograph."""
    rng = np.random.default_rng(seed)
    coarse = Image.fromarray(rng.integers(0, 256, (7, 7, 3), dtype=np.uint8))
    return coarse.resize((side, side), Image.Resampling.BICUBIC)


def noise(seed, side=64):
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (side, side, 3), dtype=np.uint8))


@pytest.fixture
def save(tmp_path):
    """Return a function that saves images per subset, and finds the problems of all."""

    def save(**subsets):
        paths = {}
        for subset, images in subsets.items():
            (tmp_path / subset).mkdir(parents=True)
            paths[subset] = []
            for number, image in enumerate(images):
                paths[subset].append(str(tmp_path / subset / f"{number}.png"))
                image.save(paths[subset][-1])
        return [(one.kind, one.path.removeprefix(f"{tmp_path}/"), one.message) for one in find_leaks(paths)]

    return save


def test_equal_files_in_two_subsets_are_told(save, tmp_path):
    found = save(train=[scene(0), scene(1)], val=[scene(2), scene(1)], test=[scene(0), scene(2)])
    assert [(kind, path) for kind, path, _ in found] == [
        (EQUAL, "val/1.png"),
        (EQUAL, "test/0.png"),
        (EQUAL, "test/1.png"),
    ]
    first = f"the same bytes as {tmp_path}/train/1.png in train: validation scores would be too high; remove one"
    assert found[0][2] == first
    assert f"{tmp_path}/val/0.png in val" in found[-1][2]


@pytest.mark.parametrize(
    "change",
    [
        lambda image: image.resize((61, 61)),
        lambda image: image.filter(ImageFilter.GaussianBlur(1)),
        lambda image: image.point(lambda value: value * 0.9 + 10),
        lambda image: image.convert("L"),
        lambda image: image.convert("RGBA"),
        lambda image: image.convert("P"),
        lambda image: Image.blend(image, noise(5, 96), 0.1),
    ],
    ids=["smaller", "blurred", "brighter", "gray", "RGBA", "palette", "noisy"],
)
def test_images_that_look_almost_the_same_are_told(save, change):
    found = save(train=[scene(0), scene(1)], val=[change(scene(1)), scene(2)])
    assert [(kind, path) for kind, path, _ in found] == [(ALIKE, "val/0.png")]
    assert "train/1.png in train" in found[0][2]


@pytest.mark.parametrize(
    "make",
    [
        scene,
        noise,
        lambda seed: Image.new("RGB", (40, 40), (seed, 2 * seed, 200)),
        lambda seed: Image.fromarray((200 + np.asarray(noise(seed)) // 64).astype(np.uint8)),
        lambda seed: scene(seed, 12),
        lambda seed: Image.fromarray(np.full((40, 40), 256 * seed, np.uint16)),
    ],
    ids=["scenes", "noise", "flat", "almost flat", "tiny", "16 bits"],
)
def test_different_images_are_not_told(save, make):
    assert save(train=map(make, range(60)), val=map(make, range(60, 120))) == []


def test_equal_hashes_alone_are_not_enough(save):
    """All pixels exceed their right neighbors in both images."""
    place = np.tile(np.linspace(0, 1, 96), (96, 1))
    linear, steep = (Image.fromarray((255 * values).astype(np.uint8)) for values in (1 - place, np.exp(-5 * place)))
    assert save(train=[linear], val=[steep]) == []


def test_faint_shading_is_not_enough(save):
    shading = np.tile(np.linspace(3, 0, 96), (96, 1))
    first, second = (Image.fromarray((level + shading).astype(np.uint8)) for level in (100, 180))
    assert save(train=[first], val=[second]) == []


def test_images_with_one_different_object_in_the_same_place_are_different(save):
    def drawn(width):
        image = Image.new("L", (28, 28))
        image.paste(255, (14 - width, 4, 14 + width, 24))
        return image

    assert save(train=[drawn(3)], val=[drawn(5), drawn(2)]) == []


def test_unreadable_and_missing_files_are_left_to_other_checks(tmp_path):
    (tmp_path / "a.png").write_bytes(b"no image")
    paths = {"train": [str(tmp_path / "a.png")], "val": [str(tmp_path / "gone.png")]}
    assert find_leaks(paths) == []
    assert find_leaks({"all": paths["train"] * 2}) == []


def test_wide_images_have_thumbnails():
    ramp = np.linspace(0, 65535, 40 * 40).reshape(40, 40).astype(np.uint16)
    small = np.frombuffer(make_thumbnail(Image.fromarray(ramp)), np.uint8).reshape(16, 18)
    assert small[0].max() < 20
    assert small[-1].min() > 235


def kinds(found):
    return {one.kind for one in found.problems if one.severity == "warning"}


def test_every_task_tells_images_in_two_subsets(tmp_path):
    for number in range(4):
        for subset, shift in (("train", 0), ("val", 100)):
            folder = tmp_path / "classify" / subset / "ab"[number % 2]
            folder.mkdir(parents=True, exist_ok=True)
            scene(number + shift).save(folder / f"{number}.png")
    assert kinds(survey_classification(str(tmp_path / "classify"), no_progress)) == set()
    scene(0).save(tmp_path / "classify" / "val" / "a" / "0.png", compress_level=1)
    assert kinds(survey_classification(str(tmp_path / "classify"), no_progress)) == {ALIKE}
    shutil.copy(tmp_path / "classify" / "train" / "a" / "0.png", tmp_path / "classify" / "val" / "a" / "0.png")
    assert kinds(survey_classification(str(tmp_path / "classify"), no_progress)) == {EQUAL}
    for root, survey in (
        (write_coco(tmp_path / "detect"), survey_detection),
        (write_ade20k(tmp_path / "segment"), partial(survey_segmentation, reduce_zero=True)),
    ):
        assert not kinds(survey(str(root))) & {ALIKE, EQUAL}
        train, val = (next(root.glob(f"images/{name}*/0.*")) for name in ("train", "val"))
        shutil.copy(train, val)
        assert EQUAL in kinds(survey(str(root)))


def test_the_most_similar_image_is_named(save):
    changed = [Image.blend(scene(1), noise(5, 96), share) for share in (0.2, 0.02, 0.1)]
    found = save(train=changed, val=[scene(1)])
    assert len(found) == 1
    assert "train/1.png in train" in found[0][2]
