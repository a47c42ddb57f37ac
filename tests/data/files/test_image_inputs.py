import array
import io
import os
import pickle
import subprocess
import sys
import tarfile
import weakref

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import DataLoader
from torchvision import tv_tensors
from torchvision.transforms import functional

from msgformer.data.files.image_inputs import open_inputs
from msgformer.data.files.images import read_image
from msgformer.errors import UserError

_GRAY = Image.linear_gradient("L").resize((7, 5))
GRADIENT = Image.merge("RGB", [_GRAY.point(lambda value, step=step: value // step) for step in (1, 2, 3)])


def max_alive(items):
    """Return the maximum number of decoded images in memory while inputs are iterated."""
    seen, most = [], 0
    for item in items:
        seen.append(weakref.ref(item.image))
        del item
        most = max(most, sum(one() is not None for one in seen))
    return most


def loaded(images):
    """Return the pixels of all images by name."""
    return {one.name: np.asarray(one.load()) for one in open_inputs(images).items}


def pixels(images):
    """Return the pixels of a single image."""
    inputs = open_inputs(images)
    assert (inputs.single, inputs.total) == (True, 1)
    (item,) = inputs.items
    image = item.load()
    assert image.mode == "RGB"
    return np.asarray(image)


@pytest.fixture
def photo(tmp_path):
    path = tmp_path / "photo.jpg"
    GRADIENT.resize((40, 30)).save(path)
    return path


@pytest.fixture
def folder(image_folder):
    return image_folder(per_class=2)


def kinds_of(path):
    """Return one image in every form that means a single image."""
    image = Image.open(path)
    values = np.asarray(image)
    yield str(path)
    yield path
    yield image
    yield values
    yield np.asfortranarray(values)
    yield values / 255
    yield (values / 255).astype(np.float32)
    yield (values / 255).astype(">f4")
    yield (values / 255).astype(np.float16)
    yield values.astype(np.uint16) * 257
    yield torch.from_numpy(values.copy()).permute(2, 0, 1)
    yield functional.to_tensor(image)
    yield functional.to_tensor(image).requires_grad_()
    yield tv_tensors.Image(functional.to_tensor(image))
    content = path.read_bytes()
    yield content
    yield bytearray(content)
    yield memoryview(content)
    yield io.BytesIO(content)
    yield path.open("rb")


def test_every_kind_of_one_image_has_the_pixels_of_its_file(photo):
    expected = np.asarray(read_image(str(photo)))
    for kind in kinds_of(photo):
        assert np.array_equal(pixels(kind), expected), type(kind)


def test_tensors_of_half_precision_are_read():
    tensor = functional.to_tensor(GRADIENT)
    assert np.array_equal(pixels(tensor.half()), np.asarray(GRADIENT))
    assert np.array_equal(pixels(tensor.bfloat16()), np.rint(tensor.bfloat16().permute(1, 2, 0).double().numpy() * 255))


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "PA", "RGB", "RGBA", "CMYK", "YCbCr", "HSV", "I", "I;16", "F"])
def test_pil_images_of_any_mode_are_read_as_their_files(mode, tmp_path):
    image = Image.linear_gradient("L")
    if mode in ("I", "I;16", "F"):
        image = Image.fromarray((np.asarray(image).astype({"I": "i4", "I;16": "u2", "F": "f4"}[mode])) * 257)
    else:
        image = image.convert("RGB").convert("L" if mode == "PA" else mode)
        image = image.convert("PA") if mode == "PA" else image
    assert image.mode == mode
    if mode in ("YCbCr", "HSV", "PA"):
        expected = image.convert("RGB")
    else:
        path = tmp_path / "image.tif"
        image.save(path)
        expected = read_image(str(path))
    assert np.array_equal(pixels(image), np.asarray(expected))


def test_pil_images_are_oriented_as_their_exif_data_says(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    path = tmp_path / "turned.png"
    GRADIENT.save(path, exif=exif)
    assert np.array_equal(pixels(Image.open(path)), np.asarray(GRADIENT.transpose(Image.Transpose.ROTATE_270)))
    assert np.array_equal(pixels(Image.open(path)), pixels(path.read_bytes()))


def test_gray_and_transparent_arrays():
    gray = np.asarray(GRADIENT.convert("L"))
    expected = np.stack([gray] * 3, axis=-1)
    alpha = np.full_like(gray, 0)
    for values in (gray, gray[..., None], gray / 255, gray.astype(np.uint16) * 257):
        assert np.array_equal(pixels(values), expected)
    for values in (torch.from_numpy(gray.copy()), torch.from_numpy(gray.copy())[None]):
        assert np.array_equal(pixels(values), expected)
    assert (pixels(np.stack([gray, alpha], axis=-1)) == 255).all(), "transparent pixels are white"
    assert np.array_equal(pixels(np.stack([gray, alpha + 255], axis=-1)), expected)
    assert np.array_equal(pixels(np.dstack([expected, alpha + 255])), expected)
    assert (pixels(np.dstack([expected / 255, alpha / 255])) == 255).all()


def test_floats_are_rounded_to_eight_bits_and_may_exceed_the_range_by_a_rounding_error():
    assert pixels(np.array([[-1e-6, 0.4999 / 255, 0.5001 / 255, 1 + 1e-6]]))[0, :, 0].tolist() == [0, 0, 1, 255]


def test_arrays_of_other_libraries_are_images_rather_than_lists_of_rows():
    class Foreign:
        def __array__(self, dtype=None, copy=None):
            return np.asarray(GRADIENT)

        def __iter__(self):
            return iter(np.asarray(GRADIENT))

    assert np.array_equal(pixels(Foreign()), np.asarray(GRADIENT))


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (np.zeros((3, 40, 50), np.uint8), r"images: array \[3, 40, 50\] has .* use array\.transpose\(1, 2, 0\)$"),
        (np.zeros((2, 3, 40, 50), np.uint8), r"images: array .* use array\.transpose\(0, 2, 3, 1\)$"),
        (
            torch.zeros(40, 50, 3),
            r"images: tensor \[40, 50, 3\] has its .* last; use tensor\.permute\(2, 0, 1\)$",
        ),
        (torch.zeros(2, 40, 50, 3), r"images: tensor .* use tensor\.permute\(0, 3, 1, 2\)$"),
        (
            np.zeros((40, 50, 7)),
            r"images: array \[40, 50, 7\] is not an image; expected \[height, width\] or",
        ),
        (np.zeros(5), r"images: array \[5\] is not an image"),
        (np.float32(1), r"images: array \[\] is not an image"),
        (np.zeros((1, 1, 4, 5, 3)), r"images: array \[1, 1, 4, 5, 3\] is not an image"),
        (torch.zeros(9, 40, 50), r"images: tensor \[9, 40, 50\] is not an image; expected \[height, width\] or"),
        (np.zeros((0, 5, 3)), r"images: array \[0, 5, 3\] has no pixels"),
        (np.zeros((4, 5, 3), int), r"images: array of int64 is not an image; expected uint8 in 0\.\.255, uint16 in"),
        (np.zeros((4, 5), bool), "images: array of bool is not an image; expected uint8"),
        (np.zeros((4, 5), complex), "images: array of complex128 is not an image; expected uint8"),
        (np.zeros((4, 5), [("r", "u1")]), r"images: array of \[\('r', 'u1'\)\] is not an image; expected uint8"),
        (torch.zeros(3, 40, 50, dtype=torch.int64), "images: tensor of int64 is not an image; expected uint8"),
        ([torch.zeros(3, 4, 5), np.zeros(5)], r"images\[1\]: array \[5\] is not an image"),
        ([GRADIENT, [GRADIENT]], r"images\[1\]: list inside a list is not an image; give one flat list"),
        ([(GRADIENT, 3)], r"images\[0\]: tuple inside a list is not an image"),
        ({"image": GRADIENT}, "images: dict is not an image; give a path, a URL, a PIL image"),
        (None, "images: NoneType is not an image"),
        ([None], r"images\[0\]: NoneType is not an image"),
        (3, "images: int is not an image"),
        ([], "images: the list is empty"),
        ("", "images: a path is empty; give a file or folder"),
        ("a" * 5000, r"images: can't open a{100} \(File name too long\)|images: no such file"),
        (io.StringIO("x"), "images: the file is open as text; open it with mode 'rb'"),
    ],
)
def test_invalid_images_are_refused_before_any_work(images, message):
    with pytest.raises(UserError, match=message) as caught:
        open_inputs(images)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (
            np.full((4, 5, 3), 100.0),
            r"image 1: float pixels range from 100 to 100; expected 0\.\.1, so divide them by",
        ),
        (np.full((4, 5, 3), -0.5), r"image 1: float pixels range from -0\.5 to -0\.5; .* before normalization$"),
        (np.full((4, 5), np.inf), r"image 1: float pixels range from inf to inf; expected 0\.\.1"),
        (np.full((4, 5), np.nan), r"image 1: float pixels contain NaN; expected 0\.\.1$"),
        (torch.full((3, 4, 5), 255.0), "image 1: float pixels range from 255 to 255"),
        (torch.zeros(3, 4, 5, device="meta"), "image 1: pixels of a strided tensor on device meta can't be read"),
        (torch.ones(3, 4, 5).to_sparse(), "image 1: pixels of a sparse_coo tensor on device cpu can't be read"),
        (b"", r"can't read image 1 \(not an image\); replace or remove it"),
        (b"photo.jpg", r"can't read image 1 \(not an image\)"),
        (io.BytesIO(b"GIF89a"), r"can't read image 1 \("),
    ],
)
def test_unreadable_images_in_memory_fail_when_they_are_loaded(image, message):
    for images in (image, iter([image])):
        (item,) = open_inputs(images).items
        with pytest.raises(UserError, match=message) as caught:
            item.load()
        assert "\n" not in str(caught.value)


