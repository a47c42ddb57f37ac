"""Data sets as tools and users leave them: check-data and train agree on what is accepted and what is refused."""

import pytest

from msgformer import check_data, evaluate, predict, train
from msgformer.data.files.folder import find_images
from msgformer.data.files.locations import resolve_data
from msgformer.errors import UserError
from msgformer.tasks import all_tasks
from real_data import classification, detection, segmentation
from tasks.tiny_runs import SETTINGS

NOT_READ_YET = {}
"""Cases that are still read wrongly, or refused without a reason; a case that is mended must be removed here."""

CASES = [
    pytest.param(task, case, id=name, marks=[pytest.mark.xfail(strict=True)] if name in NOT_READ_YET else [])
    for task, module in (("classify", classification), ("detect", detection), ("segment", segmentation))
    for case in module.CASES
    for name in [f"{task}-{case.name}"]
]


def check(task, case, data, **options):
    """Return the result of check-data, with the options of the case that it has, and others."""
    options |= {f"{task}_images": case.settings[f"{task}_images"]} if f"{task}_images" in case.settings else {}
    return check_data(data, task, **options)


def train_tiny(task, case, data, output):
    """Train for an epoch of two steps or more, with the options of the case."""
    own = {key: {**SETTINGS[task].get(key, {}), **given} for key, given in case.settings.items()}
    optim = {"warmup_epochs": 0, "lr": 1e-3, "lr_batch": None}
    trainer = {"accelerator": "cpu", "progress": "none"}
    options = {"epochs": 1, "workers": 0, "optim": optim, "trainer": trainer, "report": False, **SETTINGS[task], **own}
    return train("msg_transformer_tiny", data / case.path, task=task, output=output, **options).run


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


@pytest.mark.parametrize(("task", "case"), [pytest.param(*case.values, id=case.id) for case in CASES])
def test_the_task_is_recognized(task, case, tmp_path):
    case.write(tmp_path / "data")
    data = resolve_data(tmp_path / "data" / case.path, layout=False)
    assert [one.name for one in all_tasks() if one.recognize(data)] == [task]


@pytest.mark.parametrize(("task", "case"), [case for case in CASES if not case.marks])
def test_a_repaired_copy_is_accepted_or_nothing_is_written(task, case, tmp_path):
    """A copy has the classes and images of the original, except files that can't be read."""
    data, output = tmp_path / "data", tmp_path / "fixed"
    case.write(data)
    try:
        result = check(task, case, data / case.path, fix=output)
    except UserError:
        assert case.refused is not None
        assert [*tmp_path.iterdir()] == [data]
        return
    assert result.exit_status() == 0
    copy = check_data(output, task)
    assert (copy.exit_status(), copy.images) == (0, result.fixed.images)
    assert [*next(iter(copy.classes.values()))] == [*next(iter(result.classes.values()))]
    if not result.fixed.left_out:
        assert copy.images == result.images
        assert copy.classes == result.classes


@pytest.mark.slow
@pytest.mark.parametrize(("task", "case"), [case for case in CASES if not case.marks])
def test_training_agrees_with_check_data(task, case, tmp_path):
    """Two steps or more of training, evaluation and prediction; a refused data set leaves no run."""
    data, output = tmp_path / "data", tmp_path / "run"
    case.write(data)
    if case.refused is not None:
        with pytest.raises(UserError, match=case.refused):
            train_tiny(task, case, data, output)
        assert not output.exists()
        return
    run = train_tiny(task, case, data, output)
    assert (run / "classes.txt").read_text(encoding="utf-8").split("\n")[:-1] == [*case.classes]
    evaluate(run, device="cpu", workers=0, progress="none")
    image = data / find_images(data)[-1]
    assert len(predict(run, [image], device="cpu").predictions) == 1
