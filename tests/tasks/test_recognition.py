import pytest

from data.dense_folders import write_coco, write_images
from msgformer.errors import UserError
from msgformer.tasks.recognition import choose_task


def test_a_named_task_is_not_recognized(tmp_path):
    assert choose_task("segment", str(write_coco(tmp_path))).name == "segment"
    with pytest.raises(UserError, match="task must be one of"):
        choose_task("box", str(tmp_path))


def test_the_only_task_with_the_layout_is_chosen(tmp_path):
    assert choose_task("auto", str(write_coco(tmp_path / "coco"))).name == "detect"
    assert choose_task("auto", "sample:digits").name == "classify"


def test_none_and_several_are_refused(tmp_path):
    with pytest.raises(UserError, match=r"pass --task classify or detect or segment to see what its layout lacks$"):
        choose_task("auto", str(tmp_path))
    root = write_coco(tmp_path / "coco")
    for name in ("cat", "dog"):
        write_images(root / name, ["0.png"])
    with pytest.raises(
        UserError, match=r"may be for --task classify \(class folders\) or detect \(COCO\); pass --task$"
    ):
        choose_task("auto", str(root))
