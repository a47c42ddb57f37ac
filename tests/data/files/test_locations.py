import re
from pathlib import Path

import pytest

from msgformer.data.files.locations import (
    CocoLocation,
    Location,
    data_text,
    expand_braces,
    expand_shards,
    parse_location,
    resolve_data,
    split_shards,
)
from msgformer.errors import UserError
from msgformer.utils import packages


@pytest.fixture
def shards(tmp_path):
    for name in ("b.tar", "a.tar", ".hidden.tar", "notes.txt"):
        (tmp_path / name).write_bytes(b"")
    return tmp_path


@pytest.mark.parametrize(
    ("text", "expected", "title"),
    [
        ("photos/cats", Location("folder", "photos/cats"), "cats"),
        ("wds:/data/train-{00..10}.tar", Location("wds", "/data/train-{00..10}.tar"), "train"),
        ("wds:https://host/set/a.tar", Location("wds", "https://host/set/a.tar"), "a"),
        ("tar:sets/", Location("tar", "sets/"), "sets"),
        ("hfds:owner/name", Location("hfds", "owner/name"), "name"),
        ("torch:cifar10:/data/sets", Location("torch", "cifar10:/data/sets"), "cifar10"),
        ("tar:/data/*.tar", Location("tar", "/data/*.tar"), "tar"),
        ("coco:/data/cells.json?images=photos", Location("coco", "/data/cells.json?images=photos"), "cells"),
    ],
)
def test_the_scheme_is_before_the_colon(text, expected, title):
    assert parse_location(text) == expected
    assert str(expected) == text
    assert expected.title == title


def test_explicit_annotations(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("a?b%3F.json").write_text("{}")
    Path("photos").mkdir()
    both = CocoLocation(Path("a?b%3F.json"), Path("photos"))
    assert CocoLocation.parse(str(both)) == both
    assert data_text({"annotations": "a?b%3F.json", "images": "photos"}) == str(both)
    resolved = CocoLocation.parse(resolve_data({"annotations": "a?b%3F.json", "images": "photos"}))
    assert resolved == CocoLocation(tmp_path / "a?b%3F.json", tmp_path / "photos")
    assert CocoLocation.parse(resolve_data("a?b%3F.json")) == CocoLocation(tmp_path / "a?b%3F.json")


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({"images": "photos"}, r"^data\.images needs data\.annotations, a JSON file or its folder"),
        ({"annotation": "a.json"}, r"^unknown option 'data\.annotation'; did you mean 'annotations'\?"),
        ({"annotations": "gone.json"}, r"^data\.annotations: no such file or folder: gone\.json"),
    ],
)
def test_unusable_explicit_paths_are_refused(data, message):
    with pytest.raises(UserError, match=message):
        resolve_data(data)


def test_a_folder_with_a_colon_in_its_name_is_a_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("run:one").mkdir()
    assert parse_location("run:one") == Location("folder", "run:one")


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ("wsd:shards", "unknown scheme 'wsd' in 'wsd:shards'; did you mean 'wds'?"),
        ("tar:", "'tar:' names no place"),
        ("tar:gone.tar", "no such tar file: "),
        ("wds:gone-{0..1}.tar", "no such tar file: gone-0.tar"),
        ("wds:gone-*.tar", "no file matches gone-"),
        ("tar:notes.txt", "notes.txt is not a .tar file; if it is compressed, decompress it"),
        ("torch:cifar01:.", "unknown torchvision set 'cifar01'; did you mean 'cifar10'?"),
        ("torch:cifar10", "torch:cifar10 needs the folder"),
        ("torch:cifar10:gone", "torch:cifar10 needs the folder"),
    ],
)
def test_invalid_locations_are_refused(shards, monkeypatch, data, message):
    monkeypatch.chdir(shards)
    with pytest.raises(UserError, match=re.escape(message)):
        resolve_data(data)


def test_a_folder_without_shards_is_named(tmp_path):
    with pytest.raises(UserError, match=r"no \.tar file in folder"):
        resolve_data(f"wds:{tmp_path}")


def test_paths_become_absolute(shards, image_folder, monkeypatch):
    monkeypatch.chdir(shards)
    assert resolve_data("wds:{a,b}.tar") == f"wds:{shards}/{{a,b}}.tar"
    assert resolve_data("wds:https://host/{0..3}.tar") == "wds:https://host/{0..3}.tar"
    assert resolve_data("torch:mnist:.") == f"torch:mnist:{shards}"
    assert resolve_data("hfds:owner/name") == "hfds:owner/name"
    assert resolve_data(f"hfds:{shards.name}") == "hfds:" + shards.name
    image_folder("photos")
    assert resolve_data("photos") == str(shards / "photos")


def test_a_missing_package_is_named_with_its_extra(monkeypatch):
    monkeypatch.setattr(packages.importlib.util, "find_spec", lambda _: None)
    with pytest.raises(UserError, match=r"hfds: needs the package 'datasets'; install it with: uv sync --extra hf"):
        resolve_data("hfds:owner/name")


def test_braces():
    assert list(expand_braces("s-{08..10}-{a,b}.tar")) == [
        f"s-{number}-{letter}.tar" for number in ("08", "09", "10") for letter in "ab"
    ]
    assert list(expand_braces("{x-{0..1},y}.tar")) == ["x-0.tar", "x-1.tar", "y.tar"]
    assert list(expand_braces("plain.tar")) == ["plain.tar"]


def test_shards_of_a_folder_and_of_a_pattern_are_sorted(shards):
    found = [str(shards / "a.tar"), str(shards / "b.tar")]
    assert expand_shards(Location("wds", str(shards))) == found
    assert expand_shards(Location("wds", f"{shards}/*.tar")) == found


@pytest.mark.parametrize(
    ("shards", "train", "val"),
    [
        (["d/train/0.tar", "d/val/0.tar"], ["d/train/0.tar"], ["d/val/0.tar"]),
        (["im1k-train-00.tar", "im1k-validation-00.tar"], ["im1k-train-00.tar"], ["im1k-validation-00.tar"]),
        (["train0.tar", "val0.tar", "test0.tar"], ["train0.tar"], ["val0.tar"]),
        (["cats.tar", "dogs.tar"], ["cats.tar", "dogs.tar"], None),
        (["train-0.tar", "train-1.tar"], ["train-0.tar", "train-1.tar"], None),
        (["value-0.tar", "trainer-0.tar"], ["value-0.tar", "trainer-0.tar"], None),
        (["train/train-0.tar", "train/val-0.tar"], ["train/train-0.tar"], ["train/val-0.tar"]),
        (["train/train.tar", "val/train.tar"], ["train/train.tar"], ["val/train.tar"]),
        (["d/train/0.tar", "d/val-0.tar"], ["d/train/0.tar"], ["d/val-0.tar"]),
        (["d/train/val-0.tar"], ["d/train/val-0.tar"], None),
    ],
)
def test_subsets_are_identified_by_names(shards, train, val):
    assert split_shards(shards) == (train, val)
