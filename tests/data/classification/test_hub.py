import io
import pickle

import datasets
import pytest
from PIL import Image

from msgformer.data.classification.hub import open_hub_set
from msgformer.data.classification.subsets import find_sources
from msgformer.data.files.locations import Location
from msgformer.errors import UserError


def table(count=4, label=None, values=None, images=None):
    """Rows with an image and a label."""
    features = datasets.Features(
        {"image": datasets.Image(), "label": label or datasets.ClassLabel(names=["cats", "dogs"])}
    )
    column = images or [Image.new("RGB", (5, 4), (number, 0, 0)) for number in range(count)]
    return datasets.Dataset.from_dict(
        {"image": column, "label": values or [row % 2 for row in range(len(column))]}, features=features
    )


def stored(folder, content):
    content.save_to_disk(folder)
    return open_hub_set(Location("hfds", str(folder)))


def test_a_stored_set_with_splits(tmp_path):
    splits = datasets.DatasetDict({"train": table(4), "test": table(2)})
    train, val = stored(tmp_path / "set", splits)
    assert (train.classes, train.labels, val.labels) == (("cats", "dogs"), (0, 1, 0, 1), (0, 1))
    assert (train.name(3), val.name(0)) == ("train[3]", "test[0]")
    assert pickle.loads(pickle.dumps(train)).load(3).getpixel((0, 0)) == (3, 0, 0)
    assert train.probe(0, whole=True) is None


def test_a_test_split_is_kept_beside_the_validation_split(tmp_path):
    def counts(folder, content):
        content.save_to_disk(folder)
        found = find_sources(Location("hfds", str(folder)), ["cats", "dogs"])
        return {name: len(source().labels) for name, source in found.items()}

    sets = datasets.DatasetDict({"train": table(6), "validation": table(4), "test": table(2)})
    assert counts(tmp_path / "three", sets) == {"train": 6, "val": 4, "test": 2}
    del sets["validation"]
    assert counts(tmp_path / "two", sets) == {"train": 6, "val": 2, "test": 2}
    assert counts(tmp_path / "one", sets["train"]) == {"all": 6}


def test_one_split_alone_has_no_validation_images(tmp_path):
    train, val = stored(tmp_path / "set", table())
    assert (len(train.labels), val) == (4, None)


def test_a_folder_of_images_as_the_package_reads_it(image_folder, tmp_path, monkeypatch):
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    image_folder("data/train", per_class=2)
    root = image_folder("data/test", per_class=1).parent
    train, val = open_hub_set(Location("hfds", str(root)))
    assert (train.classes, train.labels, val.labels) == (("dark", "light"), (0, 0, 1, 1), (0, 1))
    assert train.load(0).size == (20, 16)


@pytest.mark.parametrize(
    ("label", "values", "classes", "labels"),
    [
        (datasets.Value("string"), ["b", "a", "b", "c"], ("a", "b", "c"), (1, 0, 1, 2)),
        (datasets.Value("int64"), [3, 7, 7, 3], ("3", "7"), (0, 1, 1, 0)),
    ],
)
def test_labels_without_names_name_themselves(tmp_path, label, values, classes, labels):
    train, _ = stored(tmp_path / "set", table(4, label, values))
    assert (train.classes, train.labels) == (classes, labels)


def test_splits_that_number_their_classes_differently_are_matched_by_name(tmp_path):
    other = table(2, datasets.ClassLabel(names=["dogs", "cats"]))
    _, val = stored(tmp_path / "set", datasets.DatasetDict({"train": table(4), "test": other}))
    assert [val.classes[label] for label in val.labels] == ["dogs", "cats"]


def test_a_column_of_classes_is_preferred_to_the_usual_name(tmp_path):
    content = table(4).rename_column("label", "animal").add_column("label", [7, 8, 9, 9])
    train, _ = stored(tmp_path / "set", content)
    assert (train.classes, train.labels) == (("cats", "dogs"), (0, 1, 0, 1))


def test_a_split_without_labels_is_named(tmp_path):
    splits = datasets.DatasetDict({"train": table(4), "test": table(2).remove_columns("label")})
    with pytest.raises(UserError, match=r"split 'test' of .* lacks the column 'label'"):
        stored(tmp_path / "set", splits)


def test_a_row_without_a_label_is_named(tmp_path):
    words = table(3, datasets.Value("string"), ["a", None, "b"])
    with pytest.raises(UserError, match=r"no known class for train\[1\]"):
        stored(tmp_path / "set", words)


def test_a_broken_image_is_named(tmp_path):
    good = io.BytesIO()
    Image.new("RGB", (3, 3)).save(good, "PNG")
    images = [{"bytes": good.getvalue(), "path": None}, {"bytes": b"no image", "path": None}, None, None]
    train, _ = stored(tmp_path / "set", table(images=images))
    with pytest.raises(UserError, match=r"can't read image train\[1\] \(not an image\)"):
        train.load(1)
    assert "row train[2] has no image in column 'image'" in str(train.probe(2, whole=False))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (datasets.Dataset.from_dict({"text": ["a"]}), r"no column of images in .* \(it has text\)"),
        (table().rename_column("label", "lable"), None),
        (
            table().rename_column("label", "target").cast_column("target", datasets.Value("int64")),
            "no column of labels",
        ),
        (table(values=[0, 1, -1, 0]), r"no known class for train\[2\] in column 'label'"),
        (table(label=datasets.ClassLabel(names=["one"]), values=[0] * 4), "only one class in column 'label'"),
    ],
)
def test_unsupported_sets_are_refused(tmp_path, content, message):
    if message is None:
        assert stored(tmp_path / "set", content)[0].labels == (0, 1, 0, 1), "a column of classes needs no name"
        return
    with pytest.raises(UserError, match=message):
        stored(tmp_path / "set", content)


def test_a_missing_set_is_named(tmp_path):
    with pytest.raises(UserError, match=r"can't open hfds:.*gone"):
        open_hub_set(Location("hfds", str(tmp_path / "gone")))
