import json
import shutil
from contextlib import contextmanager

import pytest

from commands.tiny_dense import tiny_dense_run
from data.dense_folders import coco_content, write_ade20k, write_coco, write_images
from data.tar_files import write_shard
from msgformer.cli import main as cli
from msgformer.commands.check_data import check_data
from msgformer.config.parser import Options
from msgformer.errors import UserError


def kinds(result):
    return {(problem.severity, problem.kind) for problem in result.problems}


def test_a_good_folder(image_folder):
    result = check_data(image_folder(per_class=3))
    assert (result.images, result.exit_status()) == ({"all": 6}, 0)
    assert result.classes == {"all": {"dark": 3, "light": 3}}
    assert kinds(result) == {("note", "small image")}
    assert result.table().splitlines() == [
        "checked for --task classify: class folders",
        "",
        "        all",
        "images  6",
        "dark    3",
        "light   3",
        "",
        "notes: 6 x small image; --verbose shows them",
        "",
        f"{result.data}: 6 note(s)",
    ]


def test_verbose_lists_the_notes_and_all_classes(image_folder):
    classes = [f"c{number:03d}" for number in range(21)]
    root = image_folder(per_class=1, classes=classes)
    (root / "c000" / "more.txt").write_text("")
    table = check_data(root, verbose=True).table().splitlines()
    assert [line.split()[0] for line in table[3:25]] == ["images", *classes]
    assert table[table.index("note: other file") + 1] == ("  c000/more.txt: not an image by its name, so it is ignored")
    assert "note: other file" not in check_data(root).table().splitlines()


def test_the_settings_of_the_table_are_not_in_json(image_folder):
    found = json.loads(check_data(image_folder(per_class=1), verbose=True).render(as_json=True))
    assert [*found] == ["data", "task", "images", "classes", "problems", "layout", "fixed"]
    assert found["layout"] == "class folders"


def test_all_problems_are_found_at_once_and_set_the_exit_status(image_folder, capsys):
    root = image_folder("data/train", per_class=2).parent
    image_folder("data/val", per_class=1, classes=["dark", "other"])
    (root / "train" / "dark" / "00.png").write_bytes(b"")
    (root / "train" / "dark" / "01.png").write_bytes(b"text")
    assert cli.main(["check-data", str(root), "--json"]) == 2
    found = json.loads(capsys.readouterr().out)
    errors = [one for one in found["problems"] if one["severity"] == "error"]
    severe = [(one["kind"], one["path"].removeprefix(f"{root}/")) for one in errors]
    assert severe == [
        ("classes", "val/other"),
        ("unreadable image", "train/dark/00.png"),
        ("unreadable image", "train/dark/01.png"),
    ]
    assert found["images"] == {"train": 4, "val": 2}
    assert found["classes"]["val"] == {"dark": 1, "other": 1}
    assert cli.main(["check-data", str(root)]) == 2
    out = capsys.readouterr().out
    named = "train/dark/00.png, train/dark/01.png"
    assert f"error: unreadable image (2): can't read image (not an image); replace or remove it\n  {named}\n" in out
    assert out.splitlines()[-1].startswith(f"{root}: 3 error(s), 2 warning(s), ")


def test_twenty_classes_are_listed(image_folder):
    result = check_data(image_folder(per_class=1, classes=[f"c{number:03d}" for number in range(20)]))
    rows = [" ".join(line.split()) for line in result.table().splitlines()[2:24]]
    assert rows == ["all", "images 20", *(f"c{number:03d} 1" for number in range(20))]


def test_many_classes_are_summarized(image_folder):
    result = check_data(image_folder(per_class=1, classes=[f"c{number:03d}" for number in range(21)]))
    rows = [" ".join(line.split()) for line in result.table().splitlines()[2:7]]
    assert rows == ["all", "images 21", "classes 21", "fewest in a class 1", "most in a class 1"]


def test_shards_are_checked_too(tmp_path):
    write_shard(tmp_path / "s-train-0.tar", {"a": 1, "b": 0, "c": 1})
    write_shard(tmp_path / "s-val-0.tar", {"d": 1})
    result = check_data(f"wds:{tmp_path}")
    assert result.classes == {"train": {"0": 1, "1": 2}, "val": {"0": 0, "1": 1}}
    assert ("warning", "in both subsets") in kinds(result)
    assert result.problems[0].path == f"{tmp_path}/s-val-0.tar:d.png"


def test_every_damaged_shard_is_named(tmp_path):
    for number in range(3):
        shard = write_shard(tmp_path / f"{number}.tar", {"a": 0, "b": 1})
        if number:
            shard.write_bytes(shard.read_bytes()[:-8192])
    result = check_data(f"wds:{tmp_path}")
    assert [(one.kind, one.path) for one in result.problems] == [
        ("damaged shard", f"{tmp_path}/{number}.tar") for number in (1, 2)
    ]
    assert result.exit_status() == 2


def test_a_set_that_cannot_be_opened_is_an_error(tmp_path):
    write_shard(tmp_path / "0.tar", {"a": 0, "b": 0})
    (problem,) = check_data(f"wds:{tmp_path}").problems
    assert (problem.kind, problem.severity) == ("layout", "error")
    assert "only one class" in problem.message


def test_detection_sets(tmp_path):
    root = write_coco(tmp_path / "coco")
    assert check_data(root).exit_status() == 0
    (root / "images" / "val" / "1.png").unlink()
    result = check_data(root, task="detect")
    assert result.exit_status() == 2
    assert result.images == {"train": 3, "val": 3}
    assert result.classes["train"] == {"cat": 2, "dog": 2}
    missing = [problem.kind for problem in result.problems if problem.severity == "error"]
    assert missing == ["missing image"]


