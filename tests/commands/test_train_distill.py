"""Distillation from a teacher."""

import signal

import pytest
import torch
import yaml

from commands.test_train_resume import in_a_process, sent
from commands.tiny import TINY, assert_same_run, rows, tiny_run, weights
from commands.tiny_dense import tiny_dense_run, write_scenes
from msgformer.commands.train import train
from msgformer.errors import UserError
from msgformer.tasks.classification.training_module import ClassificationTraining

pytestmark = pytest.mark.usefixtures("one_thread")

CLASSES = ["dark", "grey", "light"]


@pytest.fixture
def data(image_folder):
    return image_folder(per_class=6, classes=CLASSES)


@pytest.fixture
def teacher(data, tmp_path):
    """Train a run of another model, with another size and grayscale images."""
    model_args = {**TINY, "embed_dim": 8, "in_chans": 1}
    return tiny_run(data, tmp_path / "teacher", epochs=1, img_size=24, model_args=model_args).run


def students(data, output, teacher, **settings):
    """Train a tiny run with a teacher, mixup and all other random operations."""
    return tiny_run(data, output, teacher=teacher, **settings).run


@pytest.mark.parametrize("distill", [{"temperature": 3.0}, {"hard": True}])
def test_a_student_learns_from_a_run_and_does_not_store_it(data, teacher, tmp_path, distill):
    taught = students(data, tmp_path / "taught", teacher, epochs=1, distill=distill)
    (row,) = rows(taught)
    assert float(row["train/loss"]) == pytest.approx(
        float(row["train/cross_entropy"]) + float(row["train/distillation"]), rel=1e-4
    )
    assert float(row["train/distillation"]) > 0
    alone = tiny_run(data, tmp_path / "alone", epochs=1).run
    assert weights(taught).keys() == weights(alone).keys()
    assert "train/distillation" not in rows(alone)[0]
    settings = yaml.safe_load((taught / "config.yaml").read_text())
    assert settings["teacher"] == str(teacher / "best.ckpt")


def test_a_teacher_with_weight_zero_has_no_effect(data, teacher, tmp_path):
    taught = students(data, tmp_path / "taught", teacher, distill={"alpha": 0.0})
    alone = tiny_run(data, tmp_path / "alone").run
    ours, theirs = weights(taught), weights(alone)
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)


def test_a_killed_run_resumes_with_its_teacher_exactly(data, teacher, tmp_path):
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    trainer = {"accelerator": "cpu", "progress": "none", "checkpoint_minutes": 0.0}
    students(data, whole, teacher, trainer=trainer)

    def killed():
        with sent(signal.SIGKILL, ClassificationTraining, "training_step", 5):
            students(data, broken, teacher, trainer=trainer)

    assert in_a_process(killed) == -signal.SIGKILL
    assert train(resume=broken).epochs == 3
    assert_same_run(whole, broken)
    with pytest.raises(UserError, match=r"resume: distill\.alpha is 0\.5 in .*, not 0\.25"):
        train(resume=broken, distill={"alpha": 0.25})


def test_teachers_of_other_classes_are_refused(data, image_folder, teacher, tmp_path):
    two = image_folder("two", classes=["dark", "light"])
    other = image_folder("other", per_class=6, classes=["dark", "gray", "light"])
    for folder, teacher_name, message in (
        (two, teacher, r"teacher: .*best\.ckpt has 3 classes, but the data has 2; give one that"),
        (other, teacher, r"teacher: class 1 of .*best\.ckpt is 'grey', but that of the data is 'gray'; give"),
        (data, "resnet18.a1_in1k", r"teacher: resnet18\.a1_in1k has 1000 classes, but the data has 3"),
    ):
        with pytest.raises(UserError, match=message) as error:
            students(folder, tmp_path / "run", teacher_name)
        assert "\n" not in str(error.value)
    assert not (tmp_path / "run").exists()


def test_a_segmenter_does_not_teach(data, tmp_path):
    scenes = write_scenes("segment", tmp_path / "scenes", 2, 1)
    run = tiny_dense_run("segment", scenes, tmp_path / "dense", epochs=1).run
    with pytest.raises(UserError, match=r"teacher: .*best\.ckpt is a segmenter; give a classifier"):
        students(data, tmp_path / "run", run)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"distill": {"alpha": 0.1}}, r"distill\.alpha needs a teacher; give one by --teacher, or leave it out"),
        ({"distill": {"hard": True}}, r"distill\.hard needs a teacher"),
        (
            {"teacher": "resnet18", "distill": {"hard": True, "temperature": 3.0}},
            r"distill\.temperature is not for distill\.hard; leave one of them out",
        ),
        ({"teacher": "resnet18", "distill": {"alpha": 1.5}}, r"distill\.alpha must lie between 0 and 1, not 1\.5"),
        ({"teacher": "resnet18", "distill": {"temperature": 0}}, r"distill\.temperature must be above 0, not 0"),
        ({"teacher": "runs/gone"}, r"teacher: no such file or folder: runs/gone"),
        ({"teacher": "gone.ckpt"}, r"teacher: no such file or folder: gone\.ckpt"),
        ({"teacher": "sgformer_smal"}, r"unknown model 'sgformer_smal'; did you mean 'sgformer_small'"),
        ({"task": "detect", "teacher": "resnet18"}, r"teacher is for --task classify, not for detect; leave it out"),
        ({"task": "segment", "distill": {"hard": True}}, r"distill\.hard is for --task classify, not for segment"),
    ],
)
def test_incompatible_settings_are_named(settings, message):
    with pytest.raises(UserError, match=message):
        train(**settings)
