"""Every option of `train` takes two steps: alone, and together with every other option that it may be given with."""

import random
import typing
from itertools import combinations, count

import pytest

import msgformer
from msgformer.commands.train import train
from msgformer.config.parser import Options
from msgformer.config.type_hints import option_type
from msgformer.errors import UserError
from msgformer.tasks.train_options import other_tasks_options
from real_data import detection
from tasks.tiny_runs import SETTINGS, TASK_NAMES, make_data

BASE = {
    "epochs": 1,
    "batch_size": 2,
    "workers": 0,
    "report": False,
    "optim.warmup_epochs": 0.0,
    "optim.schedule": "cosine",
    "optim.milestones": (),
    "trainer.accelerator": "cpu",
    "trainer.progress": "none",
}
"""Options of every training, unless a setting has others."""

ELSEWHERE = {
    "data": "tests of the data",
    "task": "the task of a test",
    "output": "the folder of a test",
    "resume": "test_train_resume.py",
    "split_file": "test_train_split.py, as files are",
    "split_by": "test_train_split.py",
    "pretrained": "needs a network",
    "plugins": "test_plugins.py",
    "trainer.accelerator": "needs a GPU",
    "trainer.devices": "test_train_parallel.py",
    "trainer.num_nodes": "test_train_parallel.py",
    "trainer.strategy": "test_train_parallel.py",
    "trainer.compile": "test_train_options.py; compiling takes half a minute",
}
"""Options that are tested elsewhere, or can't be tested here, and where or why."""

CLASSIFIERS_ONLY = ("optim.layer_decay", "optim.layer_decay_scratch")
"""Options that detection and segmentation refuse."""

LEFT_OUT = object()
"""Value of an option of the tiny settings that doesn't go with the tested one."""

TWO_STAGES = ("fc_channels", "train_proposals", "test_proposals", "rois_per_image")
RETINANET = {"detect.head": "retinanet", **{f"detect.{name}": LEFT_OUT for name in TWO_STAGES}}
SIZES = ("train_sides", "max_side", "crop", "test_side", "test_max_side")
TILE = {"detect_images.tile": 48, **{f"detect_images.{name}": LEFT_OUT for name in SIZES}}

