import io

import numpy as np
import pytest
from PIL import Image

from msgformer.data.images import check_images, read_image
from msgformer.errors import UserError


def saved(path, image, **settings):
    image.save(path, **settings)
    return str(path)


def test_reads_grey_palette_and_cmyk_as_rgb(tmp_path):
    for number, mode in enumerate(["L", "1", "P", "CMYK"]):
        suffix = "jpg" if mode == "CMYK" else "png"
        read = read_image(saved(tmp_path / f"{number}.{suffix}", Image.new("RGB", (5, 4), "white").convert(mode)))
        assert (read.mode, read.size) == ("RGB", (5, 4))
        assert np.asarray(read).min() > 250


def test_sixteen_bits_are_scaled_rather_than_clipped(tmp_path):
    deep = Image.fromarray(np.full((2, 2), 257 * 100, np.uint16))
    assert np.asarray(read_image(saved(tmp_path / "deep.png", deep))).ravel().tolist() == [100] * 12


def test_transparent_pixels_become_white(tmp_path):
    clear = Image.new("RGBA", (2, 2), (10, 20, 30, 0))
    assert np.asarray(read_image(saved(tmp_path / "clear.png", clear))).min() == 255


def test_a_picture_is_turned_as_its_exif_says(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by a quarter
    assert read_image(saved(tmp_path / "turned.jpg", Image.new("RGB", (6, 4)), exif=exif)).size == (4, 6)


def test_an_animation_shows_its_first_frame(tmp_path):
    frames = [Image.new("RGB", (3, 3), colour) for colour in ("red", "blue")]
    path = saved(tmp_path / "film.gif", frames[0], save_all=True, append_images=frames[1:])
    assert np.asarray(read_image(path))[0, 0].tolist() == [255, 0, 0]


def broken_files(folder):
    encoded = io.BytesIO()
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8)).save(encoded, "JPEG")
    for name, content in {
        "empty.png": b"",
        "text.jpg": b"this is no picture",
        "cut.jpg": encoded.getvalue()[: len(encoded.getvalue()) // 2],
    }.items():
        path = folder / name
        path.write_bytes(content)
        yield str(path)


def test_a_broken_file_is_named_with_the_remedy(tmp_path):
    for path in broken_files(tmp_path):
        with pytest.raises(UserError) as caught:
            read_image(path)
        assert path in str(caught.value)
        assert "replace or remove it" in str(caught.value)
        assert "\n" not in str(caught.value)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(UserError, match=r"no such image: .*gone.png"):
        read_image(str(tmp_path / "gone.png"))


def test_the_check_finds_a_broken_image_among_good_ones(tmp_path):
    good = saved(tmp_path / "good.jpg", Image.new("RGB", (9, 9)))
    broken = list(broken_files(tmp_path))
    check_images([good, good])
    with pytest.raises(UserError, match=r"empty\.png .*2 more like it"):
        check_images([good, *broken])
    with pytest.raises(UserError, match=r"cut\.jpg"):
        check_images([good, broken[2]])
