"""Data sets as tools and users leave them: check-data and train agree on what is accepted and what is refused."""

import pytest

from msgformer import check_data, evaluate, predict
from msgformer.errors import UserError
from real_data import classification, detection, segmentation
from tasks.tiny_runs import SETTINGS, make_tiny_run

CASES = [
    pytest.param(task, case, id=f"{task}-{case.name}")
    for task, module in (("classify", classification), ("detect", detection), ("segment", segmentation))
    for case in module.CASES
]


def check(task, case, data):
    """Return the result of check-data, with the options of the case that it has."""
    options = {f"{task}_images": case.settings[f"{task}_images"]} if f"{task}_images" in case.settings else {}
    return check_data(data, task, **options)


def merged(task, case):
    """Return the options of the case over those of a tiny run."""
    return {key: {**SETTINGS[task].get(key, {}), **value} for key, value in case.settings.items()}


@pytest.mark.parametrize(("task", "case"), CASES)
def test_check_data_accepts_or_refuses(task, case, tmp_path):
    data = tmp_path / "data"
    case.write(data)
    if case.refused is None:
        result = check(task, case, data / case.path)
        assert result.exit_status() == 0, result.table()
        assert case.images is None or {name: result.images[name] for name in case.images} == case.images
        assert list(dict.fromkeys(name for counts in result.classes.values() for name in counts)) == [*case.classes]
        return
    try:
        result = check(task, case, data / case.path)
    except UserError as error:
        found = str(error)
    else:
        assert result.exit_status() == 2, result.table()
        found = result.table()
    assert pytest.RaisesExc(UserError, match=case.refused).matches(UserError(found)), found


@pytest.mark.slow
@pytest.mark.parametrize(("task", "case"), CASES)
def test_training_agrees_with_check_data(task, case, tmp_path):
    """Two steps or more of training, evaluation and prediction; a refused data set leaves no run."""
    case.write(tmp_path / "data")
    settings = {"data": tmp_path / "data" / case.path, **merged(task, case)}
    if case.refused is not None:
        with pytest.raises(UserError, match=case.refused):
            make_tiny_run(task, tmp_path, **settings)
        assert not (tmp_path / task).exists()
        return
    run = make_tiny_run(task, tmp_path, **settings).folder
    assert (run / "classes.txt").read_text(encoding="utf-8").split("\n")[:-1] == [*case.classes]
    evaluate(run, device="cpu", workers=0, progress="none")
    image = next(path for path in (tmp_path / "data").rglob("*") if path.suffix.lower() in (".png", ".jpg"))
    assert len(predict(run, [image], device="cpu").predictions) == 1
