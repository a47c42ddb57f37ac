import io
import sys
import warnings

import numpy as np
import pytest
from PIL import Image
from torch.utils.data import DataLoader

from data.files.test_image_inputs import max_alive
from msgformer.data.files.image_inputs import open_inputs
from msgformer.data.files.inputs import check_inputs, find_inputs
from msgformer.errors import UserError

av = pytest.importorskip("av")

CODECS = {"avi": "mpeg4", "m4v": "libx264", "mkv": "libx264", "mov": "libx264", "mp4": "libx264", "webm": "libvpx"}


def write_video(path, count=12, size=(64, 48), noise=False, **display):
    """Write a video whose gray level increases by 10 per frame, with a red quarter at the top left."""
    random = np.random.default_rng(0)
    with av.open(str(path), "w") as container:
        stream = container.add_stream(CODECS[path.suffix[1:]], rate=10)
        (stream.width, stream.height), stream.pix_fmt, stream.bit_rate = size, "yuv420p", 2_000_000
        if display:
            stream.set_display_rotation(**display)
        for number in range(count):
            pixels = np.full((size[1], size[0], 3), 10 * number % 256, np.uint8)
            pixels[: size[1] // 2, : size[0] // 2] = (255, 0, 0)
            if noise:
                pixels = random.integers(0, 255, pixels.shape, np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels)))
        container.mux(stream.encode())
    return path


def red_corner(image):
    """Return which corner of an image is red."""
    corners = {"top left": (4, 4), "top right": (-5, 4), "bottom left": (4, -5), "bottom right": (-5, -5)}
    for name, (x, y) in corners.items():
        red, green, _ = image.getpixel((x % image.width, y % image.height))
        if red > 150 and green < 100:
            return name
    return None


@pytest.mark.parametrize("suffix", CODECS)
def test_the_frames_of_a_video_in_their_order(tmp_path, suffix):
    path = write_video(tmp_path / f"clip.{suffix}")
    inputs = open_inputs(path)
    assert (inputs.single, inputs.total) == (False, None)
    items = list(inputs.items)
    assert [item.name for item in items] == [f"{path}:{number:06d}" for number in range(12)]
    for number, item in enumerate(items):
        image = item.load()
        assert (image.mode, image.size, red_corner(image)) == ("RGB", (64, 48), "top left")
        assert abs(image.getpixel((60, 40))[1] - 10 * number) <= 8


@pytest.mark.parametrize(
    ("display", "size", "corner"),
    [
        ({"degrees": 90}, (48, 64), "bottom left"),
        ({"degrees": -90}, (48, 64), "top right"),
        ({"degrees": 180}, (64, 48), "bottom right"),
        ({"degrees": 0, "hflip": True}, (64, 48), "top right"),
        ({"degrees": 0, "vflip": True}, (64, 48), "bottom left"),
        ({"degrees": 90, "hflip": True}, (48, 64), "bottom right"),
        ({"degrees": -90, "hflip": True}, (48, 64), "top left"),
        ({"degrees": 30}, (64, 48), "top left"),
    ],
)
def test_frames_are_rotated_as_players_show_them(tmp_path, display, size, corner):
    (item,) = open_inputs(write_video(tmp_path / "clip.mp4", 1, **display)).items
    assert (item.load().size, red_corner(item.load())) == (size, corner)


def test_videos_among_other_images(tmp_path):
    first, second = write_video(tmp_path / "1.mp4", 2), write_video(tmp_path / "2.MKV".lower(), 1)
    names = [f"{first}:000000", f"{first}:000001", f"{second}:000000"]
    assert [item.name for item in open_inputs([Image.new("RGB", (2, 2)), first, second]).items] == ["image 1", *names]
    assert [item.name for item in open_inputs(str(tmp_path / "*.m*")).items] == names
    assert [item.name for item in find_inputs(["-"], io.BytesIO(f"{first}\n{second}\n".encode()))] == names


