import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from msgformer.data.files.images import probe, read_image
from msgformer.errors import UserError


def saved(path, image, **settings):
    image.save(path, **settings)
    return str(path)


def test_reads_gray_palette_and_cmyk_as_rgb(tmp_path):
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


def test_images_are_rotated_by_their_exif_orientation(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by a quarter
    assert read_image(saved(tmp_path / "turned.jpg", Image.new("RGB", (6, 4)), exif=exif)).size == (4, 6)


def test_an_animation_shows_its_first_frame(tmp_path):
    frames = [Image.new("RGB", (3, 3), color) for color in ("red", "blue")]
    path = saved(tmp_path / "film.gif", frames[0], save_all=True, append_images=frames[1:])
    assert np.asarray(read_image(path))[0, 0].tolist() == [255, 0, 0]


def broken_files(folder):
    encoded = io.BytesIO()
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8)).save(encoded, "JPEG")
    for name, content in {
        "empty.png": b"",
        "text.jpg": b"this is not an image",
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


def test_the_probe_finds_what_reading_would(tmp_path):
    good = saved(tmp_path / "good.jpg", Image.new("RGB", (9, 9)))
    assert probe(good, whole=True) is None
    empty, text, cut = broken_files(tmp_path)
    for path in (empty, text, cut):
        assert path in str(probe(path, whole=True))
    assert probe(cut, whole=False) is None, "its header is all right"


def test_a_narrow_jpeg_passes_the_check(tmp_path):
    Image.new("RGB", (5, 40)).save(tmp_path / "narrow.jpg")
    assert probe(str(tmp_path / "narrow.jpg"), whole=True) is None


def test_an_opened_file_is_read_under_its_name(tmp_path):
    content = Path(saved(tmp_path / "a.png", Image.new("RGB", (3, 2)))).read_bytes()
    assert read_image(io.BytesIO(content), "shard:a").size == (3, 2)
    with pytest.raises(UserError, match=r"can't read image shard:a\\n \("):
        read_image(io.BytesIO(content[:30]), "shard:a\n")


@pytest.mark.parametrize(
    ("values", "white"), [([0.0, 0.5, 1.0], 1.0), ([0, 100, 255.0], 255), ([0, 9e3, 65535], 65535)]
)
def test_floating_point_pixels_keep_their_shades(tmp_path, values, white):
    source_image = Image.fromarray(np.array([values], np.float32))
    read = np.asarray(read_image(saved(tmp_path / "a.tif", source_image)))[0, :, 0]
    assert read.tolist() == [round(255 * value / white) for value in values]


def test_a_jpeg_with_too_many_pixels_is_decoded_at_a_smaller_scale(tmp_path, monkeypatch):
    path = saved(tmp_path / "big.jpg", Image.new("RGB", (640, 320), (9, 99, 199)))
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100_000)
    monkeypatch.setattr("msgformer.data.files.images.MIN_DRAFT_SIDE", 64)
    for file in (path, io.BytesIO((tmp_path / "big.jpg").read_bytes())):
        source_image = read_image(file, "big.jpg")
        assert source_image.size == (160, 80)
        assert np.abs(np.asarray(source_image)[5, 5].astype(int) - (9, 99, 199)).max() < 5
    assert probe(path, whole=True) is None


def test_other_images_with_too_many_pixels_are_refused(tmp_path, monkeypatch):
    path = saved(tmp_path / "big.png", Image.new("RGB", (640, 320)))
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100_000)
    with pytest.raises(UserError, match=r"big\.png has more than 200,000 pixels; make it smaller or store it as JPEG"):
        read_image(path)


@pytest.mark.parametrize(
    ("least", "size"), [(0, (640, 480)), (300, (640, 480)), (240, (320, 240)), (100, (160, 120)), (1, (80, 60))]
)
def test_a_jpeg_is_decoded_smaller_but_not_below_the_minimum_side(tmp_path, least, size):
    source_image = Image.linear_gradient("L").resize((640, 480)).convert("RGB")
    for file in (saved(tmp_path / "a.jpg", source_image), saved(tmp_path / "grey.jpg", source_image.convert("L"))):
        read = read_image(file, min_side=least)
        assert (read.size, read.mode) == (size, "RGB")
        middle = np.asarray(read)[size[1] // 2, size[0] // 2].astype(int)
        assert np.abs(middle - 127).max() <= 4
    assert read_image(saved(tmp_path / "a.png", source_image), min_side=least).size == (640, 480)


def test_a_cmyk_jpeg_is_decoded_at_full_size(tmp_path):
    path = saved(tmp_path / "print.jpg", Image.new("CMYK", (64, 64), (0, 255, 255, 0)))
    assert read_image(path, min_side=1).size == (64, 64)


def test_a_value_range_is_the_same_scale_for_all_images(tmp_path):
    """12 bits in 16: as the image of 8 bits within 1, whatever the brightest pixel."""
    gray = np.random.default_rng(0).integers(0, 200, (8, 9)).astype(np.uint8)
    for number, bright in enumerate((4095, 3000)):
        deep = gray.astype(np.uint16) * 16
        deep[0, 0] = bright
        Image.fromarray(deep).save(tmp_path / f"{number}.png")
    for number in range(2):
        found = np.asarray(read_image(str(tmp_path / f"{number}.png"), value_range=(0, 4095)))[..., 0].astype(int)
        assert np.abs(found - gray)[1:].max() <= 1


def save_heic(path):
    pytest.importorskip("pillow_heif").from_pillow(Image.new("RGB", (64, 48), (200, 30, 40))).save(path)


@pytest.mark.parametrize("name", ["a.heic", "b.jpg"])
def test_reads_heic_whatever_its_name(tmp_path, name):
    save_heic(tmp_path / "a.heic")
    (tmp_path / "a.heic").rename(tmp_path / name)
    for file in (str(tmp_path / name), io.BytesIO((tmp_path / name).read_bytes())):
        image = read_image(file)
        assert (image.size, image.mode) == ((64, 48), "RGB")
        assert np.abs(np.asarray(image).astype(int) - (200, 30, 40)).max() < 12


def test_heic_without_its_package_names_the_image_and_the_extra(tmp_path, monkeypatch):
    path = tmp_path / "a.heic"
    path.write_bytes(b"\0\0\0\x18ftypheic\0\0\0\0" + bytes(40))
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    with pytest.raises(
        UserError, match=r"can't read image .*a\.heic: HEIC needs .*'pillow_heif'.* uv sync --extra heic"
    ):
        read_image(str(path))
