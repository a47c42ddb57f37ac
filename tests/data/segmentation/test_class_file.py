import pytest

from msgformer.data.segmentation.class_file import read_classes
from msgformer.errors import UserError


def read(root, text, name="classes.txt"):
    (root / name).write_text(text, encoding="utf-8-sig")
    return read_classes(root)


def test_ade20ks_own_table_names_the_classes(tmp_path):
    text = "Idx\tRatio\tTrain\tVal\tStuff\tName\n1\t0.1\t9\t9\t1\twall\n2\t0.1\t9\t9\t1\tbuilding, edifice\n"
    assert read(tmp_path, text, "objectInfo150.txt").classes == ["wall", "building"]


@pytest.mark.parametrize("line", ["{} 1 2 {}", "{}\t1\t2\t{}", "{}: 1, 2, {}", "{},1,2,{}", "1 2 {1} {0}"])
def test_colors_may_stand_before_or_after_the_names(tmp_path, line):
    found = read(tmp_path, "\n".join(line.format(name, blue) for name, blue in (("traffic light", 3), ("car 2", 4))))
    assert (found.classes, found.colors) == (["traffic light", "car 2"], [0x010203, 0x010204])


def test_a_header_is_no_class(tmp_path):
    found = read(tmp_path, "name,r,g,b\ncar,1,2,3\nbus,1,2,4\n", "class_dict.csv")
    assert (found.classes, found.colors) == (["car", "bus"], [0x010203, 0x010204])


def test_names_with_numbers_are_no_colors(tmp_path):
    assert read(tmp_path, "car 1 2 3\nbus\n").colors is None
    assert read(tmp_path, "car 1 2 300\nbus 1 2 3\n").classes == ["car 1 2 300", "bus 1 2 3"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("car\nbus\ncar\n", "names the class 'car' twice, as classes 1 and 3"),
        ("car 1 2 3\nbus 1 2 3\n", "names the color '1, 2, 3' twice, as classes 1 and 2"),
        ("car\n", r"names 1 class\(es\)"),
    ],
)
def test_unusable_files_are_refused(tmp_path, text, message):
    with pytest.raises(UserError, match=message):
        read(tmp_path, text)