def test_closed_files_are_refused(photo):
    file, image = photo.open("rb"), Image.open(photo)
    file.close()
    image.close()
    with pytest.raises(UserError, match="images: the file is closed; give it open, or its path"):
        open_inputs(file)
    (item,) = open_inputs(image).items
    with pytest.raises(UserError, match=r"can't read image 1 \(.*closed"):
        item.load()


def test_a_damaged_pil_image_is_named(photo):
    cut = Image.open(io.BytesIO(photo.read_bytes()[:-20]))
    with pytest.raises(UserError, match=r"can't read image 1 \(.*truncated"):
        next(open_inputs(cut).items).load()


def test_lists_keep_their_order_and_name_images_by_position(photo, folder):
    batch = np.stack([np.full((4, 5, 3), gray, np.uint8) for gray in (10, 20)])
    tensors = torch.stack([torch.full((3, 4, 5), gray / 255) for gray in (30, 40)])
    images = [GRADIENT, str(photo), batch, folder / "dark", tensors, photo.read_bytes()]
    names = [
        "image 1",
        str(photo),
        "image 3",
        "image 4",
        f"{folder}/dark/00.png",
        f"{folder}/dark/01.png",
        "image 7",
        "image 8",
        "image 9",
    ]
    for given in (images, tuple(images), iter(images), (one for one in images)):
        found = loaded(given)
        assert list(found) == names
        assert [found[f"image {number}"][0, 0, 0] for number in (3, 4, 7, 8)] == [10, 20, 30, 40]
        assert np.array_equal(found["image 9"], found[str(photo)])


