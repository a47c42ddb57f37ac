import numpy as np
import pytest
from PIL import Image, TiffImagePlugin

from msgformer.data.files import value_range
from msgformer.data.files.images import read_image, read_pixel_values
from msgformer.data.files.value_range import PixelValues, measure_value_range, survey_pixel_values
from msgformer.errors import UserError


def save(path, pixels):
    Image.fromarray(np.asarray(pixels)).save(path)
    return str(path)


@pytest.mark.parametrize(
    ("kind", "extents", "expected"),
    [
        ("8 bits", [(0, 255)], None),
        ("16-bit color", [(0, 15)], None),
        ("integer", [(3, 900), (0, 4000)], (0, 4095)),
        ("integer", [(0, 4096)], (0, 8191)),
        ("integer", [(0, 65535)], (0, 65535)),
        ("integer", [(0, 1)], (0, 255)),
        ("integer", [(-1024, 3071)], (-1100, 3100)),
        ("float", [(0, 0.2), (0, 1)], (0, 1)),
        ("float", [(-1e-4, 1.0005)], (0, 1)),
        ("float", [(0.5, 254.5)], (0, 255)),
        ("float", [(0, 3000)], (0, 4095)),
        ("float", [(-0.317, 0.914)], (-0.4, 1)),
        ("float", [(0.02, 7.31)], (0, 7.4)),
        ("float", [(5.5, 5.5)], (5.5, 6.5)),
    ],
)
def test_the_range_holds_the_values_of_all_images(kind, extents, expected):
    assert measure_value_range(PixelValues(kind, *map(float, extent)) for extent in extents) == expected


def test_only_images_of_more_than_eight_bits_are_decoded(tmp_path, monkeypatch):
    gray = np.arange(64).reshape(8, 8)
    assert read_pixel_values(save(tmp_path / "a.png", (gray * 60).astype("uint16"))) == ("integer", 0, 3780, False)
    assert read_pixel_values(save(tmp_path / "a.tif", gray.astype("float32") - 3)) == ("float", -3, 60, False)
    assert read_pixel_values(save(tmp_path / "b.tif", np.int32(gray) * 9999 - 5)) == ("integer", -5, 629932, False)
    narrow = save(tmp_path / "b.png", gray.astype("uint8"))
    monkeypatch.setattr(Image.Image, "load", None)
    assert read_pixel_values(narrow) == PixelValues("8 bits")


def test_missing_values_of_floats_are_left_out(tmp_path):
    pixels = np.full((4, 4), 0.5, np.float32)
    pixels[0] = np.nan, np.inf, -np.inf, 0.25
    assert read_pixel_values(save(tmp_path / "a.tif", pixels)) == ("float", 0.25, 0.5, False)


def test_of_many_images_of_eight_bits_only_a_sample_is_opened(monkeypatch):
    monkeypatch.setattr(value_range, "SAMPLE_SIZE", 3)
    opened = []

    def read(index):
        opened.append(index)
        if index == 5:
            raise UserError("can't read it")
        return PixelValues("integer", 0, index) if index % 5 == 0 and deep else PixelValues("8 bits")

    deep = False
    assert survey_pixel_values(read, 11) == [PixelValues("8 bits")] * 11
    assert sorted(opened) == [0, 5, 10]
    deep = True
    found = survey_pixel_values(read, 11)
    assert [one.high for one in found if one.is_wide] == [0, 10]


@pytest.mark.parametrize(("extra", "has_extra"), [(0, True), (None, True), (2, False)])
def test_a_fourth_channel_of_a_tiff_is_transparency_only_if_it_says_so(tmp_path, extra, has_extra):
    pixels = np.random.default_rng(0).integers(0, 255, (8, 8, 4), np.uint8)
    tags = TiffImagePlugin.ImageFileDirectory_v2()
    path = tmp_path / "a.tif"
    Image.fromarray(pixels).save(path, tiffinfo=tags)
    content = path.read_bytes()
    entry = b"\x52\x01\x03\x00\x01\x00\x00\x00"  # ExtraSamples, one number of 16 bits
    assert content.count(entry) == 1
    changed = b"\xfe\xff\x03\x00\x01\x00\x00\x00\2" if extra is None else entry + bytes([extra])
    path.write_bytes(content.replace(entry + b"\2", changed))
    found = np.asarray(read_image(str(path)))
    assert read_pixel_values(str(path)).has_extra_channel is has_extra
    assert (found == pixels[..., :3]).all() == has_extra


def test_a_cut_or_unknown_tiff_is_named_with_the_remedy(tmp_path):
    path = tmp_path / "a.tif"
    path.write_bytes(b"II*\0" + bytes(60))
    with pytest.raises(UserError, match=r"a\.tif \(a damaged TIFF, or one with channels .* as RGB, or remove it"):
        read_pixel_values(str(path))