VALUES = {
    "balance": ["sampler"],
    "model": ["sgformer_small"],
    "epochs": [2],
    "img_size": [24, (16, 32)],
    "batch_size": [4],
    "workers": [1],
    "seed": [3],
    "val_fraction": [0.4, 0.0],
    "split_seed": [5],
    "folds": [{"folds": 3, "fold": 2}],
    "fold": [{"folds": 2, "fold": 1}],
    "init_from": ["RUN"],
    "teacher": ["RUN"],
    "model_args": [{"model_args": {"drop_path_rate": 0.2}}],
    "preprocess.crop_pct": [0.8],
    "preprocess.mean": [[0.1, 0.2, 0.3]],
    "preprocess.std": [[0.3, 0.2, 0.1]],
    "preprocess.value_range": [(0.0, 200.0)],
    "augment.scale": [(0.5, 1.0)],
    "augment.ratio": [(1.0, 1.0)],
    "augment.hflip": [0.0],
    "augment.vflip": [0.5],
    "augment.color_jitter": [{"augment.auto_augment": None, "augment.color_jitter": 0.2}],
    "augment.color_jitter_prob": [{"augment.auto_augment": None, "augment.color_jitter_prob": 0.5}],
    "augment.grayscale": [0.5],
    "augment.gaussian_blur": [0.5],
    "augment.auto_augment": [None, "augmix-m3", "3a"],
    "augment.erasing": [0.0, 1.0],
    "augment.erasing_mode": [{"augment.erasing": 1.0, "augment.erasing_mode": mode} for mode in ("rand", "const")],
    "augment.erasing_count": [{"augment.erasing": 1.0, "augment.erasing_count": 3}],
    "augment.mixup": [0.0],
    "augment.cutmix": [0.0],
    "augment.mix_prob": [0.5],
    "augment.mix_switch_prob": [{"augment.mixup": 0.8, "augment.cutmix": 1.0, "augment.mix_switch_prob": 1.0}],
    "augment.mix_off_epoch": [1],
    "augment.smoothing": [0.0],
    "detect.head": ["cascade_mask_rcnn", "cascade_rcnn", "faster_rcnn", "auto", RETINANET],
    "detect.channels": [8],
    "detect.fc_channels": [16],
    "detect.anchor_size": [8],
    "detect.train_proposals": [10],
    "detect.test_proposals": [10],
    "detect.rois_per_image": [8],
    "detect.score_threshold": [0.0],
    "detect.nms_threshold": [0.3],
    "detect.detections_per_image": [3],
    "detect.map_norm": [True, False],
    "detect.frozen_stages": [2],
    "detect_images.train_sides": [(48, 64)],
    "detect_images.max_side": [80],
    "detect_images.crop": [1.0],
    "detect_images.crop_resize": [{"detect_images.crop": 1.0, "detect_images.crop_resize": (80,)}],
    "detect_images.crop_sides": [{"detect_images.crop": 1.0, "detect_images.crop_sides": (32, 48)}],
    "detect_images.hflip": [1.0],
    "detect_images.color_jitter": [0.5],
    "detect_images.color_mix": [0.4],
    "detect_images.test_side": [None, 48],
    "detect_images.test_max_side": [64],
    "detect_images.value_range": [(0.0, 200.0)],
    "detect_images.tile": [TILE],
    "segment.head": ["upernet"],
    "segment.channels": [8],
    "segment.auxiliary": [{"segment.head": "upernet", "segment.auxiliary": False}],
    "segment.auxiliary_weight": [{"segment.head": "upernet", "segment.auxiliary_weight": 1.0}],
    "segment.map_norm": [True, False],
    "segment.frozen_stages": [2],
    "segment.class_weights": ["balanced"],
    "segment_images.reduce_zero_label": [True],
    "segment_images.label_map": ["LABELS"],
    "segment_images.short_side": [48],
    "segment_images.long_side": [96],
    "segment_images.scale": [(1.0, 1.0)],
    "segment_images.crop": [32],
    "segment_images.cat_max_ratio": [0.5],
    "segment_images.hflip": [1.0],
    "segment_images.color_mix": [0.4],
    "segment_images.value_range": [(0.0, 200.0)],
    "distill.hard": [{"teacher": "RUN", "distill.hard": True}],
    "distill.alpha": [{"teacher": "RUN", "distill.alpha": 0.9}],
    "distill.temperature": [{"teacher": "RUN", "distill.temperature": 1.0}],
    "optim.optimizer": ["sgd", "lion"],
    "optim.lr": [1e-4],
    "optim.lr_batch": [None],
    "optim.weight_decay": [0.0],
    "optim.layer_decay": [0.8],
    "optim.layer_decay_scratch": [{"optim.layer_decay": 0.8, "optim.layer_decay_scratch": False}],
    "optim.betas": [{"optim.optimizer": "adamw", "optim.betas": (0.8, 0.9)}],
    "optim.eps": [{"optim.optimizer": "adamw", "optim.eps": 1e-6}],
    "optim.momentum": [{"optim.optimizer": "sgd", "optim.momentum": 0.5}],
    "optim.optimizer_args": [{"optim.optimizer": "adamw", "optim.optimizer_args": {"amsgrad": True}}],
    "optim.schedule": ["poly", "constant", {"optim.schedule": "multistep", "optim.milestones": (1,)}],
    "optim.milestones": [{"optim.schedule": "multistep", "optim.milestones": (1,)}],
    "optim.decay_rate": [{"optim.schedule": "multistep", "optim.milestones": (1,), "optim.decay_rate": 0.5}],
    "optim.power": [{"optim.schedule": "poly", "optim.power": 2.0}],
    "optim.warmup_epochs": [0.5],
    "optim.warmup_lr": [{"optim.warmup_epochs": 0.5, "optim.warmup_lr": 1e-5}],
    "optim.min_lr": [1e-6],
    "optim.cooldown_epochs": [1],
    "optim.ema": [0.9],
    "trainer.precision": ["auto", "bf16-mixed", "64-true"],
    "trainer.accumulate_grad_batches": [2],
    "trainer.gradient_clip_val": [None],
    "trainer.start_method": [{"workers": 1, "trainer.start_method": "fork"}],
    "trainer.checkpoint_minutes": [0.001],
    "trainer.patience": [1],
    "trainer.logger": ["tensorboard"],
    "trainer.progress": ["lines"],
}
"""Other values than the default of each option; a mapping gives further options that it needs. Options of few words and
switches that are missing here take all of their other values."""


SG_FORMER = {"embed_dims": [16, 16, 16, 16], "depths": [1, 1, 1, 1], "num_heads": [2, 2, 2, 2]}
LABELS = {0: "ignore"} | {value + 2: str(value) for value in range(10)} | {1: "background"}
"""A label map of the bundled scenes."""


class Checked(Exception):  # noqa: N818
    """A training is about to start."""


def settings_of(task):
    """Return the settings to train with: mappings of dotted option names to values, by the option that they test."""
    options = Options(train)
    found = {}
    for key in options.keys:
        name = key.partition(".")[0]
        if task != "classify" and key in CLASSIFIERS_ONLY:
            continue
        if key not in ELSEWHERE and name not in other_tasks_options(task) and not options._is_group(key):
            values = VALUES.get(key) or other_values(option_type(options.hints, key), default_of(options, key, task))
            assert values, f"give VALUES[{key!r}], or say in ELSEWHERE where it is tested"
            found[key] = [value if isinstance(value, dict) else {key: value} for value in values]
    return found