@pytest.mark.parametrize("task", ["classify", "detect", "segment"])
def test_progress_counts_the_images_of_every_task(task, tmp_path, image_folder, monkeypatch):
    steps = []

    @contextmanager
    def progress(total):
        yield lambda: steps.append(total)

    monkeypatch.setattr("msgformer.commands.check_data._progress", progress)
    write = {"detect": write_coco, "segment": write_ade20k}.get(task, lambda _: image_folder(per_class=3))
    assert check_data(write(tmp_path / "data")).task == task
    assert steps == [6] * 6


def test_data_of_two_tasks_needs_a_task(tmp_path):
    """Class folders beside annotations in COCO's format."""
    root = write_coco(tmp_path / "coco")
    for name in ("cat", "dog"):
        write_images(root / name, ["0.png"])
    with pytest.raises(UserError) as refused:
        check_data(root)
    found = "--task classify (class folders) or detect (COCO)"
    assert str(refused.value) == f"data: {root} may be for {found}; pass --task"
    assert check_data(root, "detect").exit_status() == 0


def test_thousands_of_problems_fit_on_a_screen(tmp_path):
    content = coco_content()
    for number in range(1000):
        content["annotations"].append({**content["annotations"][0], "id": 10 + number, "segmentation": [[5]]})
    result = check_data(write_coco(tmp_path / "coco", content))
    assert len([problem for problem in result.problems if problem.kind == "mask"]) == 1000
    lines = result.table().splitlines()
    where = "annotations/instances_train.json"
    assert f"warning: mask (1000) in {where}; the object isn't used where masks are needed" in lines
    assert "  ... and 997 more" in lines
    assert len(lines) < 20


def test_labels_from_one_need_reduce_zero_label_as_in_training(tmp_path):
    root = write_ade20k(tmp_path / "ade")
    result = check_data(root, "segment")
    assert (result.exit_status(), kinds(result)) == (2, {("error", "labels of no class")})
    with pytest.raises(UserError) as refused:
        tiny_dense_run("segment", root, tmp_path / "run")
    first = next(problem for problem in result.problems if "training" in problem.path)
    assert str(refused.value) == f"{first.path}: {first.message} (2 more; 'msgformer check-data' lists them)"
    assert check_data(root, "segment", segment_images={"reduce_zero_label": True}).problems == []
    (root / "classes.txt").write_text("sea\nwall\nsky\ntree\n")
    assert check_data(root, "segment").problems == []


@pytest.mark.parametrize("task", ["classify", "detect"])
def test_an_option_of_segmentation_is_refused_elsewhere(task, tmp_path):
    with pytest.raises(UserError, match=r"^segment_images is for segmenters, not for "):
        check_data(tmp_path, task, segment_images={"reduce_zero_label": False})


def test_the_former_option_works_with_a_warning(tmp_path, capfd):
    root = write_ade20k(tmp_path / "ade")
    with pytest.warns(FutureWarning, match=r"reduce_zero_label is deprecated: its name is segment_images\."):
        assert check_data(root, "segment", reduce_zero_label=True).problems == []
    assert cli.main(["check-data", str(root), "--task", "segment", "--reduce_zero_label", "true"]) == 0
    assert "--reduce_zero_label is deprecated" in capfd.readouterr().err


def test_a_repaired_copy_sets_the_exit_status_and_is_described(tmp_path, image_folder, capsys):
    root, output = image_folder("data", per_class=6), tmp_path / "fixed"
    for number in range(4):
        (root / "dark" / f"{number:02}.png").write_bytes(b"text")
    assert cli.main(["check-data", str(root), "--fix", str(output)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[-2:] == [
        f"{output}: repaired copy without errors (8 images)",
        "  4 file(s) left out: dark/00.png, dark/01.png, dark/02.png, ... and 1 more",
    ]
    assert check_data(output).images == {"all": 8}
    assert cli.main(["check-data", str(root), "--fix", str(output)]) == 2
    assert capsys.readouterr().err == f"msgformer: error: fix: {output} exists; give a new folder\n"


def test_other_folders_are_refused(tmp_path):
    with pytest.raises(UserError, match="no such file or folder"):
        check_data(tmp_path / "gone")
    with pytest.raises(
        UserError, match="has no class folders, table of labels, annotations or label maps; pass --task"
    ):
        check_data(tmp_path)
    with pytest.raises(UserError, match="laid out"):
        check_data(tmp_path, task="segment")


@pytest.mark.parametrize("form", ["options", "file", "location"])
def test_explicit_annotations_and_images(form, tmp_path):
    root = write_coco(tmp_path / "coco")
    images = (root / "images" / "train").rename(tmp_path / "photos")
    file = shutil.move(root / "annotations" / "instances_train.json", images / "all.json")
    words = {
        "options": ["--data.annotations", str(file), "--data.images", str(images)],
        "file": [str(file)],
        "location": [f"coco:{file}?images={images}"],
    }[form]
    arguments, _ = Options(check_data).parse([*words, "--task", "detect"])
    result = check_data(**arguments)
    assert (result.exit_status(), result.images) == (0, {"all": 3})


def test_an_annotation_file_in_its_folder_is_that_of_the_images_beside_it(tmp_path):
    root = write_coco(tmp_path / "coco", subsets=("train",))
    result = check_data(root / "annotations" / "instances_train.json")
    assert (result.task, result.exit_status(), result.images) == ("detect", 0, {"all": 3})


def test_the_help_shows_the_options(capsys):
    with pytest.raises(SystemExit):
        cli.main(["check-data", "--help"])
    shown = capsys.readouterr().out
    assert "--segment_images.label_map" in shown
    assert "--fix FIX" in shown
