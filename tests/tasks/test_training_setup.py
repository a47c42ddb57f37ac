from types import SimpleNamespace

import numpy as np
import pytest
import torch
import yaml
from PIL import Image

import msgformer
from msgformer.config.training_options import OptimOptions, TrainerOptions
from msgformer.errors import UserError
from msgformer.tasks.training_setup import TrainingSetup
from tasks import tiny_runs
from tasks.tiny_runs import TASK_NAMES, make_data


class Setup(TrainingSetup):
    """A setup of ten training images, without a model."""

    def image_names(self):
        return {"train": [str(number) for number in range(10)], "val": []}

    def build(self, trainer, *, fresh):
        raise NotImplementedError

    def record(self, run):
        raise NotImplementedError


def setup(**settings):
    settings = {"pretrained": False, "init_from": None, "epochs": 3, "seed": 5, **settings}
    return Setup(SimpleNamespace(**{"optim": OptimOptions(), "trainer": TrainerOptions(), **settings}), None)


def test_last_accumulated_step_of_an_epoch_may_be_smaller():
    plan = setup(trainer=TrainerOptions(accumulate_grad_batches=4)).plan(SimpleNamespace(world_size=1), batch_size=2)
    assert (plan.steps_per_epoch, plan.total_batch, plan.epochs, plan.seed) == (2, 8, 3, 5)


def test_steps_are_those_of_all_processes():
    plan = setup().plan(SimpleNamespace(world_size=2), batch_size=2)
    assert (plan.steps_per_epoch, plan.total_batch) == (2, 4)


@pytest.mark.parametrize(
    ("settings", "decay"), [({}, None), ({"pretrained": True}, 0.7), ({"init_from": "a.ckpt"}, 0.7)]
)
def test_layer_decay_is_for_weights_that_are_not_random(settings, decay):
    optim = OptimOptions(layer_decay=0.7, layer_decay_scratch=False)
    assert setup(optim=optim, **settings).plan(SimpleNamespace(world_size=1), 2).optim.layer_decay == decay


def test_batches_are_no_larger_than_the_data_and_even_for_mixing():
    one, three = SimpleNamespace(world_size=1), SimpleNamespace(world_size=3)
    assert setup(batch_size=4).batch_size(one) == 4
    assert setup(batch_size=64).batch_size(three) == 3
    assert setup(batch_size=64).batch_size(three, even=True) == 2
    with pytest.raises(UserError, match="batch_size must be even for mixup and cutmix, not 5"):
        setup(batch_size=5).batch_size(one, even=True)
    with pytest.raises(UserError, match=r"too few training images \(0 per process\)"):
        setup(batch_size=5).batch_size(SimpleNamespace(world_size=11))


GROUPS = {"classify": "preprocess", "detect": "detect_images", "segment": "segment_images"}


def make_deep(task, folder):
    """Write a data set of a task whose images have 12 bits in 16, in PNG files under their old names."""
    data = make_data(task, folder)
    for path in data.rglob("*.*g"):
        if "annotations" not in path.parts:
            gray = np.asarray(Image.open(path).convert("L")).astype(np.uint16) * 16
            gray[0, 0] = 4095
            Image.fromarray(gray).save(path, format="PNG")
    return data


@pytest.mark.parametrize("task", TASK_NAMES)
def test_one_value_range_from_training_to_prediction(task, tmp_path, monkeypatch, capsys):
    """The network's input is the same for a file, an array, a tensor and the image of 8 bits that they stand for."""
    data = make_deep(task, tmp_path / "data")
    monkeypatch.setattr(tiny_runs, "image_files", lambda *_: [])
    run = tiny_runs.make_tiny_run(task, tmp_path, data=data).folder
    assert "are scaled by 0..4095" in capsys.readouterr().err
    config = yaml.safe_load((run / "config.yaml").read_text())
    assert {group: config[group]["value_range"] for group in GROUPS.values()} == {
        **dict.fromkeys(GROUPS.values()),
        GROUPS[task]: [0.0, 4095.0],
    }
    path = next(one for one in sorted(data.rglob("*.*g")) if "annotations" not in one.parts)
    pixels = np.asarray(Image.open(path))
    expected = (pixels * (255 / 4095)).round().astype(np.uint8)
    model = msgformer.load(run)
    given = [str(path), path.read_bytes(), Image.open(path), pixels, torch.from_numpy(pixels.copy()), expected]
    seen, transform = [], model.preprocess
    monkeypatch.setattr(type(model._predictor(model.config, {})), "transform", _noting(seen, transform))
    results = [model.predict(one) for one in given]
    model.embed(str(path))
    assert len(seen) == len(given) + 1
    for image in seen:
        assert (image == expected[..., None]).all()
    assert (np.asarray(results[0].load_image()) == expected[..., None]).all()
    count, load = model.opened.task.held_out_images(model.card, run)
    assert count
    assert np.asarray(load(0)).max() == 255
    msgformer.evaluate(run, workers=0)
    assert all(image.max() == 255 for image in seen)


def _noting(seen, transform):
    def note(image):
        seen.append(np.asarray(image))
        return transform(image)

    return property(lambda _: note)


@pytest.mark.parametrize("task", TASK_NAMES)
def test_exported_files_have_the_value_range(task, tmp_path, monkeypatch):
    data = make_deep(task, tmp_path / "data")
    monkeypatch.setattr(tiny_runs, "image_files", lambda *_: [])
    settings = {GROUPS[task]: {**tiny_runs.SETTINGS[task].get(GROUPS[task], {}), "value_range": [16, 8191]}}
    run = tiny_runs.make_tiny_run(task, tmp_path, data=data, **settings).folder
    msgformer.export(run, output=tmp_path / "model.onnx")
    exported = msgformer.load(tmp_path / "model.onnx")
    assert exported.card.value_range == msgformer.load(run).card.value_range == (16, 8191)
    path = next(one for one in sorted(data.rglob("*.*g")) if "annotations" not in one.parts)
    assert np.asarray(exported.predict(path).load_image()).max() == round((4095 - 16) / (8191 - 16) * 255)
