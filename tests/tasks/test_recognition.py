import pytest

from data.dense_folders import write_coco, write_images
from msgformer.errors import UserError
from msgformer.tasks import get_task
from msgformer.tasks.recognition import choose_task


def test_a_named_task_is_not_recognized(tmp_path):
    root = str(write_coco(tmp_path))
    assert choose_task("segment", root) == (get_task("segment"), None)
    assert choose_task("detect", root) == (get_task("detect"), "COCO")
    with pytest.raises(UserError, match="task must be one of"):
        choose_task("box", str(tmp_path))


def test_the_only_task_with_the_layout_is_chosen(tmp_path):
    assert choose_task("auto", str(write_coco(tmp_path / "coco"))) == (get_task("detect"), "COCO")
    assert choose_task("auto", "sample:digits") == (get_task("classify"), "sample:digits")


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