def default_of(options, key, task):
    name, _, member = key.partition(".")
    own = SETTINGS[task].get(name)
    if isinstance(own, dict) and member in own:
        return own[member]
    return vars(options._parser.get_defaults().as_flat())[key]


def other_values(hint, default):
    """Return the values of a switch or of an option of few words, except the default."""
    if hint is bool:
        return [not default]
    parts = typing.get_args(hint) if typing.get_origin(hint) is not typing.Literal else [hint]
    words = [word for part in parts if typing.get_origin(part) is typing.Literal for word in typing.get_args(part)]
    return [word for word in words if word != default]


def arguments(task, settings, special):
    """Return the arguments of `train` for settings, with the values that ``special`` names."""
    values = {"model": "msg_transformer_tiny"} | {
        name: dict(own) if isinstance(own, dict) else own for name, own in SETTINGS[task].items()
    }
    for key, value in {**BASE, **settings}.items():
        name, _, member = key.partition(".")
        value = special[value] if isinstance(value, str) and value in special else value
        if value is LEFT_OUT:
            values[name].pop(member)
        elif member:
            values.setdefault(name, {})[member] = value
        else:
            values[name] = {**values.get(name, {}), **value} if isinstance(value, dict) else value
    if values["model"] == "sgformer_small":
        values["model_args"] = {**SG_FORMER, **settings.get("model_args", {})}
    return values


@pytest.fixture(scope="module")
def start(tmp_path_factory):
    """Return a function that trains with settings of a task, and returns the run folder."""
    folder = tmp_path_factory.mktemp("options")
    data = {task: make_data(task, folder / task) for task in TASK_NAMES}
    detection.write_one_json(folder / "boxes")
    data["detect"] = folder / "boxes"  # without subsets, so that it can be split
    first, numbers = {}, count()

    def start(task, settings):
        if "RUN" in settings.values() and task not in first:
            first[task] = start(task, {})
        special = {"RUN": first.get(task), "LABELS": LABELS}
        values = arguments(task, settings, special)
        return msgformer.train(data=data[task], task=task, output=folder / f"run-{next(numbers)}", **values).run

    return start


@pytest.mark.slow
@pytest.mark.parametrize("task", TASK_NAMES)
def test_each_option_alone(task, start):
    failed = {}
    for values in settings_of(task).values():
        for settings in values:
            try:
                start(task, settings)
            except Exception as error:  # all failures in one run
                failed[str(settings)] = f"{type(error).__name__}: {error}"
    assert not failed, "\n".join(f"{error} with {settings}" for settings, error in failed.items())


def merged(settings, more):
    """Return both settings together, or None if they contradict each other."""
    if any(key in settings and settings[key] != value for key, value in more.items()):
        return None
    together = {**settings, **more}
    return None if {"model", "init_from"} <= together.keys() else together  # the first run is of another model


def is_allowed(task, settings, start, monkeypatch):
    """Return whether settings pass the checks that need no data."""

    def stop(*_):
        raise Checked

    with monkeypatch.context() as patch:
        patch.setattr("msgformer.runs.fit.fit", stop)
        try:
            start(task, settings)
        except Checked:
            return True
        except UserError:
            return False
    raise AssertionError("the training ended without a start")


def covering_rows(task, start, monkeypatch):
    """Yield settings that together hold every pair of options that may be given together.

    Each begins with a pair that none before it has, and is filled with as many others as the checks allow.
    """
    choices = [(key, value) for key, values in settings_of(task).items() for value in values]
    order = random.Random(0)
    missing = {pair for pair in combinations(range(len(choices)), 2) if choices[pair[0]][0] != choices[pair[1]][0]}
    while missing:
        chosen, row = [], {}
        first = min(missing)
        others = [place for place in range(len(choices)) if place not in first]
        order.shuffle(others)
        others.sort(key=lambda place: -sum((min(place, one), max(place, one)) in missing for one in first))
        for place in (*first, *others):
            if len(chosen) == 1 and place not in first:
                break
            key, value = choices[place]
            together = None if key in {choices[one][0] for one in chosen} else merged(row, value)
            if together is not None and is_allowed(task, together, start, monkeypatch):
                chosen.append(place)
                row = together
        missing -= {first, *combinations(sorted(chosen), 2)}
        if len(chosen) > 1:
            yield row


@pytest.mark.slow
@pytest.mark.long
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("task", TASK_NAMES)
def test_all_pairs_of_options(task, start, monkeypatch):
    start(task, {"init_from": "RUN"})  # before the trainings are replaced by checks
    failed = {}
    for row in covering_rows(task, start, monkeypatch):
        try:
            start(task, row)
        except Exception as error:  # all failures in one run
            failed[str(row)] = f"{type(error).__name__}: {error}"
    assert not failed, "\n".join(f"{error} with {settings}" for settings, error in failed.items())
