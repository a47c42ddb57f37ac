import numpy as np
import pytest
import torch
from PIL import Image

from msgformer.data.files.pixels import image_from_array, image_from_pil, image_from_tensor, is_instance
from msgformer.errors import UserError

RGB = np.arange(4 * 5 * 3, dtype=np.uint8).reshape(4, 5, 3)


def pixels(image):
    assert image.mode == "RGB"
    return np.asarray(image)


@pytest.mark.parametrize(
    "array", [RGB, RGB / 255, (RGB / 255).astype(np.float32), RGB.astype(np.uint16) * 257], ids=lambda a: a.dtype.name
)
def test_all_number_formats_give_the_same_image(array):
    np.testing.assert_array_equal(pixels(image_from_array(array, "x")), RGB)
    tensor = torch.from_numpy(np.ascontiguousarray(array.transpose(2, 0, 1)))
    np.testing.assert_array_equal(pixels(image_from_tensor(tensor, "x")), RGB)


def test_gray_is_repeated_and_transparent_pixels_become_white():
    gray = RGB[:, :, 0]
    for array in (gray, gray[:, :, None]):
        np.testing.assert_array_equal(pixels(image_from_array(array, "x")), gray[:, :, None].repeat(3, 2))
    transparent = np.dstack([RGB, np.zeros_like(gray)])
    assert (pixels(image_from_array(transparent, "x")) == 255).all()


def test_image_does_not_change_with_the_array():
    array = RGB.copy()
    image = image_from_array(array, "x")
    array[:] = 0
    np.testing.assert_array_equal(pixels(image), RGB)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (np.zeros((3, 8, 9), np.uint8), r"x: array \[3, 8, 9\] has its channels first; use array.transpose\(1, 2, 0\)"),
        (np.zeros((2, 3, 8, 9), np.uint8), r"use array.transpose\(0, 2, 3, 1\)"),
        (np.zeros((8, 9, 5), np.uint8), r"x: array \[8, 9, 5\] is not an image; expected \[height, width\]"),
        (np.zeros((0, 9), np.uint8), r"x: array \[0, 9\] has no pixels; leave it out"),
        (np.zeros((8, 9), np.int64), "x: array of int64 is not an image; expected uint8"),
        (np.full((8, 9), 128.0), r"range from 128 to 128; expected 0\.\.1, so divide them by 255"),
        (np.full((8, 9), -2.0), r"range from -2 to -2; expected 0\.\.1, so give the image as it was before norm"),
        (np.full((8, 9), np.nan), r"float pixels contain NaN"),
        (torch.zeros(8, 9, 3), r"x: tensor \[8, 9, 3\] has its channels last; use tensor.permute\(2, 0, 1\)"),
        (torch.zeros(3, 8, 9, dtype=torch.int32), "x: tensor of int32 is not an image"),
        (torch.zeros(3, 8, 9, device="meta"), "pixels of a strided tensor on device meta can't be read"),
    ],
)
def test_values_that_are_no_image_are_refused(value, message):
    convert = image_from_array if isinstance(value, np.ndarray) else image_from_tensor
    with pytest.raises(UserError, match=message):
        convert(value, "x")


def test_pil_image_is_rotated_by_its_orientation_and_copied():
    image = Image.fromarray(RGB)
    image.getexif()[0x0112] = 6  # rotate by 90 degrees
    turned = image_from_pil(image, "x")
    np.testing.assert_array_equal(pixels(turned), np.rot90(RGB, -1))
    plain = Image.fromarray(RGB)
    assert image_from_pil(plain, "x") is not plain


def test_instances_are_recognized_without_importing_their_package():
    assert is_instance(np.zeros(1), "numpy", "ndarray")
    assert not is_instance([0], "numpy", "ndarray")
    assert not is_instance(0, "no_such_package", "Array")


TWELVE = np.random.default_rng(1).integers(0, 4096, (8, 9, 3))


@pytest.mark.parametrize("dtype", ["uint16", "int16", "int32", "float32", "float64"])
def test_a_value_range_scales_all_types_but_eight_bits(dtype):
    array = TWELVE.astype(dtype)
    expected = (TWELVE * (255 / 4095)).round()
    assert (np.asarray(image_from_array(array, "x", (0, 4095))) == expected).all()
    tensor = torch.from_numpy(array).permute(2, 0, 1)
    assert (np.asarray(image_from_tensor(tensor, "x", (0, 4095))) == expected).all()
    assert (np.asarray(image_from_array(RGB, "x", (0, 4095))) == RGB).all()


def test_a_value_range_may_start_anywhere_and_clips():
    array = np.array([[-2000.0, -1000.0, 0.0, 1000.0, 9000.0]])
    assert np.asarray(image_from_array(array, "x", (-1000, 1000)))[0, :, 0].tolist() == [0, 0, 128, 255, 255]
    pil = Image.fromarray(array.astype(np.float32))
    assert np.asarray(image_from_pil(pil, "x", (-1000, 1000)))[0, :, 0].tolist() == [0, 0, 128, 255, 255]


def test_floats_in_other_units_than_the_value_range_are_refused():
    with pytest.raises(UserError, match=r"x: float pixels range from 0\.2 to 0\.2, .* in 0\.\.4095; multiply .* 4095"):
        image_from_array(np.full((4, 4), 0.2), "x", (0, 4095))
    with pytest.raises(UserError, match=r"contain NaN; expected 0\.\.4095"):
        image_from_array(np.full((4, 4), np.nan), "x", (0, 4095))
    assert np.asarray(image_from_array(np.zeros((4, 4)), "x", (0, 4095))).max() == 0
    assert np.asarray(image_from_array(np.full((4, 4), 0.2), "x", (0, 1))).max() == 51
