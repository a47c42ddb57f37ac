import csv
import json

import numpy as np
import pytest
import torch
import yaml
from PIL import Image

from commands.tiny import assert_same_run, rows, tiny_run
from commands.tiny_dense import BACKBONE, DETECT, IMAGES, tiny_dense_run, write_scenes
from data.dense_folders import coco_content, write_ade20k, write_coco, write_voc
from msgformer.cli import main as cli
from msgformer.commands.evaluate import evaluate
from msgformer.commands.predict import predict
from msgformer.commands.train import resolve_config, train
from msgformer.errors import UserError
from msgformer.tasks import get_task
from msgformer.tasks.opened_model import load_model

TASKS = ("detect", "segment")


@pytest.fixture(scope="module", params=TASKS)
def finished(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp(request.param)
    data = write_scenes(request.param, folder / "data")
    return request.param, data, tiny_dense_run(request.param, data, folder / "run")


def test_a_run_writes_the_files_of_every_run(finished):
    task, data, result = finished
    assert (result.task, result.epochs) == (task, 2)
    names = {path.name for path in result.run.iterdir()}
    assert {"config.yaml", "classes.txt", "split.csv", "metrics.csv", "best.ckpt", "last.ckpt"} <= names
    with (result.run / "metrics.csv").open() as file:
        rows = list(csv.DictReader(file))
    score = "val/box_ap" if task == "detect" else "val/miou"
    best = max(float(row[score]) for row in rows)
    assert result.scores[score.removeprefix("val/")] == pytest.approx(best, abs=1e-5)
    assert f"train/loss_{'mask' if task == 'detect' else 'seg'}" in rows[0] or task == "segment"
    with (result.run / "split.csv").open() as file:
        split = [(row["subset"], row["name"]) for row in csv.DictReader(file)]
    assert len(split) == 9
    assert all((data / name).is_file() for _, name in split)
    assert "best epoch" in result.table()


def test_the_checkpoint_records_how_to_create_the_model(finished):
    task, _, result = finished
    model, card = load_model(result.checkpoint)
    assert (card.task, len(card.classes)) == (task, 10 if task == "detect" else 11)
    with torch.no_grad():
        if task == "detect":
            assert set(model([torch.rand(3, 70, 90)])[0]) == {"boxes", "labels", "scores", "masks"}
        else:
            assert model(torch.rand(1, 3, 70, 90)).shape == (1, 11, 70, 90)


def test_its_configuration_repeats_a_run(finished, tmp_path):
    _, _, result = finished
    again = train(config=result.run / "config.yaml", output=tmp_path / "again")
    assert_same_run(again.run, result.run)


def test_a_resumed_run_ends_as_the_uninterrupted_one(finished, tmp_path):
    task, data, result = finished

    class StopError(Exception):
        pass

    from msgformer.training.run_files import RunFiles

    original = RunFiles.on_train_epoch_end

    def stop(self, trainer, module):
        original(self, trainer, module)
        if len(self.rows) == 1:
            raise StopError

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(RunFiles, "on_train_epoch_end", stop)
        with pytest.raises(StopError):
            tiny_dense_run(task, data, tmp_path / "run")
    resumed = train(resume=tmp_path / "run", workers=1)
    assert_same_run(resumed.run, result.run)


@pytest.mark.parametrize("task", TASKS)
def test_bundled_scenes_from_the_command_line(task, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MSGFORMER_CACHE", str(tmp_path / "cache"))
    counts = get_task(task).scenes
    name = f"scenes-{task}-{counts['train']}-{counts['val']}-seed0"
    scenes = write_scenes(task, tmp_path / "cache" / name, 4, 2)
    (scenes / "labels.json").unlink(missing_ok=True)  # as earlier versions left them
    options = ["--epochs", "1", "--batch_size", "2", "--workers", "0", "--trainer.accelerator", "cpu", "--json"]
    assert cli.main(["train", "--task", task, *options]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["task"], told["run"]) == (task, "runs/scenes-1")
    assert set(told["scores"]) >= ({"box_ap", "mask_ap"} if task == "detect" else {"miou", "pixel_accuracy"})
    config = yaml.safe_load((tmp_path / "runs/scenes-1/config.yaml").read_text())
    assert (config["task"], config["data"]) == (task, None)


def write_squares(root):
    """Bright squares on noise with masks of 0 (background) and 1 (object)."""
    generator = np.random.default_rng(0)
    for subset, count in (("training", 8), ("validation", 2)):
        for kind in ("images", "annotations"):
            (root / kind / subset).mkdir(parents=True)
        for number in range(count):
            pixels = generator.integers(0, 60, (64, 64, 3), dtype=np.uint8)
            mask = np.zeros((64, 64), np.uint8)
            top, left = generator.integers(0, 32, 2)
            mask[top : top + 32, left : left + 32] = 1
            pixels[mask == 1] += 190
            Image.fromarray(pixels).save(root / "images" / subset / f"{number}.png")
            Image.fromarray(mask).save(root / "annotations" / subset / f"{number}.png")
    (root / "classes.txt").write_text("background\nobject\n")
    return root


def test_masks_of_zero_and_one_are_trained_as_they_are_labeled(tmp_path):
    data = write_squares(tmp_path / "data")
    images = {"short_side": 64, "long_side": 64, "crop": 64, "photometric": False}
    optim = {"warmup_epochs": 0, "lr": 5e-3, "lr_batch": None}
    settings = {"epochs": 8, "batch_size": 4, "segment_images": images, "optim": optim, "report": False}
    run = tiny_dense_run("segment", data, tmp_path / "run", **settings).run
    config = run / "config.yaml"
    assert yaml.safe_load(config.read_text())["segment_images"]["reduce_zero_label"] is False
    card = load_model(run / "best.ckpt")[1]
    assert (card.classes, card.preprocessing["reduce_zero_label"]) == (["background", "object"], False)

    scores = evaluate(run, workers=0, device="cpu", progress="none").per_class
    assert min(scores[name]["iou"] for name in ("background", "object")) > 70
    predict(run, [data / "images/validation/1.png"], output=tmp_path / "drawn", device="cpu")
    predicted = np.asarray(Image.open(tmp_path / "drawn/0001-1-classes.png"))
    expected = np.asarray(Image.open(data / "annotations/validation/1.png"))
    assert (predicted == expected)[expected == 1].mean() > 0.8

    whole = rows(run)
    config.write_text(config.read_text().replace("reduce_zero_label: false", "reduce_zero_label: auto"))
    (run / "previous.ckpt").replace(run / "last.ckpt")
    train(resume=run)
    assert rows(run) == whole
    assert load_model(run / "best.ckpt")[1].preprocessing["reduce_zero_label"] is False


def test_runs_of_other_tasks_may_hold_the_former_default(image_folder, tmp_path):
    """Each run's config.yaml holds the options of every task."""
    run = tiny_run(image_folder(), tmp_path / "run", epochs=1, segment_images={"reduce_zero_label": True}).run
    assert yaml.safe_load((run / "config.yaml").read_text())["segment_images"]["reduce_zero_label"] is True
    assert train(resume=run).epochs == 1
    more = {"reduce_zero_label": True, "crop": 32}
    with pytest.raises(UserError, match=r"segment_images\.crop is for --task segment"):
        tiny_run(tmp_path / "data", tmp_path / "more", segment_images=more)


def test_each_task_has_recipes_and_milestones_move_with_the_end():
    assert resolve_config({"task": "detect"})[0] == "embedded/detect"
    assert resolve_config({"task": "segment", "data": "folder"})[0] == "segment"
    values = resolve_config({"config": "coco/mask_rcnn_sgformer_small_1x", "epochs": 6})[1]
    assert values["optim"]["milestones"] == [4, 6]
    with pytest.raises(UserError, match="embedded/digits is for --task classify, not for detect"):
        resolve_config({"config": "embedded/digits", "task": "detect"})


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"augment": {"mixup": 0.1}}, r"augment\.mixup is for --task classify, not for detect"),
        ({"img_size": 64}, "img_size is for --task classify"),
        ({"balance": "loss"}, "balance: loss is for --task classify, not for .*; give sampler or none"),
        ({"segment": {"channels": 8}}, r"segment\.channels is for --task segment"),
        ({"data": "tar:x.tar"}, "--task detect reads folders, not tar:x.tar"),
        ({"model_args": {"depth": 3}}, "takes no 'depth' as a backbone"),
        ({"model": "vit_tiny_patch16_224", "model_args": {}}, "needs a model with four maps of stride"),
        ({"detect": {**DETECT, "frozen_stages": 9}}, "frozen_stages=9 is not possible"),
    ],
)
def test_settings_that_do_not_fit_the_task_are_refused(settings, message, tmp_path):
    data = write_coco(tmp_path / "data")
    with pytest.raises(UserError, match=message):
        tiny_dense_run("detect", settings.pop("data", data), tmp_path / "run", **settings)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("task", "make", "message"),
    [
        ("detect", lambda root: root.mkdir(), "has no annotations: neither"),
        ("detect", write_ade20k, "has no annotations: neither"),
        ("segment", write_coco, "no train images and label maps"),
        ("detect", lambda root: write_coco(root, {**coco_content(), "annotations": []}), "'annotations' is empty"),
        ("detect", write_voc, "boxes but no masks, which this detector needs"),
    ],
)
def test_data_that_does_not_fit_the_task_is_refused(task, make, message, tmp_path):
    make(tmp_path / "data")
    with pytest.raises(UserError, match=message):
        tiny_dense_run(task, tmp_path / "data", tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_voc_folders_train_detectors_without_masks(tmp_path):
    detect = {**DETECT, "head": "faster_rcnn"}
    data = write_voc(tmp_path / "voc")
    with pytest.raises(UserError, match="val: no image has an object to train on or to score"):
        tiny_dense_run("detect", data, tmp_path / "run", detect=detect, epochs=1)
    (data / "ImageSets" / "Main" / "val.txt").write_text("b\nc\n")
    result = tiny_dense_run("detect", data, tmp_path / "run", detect=detect, epochs=1)
    assert set(result.scores) == {"box_ap", "box_ap50", "box_ap75"}


@pytest.mark.parametrize("task", ["detect", "segment"])
def test_a_decay_by_layer_is_refused(task, tmp_path):
    data = write_scenes(task, tmp_path / "data", 4, 2)
    with pytest.raises(UserError, match=f"optim.layer_decay has no effect with --task {task}; leave it out"):
        tiny_dense_run(task, data, tmp_path / "run", optim={"layer_decay": 0.8})


@pytest.mark.slow
def test_two_processes_count_every_validation_image_once(tmp_path, run_msgformer):
    """The scores of two processes equal those of one process with the same weights."""
    data = write_scenes("detect", tmp_path / "data", 8, 5)
    config = {"model_args": BACKBONE, "detect": DETECT, "detect_images": {**IMAGES["detect"], "test_side": 128}}
    settings = {
        **{"task": "detect", "data": str(data), "epochs": 1, "batch_size": 2, "workers": 0, "output": "run", **config},
        "optim": {"warmup_epochs": 0, "lr": 0.002, "lr_batch": None},
        "trainer": {"accelerator": "cpu", "devices": 2, "strategy": "ddp"},
    }
    (tmp_path / "ddp.yaml").write_text(yaml.safe_dump(settings))
    done = run_msgformer("train", "--config", "ddp.yaml", "--json")
    assert done.returncode == 0, done.stderr
    scores = json.loads(done.stdout)["scores"]
    alone = evaluate(tmp_path / "run", workers=0, device="cpu", progress="none")
    assert alone.images == 5
    for name, value in scores.items():
        assert alone.scores[name] == pytest.approx(value, abs=1e-3)


@pytest.mark.slow
@pytest.mark.long
@pytest.mark.timeout(2400)
@pytest.mark.parametrize(("task", "score", "least"), [("detect", "box_ap", 30.0), ("segment", "miou", 60.0)])
def test_the_bundled_scenes_are_learned(task, score, least, run_msgformer):
    done = run_msgformer("train", "--task", task, "--json", timeout=2400)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["scores"][score] >= least


@pytest.mark.slow
@pytest.mark.parametrize("task", TASKS)
def test_another_backbone_takes_the_same_recipe(task, tmp_path):
    """A ResNet-18 with the same settings, as a control."""
    data = write_scenes(task, tmp_path / "data", 8, 2)
    trainer = {"accelerator": "cpu", "progress": "none"}
    result = train(
        task=task,
        model="resnet18",
        data=data,
        config=f"embedded/{task}",
        epochs=1,
        trainer=trainer,
        workers=0,
        output=tmp_path / "run",
    )
    assert result.epochs == 1


@pytest.mark.parametrize("task", ["detect", "segment"])
def test_images_are_drawn_by_their_rarest_class(task, tmp_path):
    scenes = write_scenes(task, tmp_path / "scenes")
    assert tiny_dense_run(task, scenes, tmp_path / "run", epochs=1, balance="sampler").run.is_dir()
