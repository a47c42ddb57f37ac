import io
import tarfile
import tracemalloc

import pytest
from PIL import Image

from msgformer.data.files.folder import find_images
from msgformer.data.files.inputs import check_inputs, find_inputs
from msgformer.errors import UserError


def names(given, listed=b""):
    return [one.name for one in find_inputs([str(place) for place in given], io.BytesIO(listed))]


@pytest.fixture
def root(image_folder):
    return image_folder(per_class=2)


@pytest.fixture
def shard(root, tmp_path):
    path = tmp_path / "set.tar"
    with tarfile.open(path, "w") as tar:
        tar.add(root / "light" / "01.png", "b/x.png")
        tar.addfile(tarfile.TarInfo("b/x.txt"))
        tar.add(root / "dark" / "00.png", "a.png")
    return path


def test_inputs_keep_their_order_and_folders_are_sorted(root, shard):
    files = [root / "light" / "01.png", root / "dark", shard, root / "light" / "00.png"]
    assert names(files) == [
        f"{root}/light/01.png",
        f"{root}/dark/00.png",
        f"{root}/dark/01.png",
        f"{shard}:b/x.png",
        f"{shard}:a.png",
        f"{root}/light/00.png",
    ]


def test_a_folder_is_walked_in_the_order_of_sorted_paths(root):
    for name in ("dark.png", "dark-er/1.png", "dark/0/1.png", ".hidden/1.png", "dark/0.png"):
        (root / name).parent.mkdir(exist_ok=True, parents=True)
        Image.new("RGB", (2, 2)).save(root / name)
    found = find_images(root)
    assert found == sorted(found)
    assert names([root]) == [str(root / name) for name in found]
    assert len(found) == 8


def test_a_link_to_itself_is_no_folder(root):
    (root / "dark" / "self").symlink_to(root / "dark" / "self")
    assert len(names([root])) == 4


def test_patterns_are_expanded(root):
    assert names([root / "*" / "00.png"]) == [f"{root}/dark/00.png", f"{root}/light/00.png"]
    assert names([root / "**" / "01.png"]) == [f"{root}/dark/01.png", f"{root}/light/01.png"]


def test_a_name_that_looks_like_a_pattern_is_a_name_if_it_exists(root):
    odd = root / "a[1].png"
    Image.new("RGB", (2, 2)).save(odd)
    assert names([odd]) == [str(odd)]


@pytest.mark.parametrize("separator", [b"\n", b"\r\n", b"\0"])
def test_a_list_holds_files_folders_and_shards(root, shard, separator):
    listed = separator.join(str(path).encode() for path in (root / "light" / "01.png", shard, root / "dark"))
    for end in (b"", separator):
        assert names(["-"], listed + end) == names([root / "light" / "01.png", shard, root / "dark"])


def test_a_list_with_zero_bytes_may_hold_names_with_newlines(root):
    odd = root / "new\nline.png"
    Image.new("RGB", (2, 2)).save(odd)
    assert names(["-"], f"{odd}\0{root}/dark/00.png\0".encode()) == [str(odd), f"{root}/dark/00.png"]


def test_images_load_from_files_folders_and_shards(root, shard):
    file, first, second = find_inputs([str(root / "dark" / "00.png"), str(shard)])
    assert file.load().getpixel((0, 0)) == second.load().getpixel((0, 0)) != first.load().getpixel((0, 0))


def test_missing_files_of_a_list_fail_to_load():
    (missing,) = find_inputs(["-"], io.BytesIO(b"/nowhere/1.png\n"))
    with pytest.raises(UserError, match=r"no such image: /nowhere/1\.png"):
        missing.load()


def test_a_long_list_is_read_lazily():
    class Endless(io.RawIOBase):
        """A stream with a gigabyte of names."""

        line = b"/dev/null\n" * 1000

        def read(self, _size=-1):
            return self.line

    found = find_inputs(["-"], Endless())
    tracemalloc.start()
    assert all(next(found).name == "/dev/null" for _ in range(20_000))
    assert tracemalloc.get_traced_memory()[1] < 2_000_000
    tracemalloc.stop()


def test_missing_inputs_are_named_at_once(root, tmp_path):
    (tmp_path / "empty").mkdir()
    with tarfile.open(tmp_path / "empty.tar", "w"):
        pass
    (tmp_path / "link.png").symlink_to("gone.png")
    for given, message in (
        ([tmp_path / "link.png"], r"images: .*link\.png is a broken link; fix or remove it"),
        ([root / "drak"], r"images: no such file or folder: .*drak; did you mean 'dark'\?"),
        ([root / "*.jpg"], r"images: no file matches .*\*\.jpg"),
        ([], "images: the list is empty"),
    ):
        with pytest.raises(UserError, match=message):
            check_inputs([str(place) for place in given])
    for given, listed, message in (
        ([tmp_path / "empty"], b"", "images: no image in folder .*empty"),
        ([tmp_path / "empty.tar"], b"", r"images: no image in shard .*empty\.tar"),
    ):
        with pytest.raises(UserError, match=message):
            names(given, listed)