def test_a_name_with_a_colon_is_no_protocol(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_video(tmp_path / "clip.mp4", 1).rename(tmp_path / "data:1.mp4")
    (item,) = open_inputs("data:1.mp4").items
    assert item.load().size == (64, 48)


def test_an_animated_gif_is_one_image(tmp_path):
    frames = [Image.new("RGB", (3, 3), color) for color in ("red", "blue")]
    frames[0].save(tmp_path / "a.gif", save_all=True, append_images=frames[1:])
    inputs = open_inputs(tmp_path / "a.gif")
    assert inputs.single
    assert next(inputs.items).load().getpixel((0, 0)) == (255, 0, 0)


class _Sizes:
    def __getitem__(self, item):
        return item.name[-6:], item.load().size


def test_frames_go_through_the_workers_of_a_loader_in_order(tmp_path):
    path = write_video(tmp_path / "clip.mp4", 9)
    loader = DataLoader(_Sizes(), 2, sampler=open_inputs(path).items, num_workers=2, collate_fn=list)
    assert [one for batch in loader for one in batch] == [(f"{number:06d}", (64, 48)) for number in range(9)]
    assert all(item.carries_pixels for item in open_inputs(path).items)


def test_one_frame_is_in_memory_at_a_time(tmp_path):
    path = write_video(tmp_path / "clip.mp4", 40, degrees=90)
    assert max_alive(open_inputs(path).items) <= 2


def last_error(path):
    *whole, last = open_inputs(path).items
    with pytest.raises(UserError) as caught:
        last.load()
    assert "\n" not in str(caught.value)
    return whole, last.name, str(caught.value)


def test_a_file_that_is_no_video_is_named(tmp_path):
    for name, content in {"text.mp4": b"hello", "empty.mkv": b""}.items():
        path = tmp_path / name
        path.write_bytes(content)
        message = f"can't read video {path} (Invalid data found when processing input); replace or remove it"
        assert last_error(path) == ([], str(path), message)


def test_a_file_without_a_video_stream_is_named(tmp_path):
    path = tmp_path / "sound.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac", rate=16000)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
        frame.sample_rate = 16000
        container.mux(stream.encode(frame))
        container.mux(stream.encode())
    message = f"can't read video {path} (no video stream in it); replace or remove it"
    assert last_error(path) == ([], str(path), message)


def test_a_truncated_video_ends_with_an_error_after_its_frames(tmp_path):
    with av.open(str(tmp_path / "clip.mp4"), "w", options={"movflags": "faststart"}) as container:
        stream = container.add_stream("mpeg4", rate=10)
        (stream.width, stream.height), stream.pix_fmt = (64, 48), "yuv420p"
        for seed in range(30):
            pixels = np.random.default_rng(seed).integers(0, 255, (48, 64, 3), np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels)))
        container.mux(stream.encode())
    path = tmp_path / "clip.mp4"
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    whole, name, message = last_error(path)
    assert 5 < len(whole) < 25
    assert [item.load().size for item in whole] == [(64, 48)] * len(whole)
    assert name == f"{path}:{len(whole):06d}"
    assert message == f"can't read video {path} (file cut off at frame {len(whole)}); replace or remove it"


def test_a_truncated_matroska_file_gives_a_warning(tmp_path):
    path = write_video(tmp_path / "clip.mkv", 40, (320, 240), noise=True)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.warns(UserWarning, match=r"clip\.mkv ends at [12]\.\d s of 4\.0 s; it may be cut off"):
        assert 0 < len(list(open_inputs(path).items)) < 40


def test_a_short_whole_video_gives_no_warning(tmp_path):
    """Its last frame begins 0.2 of the duration before its end."""
    path = write_video(tmp_path / "clip.mkv", 5)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert len(list(open_inputs(path).items)) == 5


def test_a_missing_extra_is_named_before_any_work(tmp_path, monkeypatch):
    (tmp_path / "clip.mp4").write_bytes(b"")
    monkeypatch.setitem(sys.modules, "av", None)
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    message = r"reading videos needs the package 'av'; install it with: uv sync --extra video"
    for given in (tmp_path / "clip.mp4", [tmp_path / "clip.mp4"], str(tmp_path / "*.mp4")):
        with pytest.raises(UserError, match=message):
            open_inputs(given)
    with pytest.raises(UserError, match=message):
        check_inputs([str(tmp_path / "clip.mp4")])
