import pickle
import tarfile

import pytest

from data.tar_files import tar_bytes, write_tar
from msgformer.data.files.tars import index_tar
from msgformer.errors import UserError

LONG = "folder/" + "long" * 40 + ".png"  # needs a header of its own


@pytest.fixture
def shard(tmp_path):
    return write_tar(tmp_path / "a.tar", {"x/1.png": b"one", LONG: b"", "ü 2\n.png": b"second"})


def test_members_are_read_by_offset(shard):
    members = index_tar(str(shard))
    assert [member.name for member in members] == ["x/1.png", LONG, "ü 2\n.png"]
    assert [pickle.loads(pickle.dumps(member)).read() for member in members] == [b"one", b"", b"second"]


def test_tar_files_inside_are_folders(tmp_path):
    inner = tar_bytes({"1.png": b"one", "2.png": b"two"})
    shard = write_tar(tmp_path / "outer.tar", {"cats.tar": inner, "dogs.tar": tar_bytes({"3.png": b"three"})})
    assert {member.name: member.read() for member in index_tar(str(shard))} == {
        "cats/1.png": b"one",
        "cats/2.png": b"two",
        "dogs/3.png": b"three",
    }


def test_tar_files_inside_one_another_keep_their_places(tmp_path):
    middle = tar_bytes({"1.png": b"one", "deep.tar": tar_bytes({"2.png": b"two"}), "3.png": b"three"})
    shard = write_tar(tmp_path / "outer.tar", {"a.tar": middle, "4.png": b"four"})
    assert [(member.name, member.read()) for member in index_tar(str(shard))] == [
        ("a/1.png", b"one"),
        ("a/deep/2.png", b"two"),
        ("a/3.png", b"three"),
        ("4.png", b"four"),
    ]


def test_a_damaged_tar_file_inside_another_is_named(tmp_path):
    shard = write_tar(tmp_path / "a.tar", {"cats.tar": tar_bytes({"1.png": b"one"})[:600], "2.png": b"two"})
    with pytest.raises(UserError, match=r"^shard .*a\.tar is damaged \(.+\); copy or download it again$"):
        index_tar(str(shard))


def test_links_and_folders_are_no_files(tmp_path):
    with tarfile.open(tmp_path / "a.tar", "w") as tar:
        for name, kind in (("folder", tarfile.DIRTYPE), ("link", tarfile.SYMTYPE)):
            entry = tarfile.TarInfo(name)
            entry.type = kind
            tar.addfile(entry)
    assert index_tar(str(tmp_path / "a.tar")) == []


@pytest.mark.parametrize("format", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_every_tar_format_is_read(tmp_path, format):
    path = tmp_path / "a.tar"
    (tmp_path / "image").write_bytes(b"content")
    with tarfile.open(path, "w", format=format) as tar:
        tar.add(tmp_path / "image", "1.png")
    assert [member.read() for member in index_tar(str(path))] == [b"content"]


def damaged(shard, how):
    content = bytearray(shard.read_bytes())
    match how:
        case "cut in a file":
            content = content[: 1024 + 1]
        case "cut between files":
            content = content[:1024]
        case "cut in a header":
            content = content[: 1024 + 100]
        case "overwritten":
            content[1024 : 1024 + 512] = b"\xff" * 512
        case "text":
            content = bytearray(b"no tar at all " * 100)
        case "empty":
            content = bytearray()
    shard.write_bytes(content)


@pytest.mark.parametrize(
    "how", ["cut in a file", "cut between files", "cut in a header", "overwritten", "text", "empty"]
)
def test_a_damaged_shard_is_named(shard, how):
    damaged(shard, how)
    with pytest.raises(UserError, match=r"^shard .*a\.tar is damaged \(.+\); copy or download it again$"):
        index_tar(str(shard))


def test_a_compressed_shard_is_refused(tmp_path):
    path = write_tar(tmp_path / "a.tar", {"1.png": b"one"}, "w:gz")
    with pytest.raises(UserError, match=r"a\.tar is compressed; decompress it"):
        index_tar(str(path))


def test_a_missing_or_truncated_shard_is_named(shard):
    last = index_tar(str(shard))[-1]
    shard.write_bytes(shard.read_bytes()[:600])
    with pytest.raises(UserError, match=r"a\.tar became shorter"):
        last.read()
    shard.unlink()
    for read in (last.read, lambda: index_tar(str(shard))):
        with pytest.raises(UserError, match=r"can't read shard .*a\.tar \(No such file"):
            read()
