import pytest

from msgformer.data.classification.label_table import list_table, table_groups
from msgformer.data.classification.subsets import (
    open_evaluation,
    open_subsets,
    open_training,
    record_subsets,
    reopen_validation,
)
from msgformer.data.files.locations import find_labels, parse_location, resolve_data
from msgformer.data.loading.split import SplitRule
from msgformer.errors import UserError


@pytest.fixture
def write(image_folder, tmp_path):
    """Return a function that writes a table beside four images."""
    image_folder("a", per_class=2, classes=["x"])
    image_folder("b c", per_class=2, classes=["x"])

    def write(text, name="labels.csv", encoding="utf-8"):
        (tmp_path / name).write_text(text, encoding=encoding)
        return tmp_path / name

    return write


ROWS = "a/x/00.png,10\na/x/01.png,2\nb c/x/00.png,2\nb c/x/01.png,10\n"
SPLIT = "image,label,split\na/x/00.png,10,train\na/x/01.png,2,Training\nb c/x/00.png,2,val\nb c/x/01.png,10,test\n"


def test_classes_are_in_natural_order_and_images_in_that_of_the_rows(write, tmp_path):
    listing, val = list_table(write(f"image,label\n{ROWS}"))
    assert val is None
    assert listing.classes == ("2", "10")
    assert listing.names == ("a/x/01.png", "b c/x/00.png", "a/x/00.png", "b c/x/01.png")
    assert listing.labels == (0, 0, 1, 1)
    assert listing.path(0) == str(tmp_path / "a/x/01.png")


@pytest.mark.parametrize(
    ("text", "encoding"),
    [
        (f"image,label\n{ROWS}", "utf-8-sig"),
        (f"Image, Label\n{ROWS}".replace(",", " ;"), "utf-8"),
        (f"image\tlabel\n{ROWS}".replace(",", "\t"), "utf-8"),
        ("label,extra,image\r\n10,?,a/x/00.png\r\n2,?,a/x/01.png\r\n2,?,b c/x/00.png\r\n10,?,b c/x/01.png", "utf-8"),
    ],
    ids=["byte order mark", "semicolons", "tabs", "another order"],
)
def test_tables_of_other_tools_are_read(write, text, encoding):
    assert list_table(write(text, encoding=encoding))[0].labels == (0, 0, 1, 1)


def test_the_split_is_that_of_the_table(write):
    train, val = list_table(write(SPLIT))
    assert (train.names, train.labels) == (("a/x/01.png", "a/x/00.png"), (0, 1))
    assert (val.names, val.labels) == (("b c/x/00.png",), (0,))


def test_test_images_validate_where_there_are_no_others(write):
    assert list_table(write(SPLIT.replace(",val", ",test")))[1].labels == (0, 1)


def test_a_parquet_file_is_read(write, tmp_path):
    pa, pq = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    rows = [row.rsplit(",", 1) for row in ROWS.splitlines()]
    columns = {"image": [image for image, _ in rows], "label": [float(label) for _, label in rows]}
    pq.write_table(pa.table(columns), tmp_path / "labels.parquet")
    assert list_table(tmp_path / "labels.parquet")[0].classes == ("2", "10")
    assert find_labels(tmp_path).path == str(tmp_path / "labels.parquet")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "has no columns, but no column image and no column label"),
        ("a,label\nx,1\n", "has a, label, but no column image; a table of labels needs image and label"),
        ("image,label\n", "has no rows"),
        (f"image,label\n{ROWS}a/x/02.png,2\n", r"row 5: there is no image a/x/02\.png beside the table; paths are"),
        (f"image,label\n{ROWS}gone.png,2\nlost.png,2\n", r"there is no image gone\.png beside the table \(1 more\)"),
        (f"image,label\n{ROWS}./a/x/00.png,2\n", r"rows 1 and 5 are both of a/x/00\.png; keep one"),
        ("image,label\na/x/00.png,\n", "row 1 has no label; complete or remove it"),
        ("image,label\n,1\n", "row 1 has no image"),
        ("image,label\na/x/00.png,1\na/x/01.png,1\n", "only one class .'1'.: a classifier needs"),
        (SPLIT.replace(",val", ",fold1"), "row 3 has the split 'fold1'; give train, val or test"),
        (SPLIT.replace("Training", "val").replace("train", "val"), "no row has the split train"),
        (SPLIT.replace("2,val", "3,val"), "row 3: class '3' is in no training row"),
    ],
)
def test_unusable_tables_are_refused_in_one_line(write, text, message):
    with pytest.raises(UserError, match=message) as error:
        list_table(write(text))
    assert "\n" not in str(error.value)
    assert "labels.csv" in str(error.value)


def test_a_table_in_another_encoding_is_refused(write):
    with pytest.raises(UserError, match=r"labels\.csv is not UTF-8 .*; save it as UTF-8"):
        list_table(write("image,label\né.png,1\n", encoding="latin-1"))


def test_a_folder_stands_for_its_table(write, tmp_path):
    path = write(SPLIT)
    assert (find_labels(tmp_path).scheme, find_labels(tmp_path).path) == ("table", str(path))
    assert parse_location(tmp_path).scheme == "folder"
    assert find_labels(tmp_path).title == tmp_path.name
    assert parse_location(path.with_name("birds.csv")).title == "birds"
    assert resolve_data(tmp_path) == str(tmp_path)
    assert resolve_data(path) == str(path)
    with pytest.raises(UserError, match=r"no such file or folder: .*gone\.csv"):
        resolve_data(path.with_name("gone.csv"))


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_groups_are_read_from_a_column(write, tmp_path, suffix):
    path = write("image,label,case\na/x/00.png,1,7\na/x/01.png,2,8\nb c/x/00.png,2,7\n")
    if suffix == ".parquet":
        pq = pytest.importorskip("pyarrow.parquet")
        pq.write_table(pytest.importorskip("pyarrow.csv").read_csv(path), tmp_path / "labels.parquet")
        path = tmp_path / "labels.parquet"
    names = ["b c/x/00.png", "a/x/01.png", "a/x/00.png"]
    assert table_groups(path, names, "case") == table_groups(path, names, "Case") == ["7", "8", "7"]
    assert table_groups(path, names, "patient") is None


def test_unusable_columns_of_groups_are_refused(write):
    path = write("image,label,case\na/x/00.png,1,7\na/x/01.png,2,\nb c/x/00.png,2,7\n")
    with pytest.raises(UserError, match=r"split_by: .*labels\.csv, row 2 has no case; complete or remove it"):
        open_training(path, SplitRule(by="case"))
    with pytest.raises(UserError, match=r"'cse' doesn't match .*; the table has no column of this name"):
        open_training(path, SplitRule(by="cse"))
    with pytest.raises(UserError, match="split_by: no group can be held out, such as 1, which holds all images of"):
        open_training(path, SplitRule(by="label"))


def test_a_split_of_a_table_is_found_again(write, tmp_path):
    path = write(f"image,label\n{ROWS}")
    train, val, _ = open_subsets(path, 0.5, seed=0)
    assert (len(train.labels), len(val.labels)) == (2, 2)
    run = tmp_path / "run"
    run.mkdir()
    record_subsets(run, train, val)
    again = reopen_validation(run, path, ["2", "10"], 0.5, seed=3)
    assert [again.name(index) for index in (0, 1)] == [val.name(index) for index in (0, 1)]
    assert list(open_evaluation(path, ["10", "1", "2"]).labels) == [2, 2, 0, 0]