def test_one_or_many(photo, folder, tmp_path):
    shard = tmp_path / "set.tar"
    with tarfile.open(shard, "w") as tar:
        tar.add(photo, "photo.jpg")
    values = np.asarray(GRADIENT)
    odd = tmp_path / "a[1].jpg"
    odd.write_bytes(photo.read_bytes())
    for images, single, total in (
        (odd, True, 1),
        ([photo], False, 1),
        ((values,), False, 1),
        (values[None], False, 1),
        (functional.to_tensor(GRADIENT)[None], False, 1),
        (np.repeat(values[None], 3, 0), False, 3),
        ([photo, values, np.repeat(values[None], 3, 0)], False, 5),
        ([photo, folder], False, None),
        (iter([photo]), False, None),
        (folder, False, None),
        (str(tmp_path / "*.jpg"), False, None),
        (shard, False, None),
        ("-", False, None),
        (np.array([str(photo), str(odd)]), False, None),
    ):
        inputs = open_inputs(images)
        assert (inputs.single, inputs.total) == (single, total), images
    assert list(loaded(shard)) == [f"{shard}:photo.jpg"]
    assert list(loaded(tmp_path / "*.jpg")) == [str(odd), str(photo)]
    assert list(loaded(np.array([str(photo), str(odd)]))) == [str(photo), str(odd)]


