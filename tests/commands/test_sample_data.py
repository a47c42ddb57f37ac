import json

import pytest

from msgformer.commands.sample_data import sample_data
from msgformer.errors import UserError


@pytest.mark.parametrize(("task", "layout"), [("detect", "COCO"), ("segment", "ADE20K")])
def test_scenes_from_the_command_line(task, layout, run_msgformer, tmp_path):
    done = run_msgformer("sample-data", task, "scenes", "--num_train", "2", "--num_val", "1", "--json")
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told == {"output": "scenes", "task": task, "layout": layout, "images": 2, "val": 1, "seed": 0}
    assert len([*tmp_path.glob("scenes/images/*/*.jpg")]) == 3
    done = run_msgformer("sample-data", task, "scenes")
    assert (done.returncode, done.stdout) == (2, "")
    assert "scenes isn't empty; pass --overwrite or another --output" in done.stderr


def test_mistakes_are_reported_before_anything_is_loaded(run_light):
    done = run_light("sample-data", "classify", "out")
    assert done.returncode == 2
    assert "detect, segment" in done.stderr
    done = run_light("sample-data", "detect", "out", "--num_train", "0")
    assert (done.returncode, done.stderr) == (2, "msgformer: error: num_train must be at least 1, not 0\n")


def test_mistakes_from_python(tmp_path):
    with pytest.raises(UserError, match="task: there are no scenes for classifiers; give detect or segment"):
        sample_data("classify", tmp_path / "out")