def test_a_list_on_standard_input(photo, monkeypatch):
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(os.fsencode(photo))))
    assert list(loaded("-")) == [str(photo)]


def test_missing_files_are_named_at_once_in_lists_and_when_reached_in_generators(photo):
    gone = photo.with_name("phto.jpg")
    message = r"images: no such file or folder: .*phto\.jpg; did you mean 'photo\.jpg'\?"
    for images in (gone, str(gone), [photo, gone]):
        with pytest.raises(UserError, match=message):
            open_inputs(images)
    items = list(open_inputs(iter([photo, gone, None, GRADIENT])).items)
    assert [item.name for item in items] == [str(photo), str(gone), "image 3", "image 4"]
    with pytest.raises(UserError, match=message):
        items[1].load()
    with pytest.raises(UserError, match=r"images\[2\]: NoneType is not an image"):
        items[2].load()
    assert items[3].load().size == GRADIENT.size


def test_a_generator_may_use_one_buffer_and_close_its_images(photo):
    def frames():
        buffer = np.zeros((4, 5, 3), np.uint8)
        for gray in (10, 20):
            buffer[:] = gray
            yield buffer
        with Image.open(photo) as image:
            yield image

    items = list(open_inputs(frames()).items)
    assert [np.asarray(item.load())[0, 0, 0] for item in items[:2]] == [10, 20]
    assert items[2].load().size == (40, 30)


def test_a_single_array_is_copied():
    values = np.zeros((4, 5, 3), np.uint8)
    (item,) = open_inputs(values).items
    values[:] = 99
    assert np.asarray(item.load()).max() == 0


def test_only_a_few_images_of_a_generator_are_in_memory():
    images = (np.full((4, 5, 3), number, np.uint8) for number in range(50))
    assert max_alive(open_inputs(images).items) <= 2


def test_an_endless_generator_is_read_only_as_far_as_needed():
    taken = []

    def endless():
        while True:
            taken.append(1)
            yield GRADIENT

    items = open_inputs(endless()).items
    assert taken == []
    next(items)
    assert len(taken) == 1


class _Sizes:
    """A dataset indexed by inputs, as in prediction."""

    def __getitem__(self, item):
        return item.name, item.load().size[0]


@pytest.mark.parametrize("workers", [0, 2])
def test_inputs_go_through_the_workers_of_a_loader(photo, workers):
    images = [photo, GRADIENT, np.zeros((4, 6, 3), np.uint8), torch.zeros(3, 4, 9), photo.read_bytes()] * 3
    loader = DataLoader(_Sizes(), 2, sampler=open_inputs(images).items, num_workers=workers, collate_fn=list)
    found = [one for batch in loader for one in batch]
    assert [size for _, size in found] == [40, 7, 6, 9, 40] * 3
    assert [name for name, _ in found][1:4] == ["image 2", "image 3", "image 4"]


def test_inputs_report_whether_they_carry_pixels(photo):
    images = [photo, photo.read_bytes(), "http://127.0.0.1/a.jpg", GRADIENT, np.asarray(GRADIENT)]
    items = list(open_inputs(images).items)
    assert [item.carries_pixels for item in items] == [False, False, False, True, True]
    assert [len(pickle.dumps(item)) > GRADIENT.width * GRADIENT.height * 3 for item in items[3:]] == [True, True]


def test_a_file_of_python_arrays_is_bytes(photo):
    assert np.array_equal(pixels(memoryview(array.array("B", photo.read_bytes()))), pixels(photo))


def test_paths_are_opened_without_heavy_libraries(photo):
    code = (
        "import sys; from msgformer.data.files.image_inputs import open_inputs; next(open_inputs([sys.argv[1]]).items);"
        "print(sorted({'torch', 'numpy', 'PIL', 'asyncio', 'aiohttp', 'av'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code, str(photo)], capture_output=True, text=True, timeout=60)
    assert (done.stdout, done.stderr) == ("[]\n", "")
