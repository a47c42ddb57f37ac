"""Bad input of every kind on the command line: one line with the name, the value and the remedy."""

from __future__ import annotations

import csv
import os
import re
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest
import torch
import yaml

from data.odd_images import READABLE, RGB, UNREADABLE
from data.tar_files import png, write_shard, write_tar
from msgformer.cli import main as cli

TINY = {"embed_dim": 8, "depths": [1, 1], "num_heads": [1, 2], "window_size": 2, "shuffle_sizes": [2, 2]}

CONFIG = {
    "model": "msg_transformer_tiny",
    "epochs": 1,
    "img_size": 16,
    "batch_size": 4,
    "workers": 0,
    "model_args": TINY,
    "optim": {"warmup_epochs": 0, "lr": 1e-3, "lr_batch": None},
    "trainer": {"accelerator": "cpu", "progress": "none"},
}
"""Options of a training that takes less than a second."""


class Row(NamedTuple):
    """A bad input.

    Attributes:
        name: What is bad, for the test's name.
        words: The command line; the place is filled in.
        message: What the one line must hold, as a regular expression.
        make: Makes the bad input in the working folder.
    """

    name: str
    words: str
    message: str
    make: Callable[[Place], object] = lambda _: None


class Place:
    """Working folder of a row: ``data`` with two classes, ``run``, and the files that the row adds."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __truediv__(self, name: str) -> Path:
        return self.folder / name

    def config(self, text: str | None = None, **values: object) -> None:
        """Write ``options.yaml``: a text, or the tiny training with other values."""
        merged = {**CONFIG, "data": "data", **values}
        (self / "options.yaml").write_text(yaml.safe_dump(merged) if text is None else text, encoding="utf-8")

    def group(self, group: str, **values: object) -> None:
        """Write ``options.yaml`` with other values in one group."""
        self.config(**{group: {**CONFIG.get(group, {}), **values}})  # type: ignore[dict-item]

    def classes(self, root: str, *names: str, count: int = 4) -> Path:
        """Create class folders with different images."""
        for label, name in enumerate(names):
            (self / root / name).mkdir(parents=True)
            for number in range(count):
                RGB.rotate(10 * number + 90 * label).save(self / root / name / f"{number}.png")
        return self / root

    def checkpoint(self, change: Callable[[dict], object]) -> None:
        """Write ``changed.ckpt``: a changed copy of the run's checkpoint."""
        stored = torch.load(self / "run/best.ckpt", weights_only=True)
        change(stored)
        torch.save(stored, self / "changed.ckpt")


class Malicious:
    """Creates a file when it is unpickled."""

    def __reduce__(self):
        return os.system, ("touch executed",)


def bad_image(place: Place, kind: str) -> None:
    name, write = UNREADABLE[kind]
    write(place / name)


def cut_file(path: Path, size: int, to: Path | None = None) -> None:
    (to or path).write_bytes(path.read_bytes()[:size])


TRAIN = "train --config options.yaml --output out"

FOLDERS = [
    Row("missing folder", "train --data dta", r"no such file or folder: .*dta; did you mean 'data'\?"),
    Row("file for a folder", "train --data data/a/0.png", r"data: .*0\.png is a file, not a folder; give the folder"),
    Row(
        "link to itself",
        "train --data loop",
        r"loop is a broken link; fix or remove it",
        lambda p: (p / "loop").symlink_to("loop"),
    ),
    Row(
        "dead link",
        "train --data link",
        r"link is a broken link; fix or remove it",
        lambda p: (p / "link").symlink_to("gone"),
    ),
    Row("empty folder", "train --data set", "no class folders in .*set: put", lambda p: (p / "set").mkdir()),
    Row("images in no class", "train --data data/a", "no class folders in .*a: it holds images directly; put"),
    Row(
        "a class beside train/",
        "train --data set",
        r"set has train/ with class folders, but no val/ or test/ with some, beside bus/; add val/, or give --data",
        lambda p: (p.classes("set/train", "a", "b"), p.classes("set/bus", "old")),
    ),
    Row(
        "equal folders in all class folders",
        "train --data set",
        r"set: a/, b/ hold no images but all the same folders \(x/, y/\); if those are the classes, move them",
        lambda p: (p.classes("set/a", "x", "y"), p.classes("set/b", "x", "y")),
    ),
    Row(
        "table without labels",
        "train --data set",
        r"labels\.csv has image, but no column label; a table of labels needs image and label",
        lambda p: (p.classes("set", "a") / "labels.csv").write_text("image\na/0.png\n"),
    ),
    Row("one class", "train --data set", r"only one class folder in .*set \('a'\)", lambda p: p.classes("set", "a")),
    Row(
        "no train",
        "train --data set",
        r"set has val/ but no train/; add it",
        lambda p: (p.classes("set/val", "a", "b"), p.classes("set/test", "a", "b")),
    ),
    Row(
        "class that only val has",
        "train --data set",
        r"class folder 'bb' in .*val is not among the known classes; did you mean 'b'",
        lambda p: (p.classes("set/train", "a", "b"), p.classes("set/val", "a", "bb")),
    ),
    Row(
        "class of one image",
        f"{TRAIN} --data set",
        r"class 'a' has 1 image\(s\).*at least 2",
        lambda p: p.classes("set", "a", "b", count=1),
    ),
    Row(
        "class name with a line break",
        "train --data set",
        r"only one class folder in .*set \('two\\nlines'\)",
        lambda p: p.classes("set", "two\nlines"),
    ),
    Row(
        "unreadable images",
        f"{TRAIN} --data set",
        r"set/a/x\.png .*not an image.*\(1 more like it\); --on_bad_image skip",
        lambda p: [(q / "x.png").write_text("no") for q in (p.classes("set", "a", "b") / "a", p / "set/b")],
    ),
    Row(
        "a class of unreadable images",
        f"{TRAIN} --data set --on-bad-image skip",
        "no image of class 'a' in all can be read",
        lambda p: [q.write_bytes(b"") for q in p.classes("set", "a", "b").glob("a/*")],
    ),
    Row("nothing to check", "check-data nowhere", "no such file or folder: .*nowhere"),
    Row("no detection set", "check-data data --task detect", r"has no annotations: neither annotations/instances_"),
]

LOCATIONS = [
    Row("unknown scheme", "train --data wsd:x", r"unknown scheme 'wsd' in 'wsd:x'; did you mean 'wds'\?"),
    Row("scheme alone", "train --data tar:", "'tar:' names no place"),
    Row("missing tar file", "train --data tar:x.tar", r"no such tar file: x\.tar"),
    Row("pattern without match", "train --data wds:x-*.tar", r"no file matches x-\*\.tar"),
    Row("folder without shards", "train --data wds:data", r"no \.tar file in folder data"),
    Row(
        "text for a tar file",
        f"{TRAIN} --data tar:x.tar",
        r"shard .*x\.tar is damaged \(.*\); copy or download it again",
        lambda p: (p / "x.tar").write_text("text" * 300),
    ),
    Row(
        "cut shard",
        f"{TRAIN} --data wds:x.tar",
        r"shard .*x\.tar is damaged \(cut off inside 'b\.png'\)",
        lambda p: cut_file(write_shard(p / "x.tar", {"a": 0, "b": 1}), 2570),
    ),
    Row(
        "compressed shard",
        f"{TRAIN} --data tar:x.tar",
        r"shard .*x\.tar is compressed; decompress it",
        lambda p: write_tar(p / "x.tar", {"a/1.png": png()}, "w:gz"),
    ),
    Row(
        "record without label",
        f"{TRAIN} --data wds:x.tar",
        r"record 'a' in shard .*x\.tar has no label",
        lambda p: write_tar(p / "x.tar", {"a.png": png()}),
    ),
    Row(
        "unreadable image in a shard",
        f"{TRAIN} --data tar:x.tar",
        r"can't read image .*x\.tar:b/1\.png \(not an image\)",
        lambda p: write_tar(
            p / "x.tar", {f"{c}/{n}.png": png(n) if n != 1 or c == "a" else b"no" for c in "ab" for n in range(4)}
        ),
    ),
    Row("no torchvision set", f"{TRAIN} --data torch:cifar10:data", r"no cifar10 in .*data \(.*\); torchvision"),
    Row(
        "unknown torchvision set",
        "train --data torch:cifr10:data",
        "unknown torchvision set 'cifr10'; did you mean 'cifar10'",
    ),
    Row("no Hugging Face set", f"{TRAIN} --data hfds:none/such", "can't open hfds:none/such"),
    Row(
        "shard that can't be fetched",
        f"{TRAIN} --data wds:http://127.0.0.1:9/x.tar",
        r"can't fetch http://127\.0\.0\.1:9/x\.tar",
    ),
]

IMAGES = [
    *(
        Row(
            f"image: {kind}",
            f"predict run {{{kind}}}",
            r"image.* .*(remove it|make it smaller)",
            lambda p, kind=kind: bad_image(p, kind),
        )
        for kind in UNREADABLE
    ),
    Row(
        "missing image",
        "predict run data/a/00.png",
        r"images: no such file or folder: data/a/00\.png; did you mean '0\.png'",
    ),
    Row(
        "folder without images",
        "predict run empty",
        "images: no image in folder empty",
        lambda p: (p / "empty").mkdir(),
    ),
    Row(
        "one bad among good",
        "predict run data",
        r"can't read image data/a/x\.png \(not an image\); replace or remove",
        lambda p: (p / "data/a/x.png").write_bytes(b"no"),
    ),
]

OPTIONS = [
    Row("unknown option", f"{TRAIN} --epoch 3", r"unknown option '--epoch'; did you mean '--epochs'\?"),
    Row("option without value", "train --epochs", "--epochs needs a value"),
    Row("wrong type", "train --epochs many", "--epochs must be int, not 'many'"),
    Row("unknown choice", "train --trainer.precision 8", "--trainer.precision must be one of auto, 32-true, .*not '8'"),
    Row("unknown model", "train --model msg_transformer_tinny", "did you mean 'msg_transformer_tiny'"),
    Row("word too many", "train tiny", "unexpected argument 'tiny'"),
    Row(
        "no recipe", "train --config embedded/digit", r"no configuration file or recipe 'embedded/digit'; did you mean"
    ),
    Row("folder for a configuration", "train --config data", "no configuration file or recipe 'data'"),
    Row("probability above one", f"{TRAIN} --augment.hflip 2", r"augment\.hflip must lie between 0 and 1, not 2"),
    Row("negative rate", f"{TRAIN} --optim.lr -1", r"optim\.lr must be at least 0, not -1"),
    Row("rate that is no number", f"{TRAIN} --optim.lr nan", r"--optim\.lr must be float, not 'nan'"),
    Row("no epochs", f"{TRAIN} --epochs 0", "epochs must be at least 1, not 0"),
    Row("no workers left", f"{TRAIN} --workers -1", "workers must be at least 0, not -1"),
    Row("nothing to train on", f"{TRAIN} --val_fraction 1", "val_fraction must lie between 0 and 1, not 1"),
    Row("no batch", "evaluate run --batch_size 0", "batch_size must be at least 1, not 0"),
    Row("no classes to name", "predict run data --top_k 0", "top_k must be at least 1, not 0"),
    Row("machine that isn't there", f"{TRAIN} --trainer.accelerator abacus", "Lightning refuses .*abacus"),
    Row("missing positional", "predict run", "arguments are required: images"),
]

FILES = [
    Row(name, TRAIN, message, lambda p, text=text: p.config(text))
    for name, text, message in (
        ("unknown key", "epoch: 3", r"options\.yaml: unknown option 'epoch'; did you mean 'epochs'\?"),
        ("unknown key in a group", "optim: {lrr: 3}", r"unknown option 'optim\.lrr'; did you mean 'optim\.lr'"),
        ("key without its group", "lr: 3", r"unknown option 'lr'; did you mean 'optim\.lr'"),
        ("value for a group", "optim: adamw", r"'optim' is a group of options \(.*\), not 'adamw'"),
        ("word for a number", "epochs: many", "epochs must be int, not 'many'"),
        ("list for a number", "epochs: [1]", r"epochs must be int, not '\[1\]'"),
        ("number for a switch", "augment: {enabled: 7}", r"augment\.enabled must be true or false, not '7'"),
        ("unknown choice in a file", "balance: all", "balance must be one of none, sampler, loss, not 'all'"),
        ("list too short", "augment: {scale: [0.5]}", r"augment\.scale must be tuple.*\[0\.5\]"),
        ("key twice", "epochs: 3\nepochs: 4", "line 2: 'epochs' is given twice"),
        ("no mapping", "- epochs", r"must hold options \('name: value'\), not list"),
        ("no YAML", "epochs: [", r"options\.yaml, line"),
        ("a tab", "optim:\n\tlr: 3", r"options\.yaml, line 2"),
        (
            "Python in YAML",
            "model: !!python/object/apply:os.system ['touch executed']",
            r"options\.yaml, line 1: could not determine",
        ),
        (
            "class path for a group",
            "optim: {class_path: os.system, init_args: {command: touch executed}}",
            r"unknown option 'optim\.class_path'",
        ),
        ("class path for a word", "model: {class_path: os.system}", "model must be str, not"),
        ("class path for a path", "data: {class_path: os.system}", r"unknown option .data\.class_path"),
        ("class path for a number", "epochs: {class_path: os.system}", "epochs must be int, not"),
        ("configuration in a configuration", "config: other.yaml", "unknown option 'config'"),
    )
]

COMBINATIONS = [
    Row(name, TRAIN, message, lambda p, values=values: p.config(**values))
    for name, values, message in (
        ("rate that is NaN", {"optim": {"lr": float("nan")}}, r"optim\.lr must be at least 0, not nan"),
        ("odd batch to mix", {"batch_size": 3}, "batch_size must be even for mixup and cutmix, not 3"),
        (
            "warm-up beyond the end",
            {"optim": {"warmup_epochs": 9}},
            r"optim\.warmup_epochs is 9, but epochs is 1; give fewer",
        ),
        (
            "class path for the model",
            {"model_args": {"class_path": "os.system", "init_args": {"command": "touch executed"}}},
            "takes no 'class_path'",
        ),
        (
            "unknown model argument",
            {"model_args": {"embed_dims": 8}},
            "takes no 'embed_dims'; did you mean 'embed_dim'",
        ),
        ("classes as a model argument", {"model_args": {"num_classes": 3}}, "num_classes can't be given here"),
        (
            "heads that don't divide",
            {"model_args": {**TINY, "num_heads": [3, 3]}},
            r"can't be built with model_args .*: 8 channels are not divisible by 3 heads",
        ),
        ("two channels", {"model_args": {**TINY, "in_chans": 2}}, r"model_args\.in_chans must be 1 \(gr[ae]y\) or 3"),
        (
            "unknown optimizer",
            {"optim": {"optimizer": "adamv", "warmup_epochs": 0}},
            r"optim\.optimizer.*'adamv'; did you mean 'adam",
        ),
        (
            "unknown policy",
            {"augment": {"auto_augment": "rnd-m9"}},
            r"augment\.auto_augment: timm doesn't understand 'rnd-m9'",
        ),
        ("means of another number", {"preprocess": {"mean": [0.5]}}, r"preprocess\.mean needs 3 number\(s\)"),
        ("deviation of nothing", {"preprocess": {"std": [0.0, 1.0, 1.0]}}, r"preprocess\.std must be above 0, not 0"),
        ("crop that descends", {"augment": {"scale": [0.9, 0.1]}}, r"augment\.scale must ascend, not be 0\.9 and 0\.1"),
        ("average of nothing", {"optim": {"ema": 1.0, "warmup_epochs": 0}}, r"optim\.ema must lie between 0 and 1"),
        (
            "more devices than there are",
            {"trainer": {"accelerator": "gpu", "devices": 99}},
            "Lightning refuses these settings",
        ),
        (
            "unknown strategy",
            {"trainer": {"accelerator": "cpu", "strategy": "together"}},
            "Lightning refuses these settings.*together",
        ),
        ("weights that aren't offered", {"pretrained": True}, "pretrained"),
    )
]


def change_card(place: Place, **values: object) -> None:
    place.checkpoint(lambda stored: stored["msgformer"].update(values))


def malicious(path: Path) -> None:
    torch.save({"state_dict": {"x": torch.zeros(1)}, "msgformer": Malicious()}, path)


def zipped(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("hello.txt", "no checkpoint")


CHECKPOINTS = [
    Row("missing checkpoint", "evaluate rum", r"model: no such file or folder: rum; did you mean 'run'\?"),
    Row("folder without checkpoint", "evaluate data", r"model: no best\.ckpt or last\.ckpt in data"),
    Row(
        "empty checkpoint",
        "evaluate x.ckpt",
        r"model: x\.ckpt is empty; copy or download",
        lambda p: (p / "x.ckpt").touch(),
    ),
    Row(
        "web page as .pth",
        "evaluate x.pth",
        r"x\.pth is a web page, not a checkpoint; download the file itself",
        lambda p: (p / "x.pth").write_text("<!DOCTYPE html><html>"),
    ),
    Row(
        "text as a checkpoint",
        "evaluate x.ckpt",
        r"x\.ckpt is not a checkpoint of msgformer",
        lambda p: (p / "x.ckpt").write_text("hello"),
    ),
    Row(
        "another zip file",
        "evaluate x.ckpt",
        r"x\.ckpt .*can't be read|x\.ckpt is damaged",
        lambda p: zipped(p / "x.ckpt"),
    ),
    Row(
        "cut checkpoint",
        "evaluate x.ckpt",
        r"x\.ckpt .*(can't be read|damaged|cut)",
        lambda p: cut_file(p / "run/best.ckpt", 9999, p / "x.ckpt"),
    ),
    Row(
        "malicious pickle",
        "evaluate x.ckpt",
        r"x\.ckpt can't be read as a checkpoint: it holds Python objects, which are not loaded",
        lambda p: malicious(p / "x.ckpt"),
    ),
    Row(
        "checkpoint of something else",
        "evaluate x.ckpt",
        r"x\.ckpt holds no model card of msgformer; give",
        lambda p: torch.save({"state_dict": {}}, p / "x.ckpt"),
    ),
    Row(
        "list as a checkpoint",
        "evaluate x.ckpt",
        r"x\.ckpt holds no model card",
        lambda p: torch.save([1, 2], p / "x.ckpt"),
    ),
    Row(
        "unknown model in a checkpoint",
        "evaluate changed.ckpt",
        r"unknown model 'msg_transformer_huge'",
        lambda p: change_card(p, model="msg_transformer_huge"),
    ),
    Row(
        "another model's weights",
        "evaluate changed.ckpt",
        r"changed\.ckpt.*don't fit",
        lambda p: change_card(p, model_args={**TINY, "embed_dim": 16}),
    ),
    Row(
        "other classes than the weights",
        "evaluate changed.ckpt",
        r"changed\.ckpt.*don't fit",
        lambda p: change_card(p, classes=["a", "b", "c"]),
    ),
    Row(
        "card of another version",
        "evaluate changed.ckpt",
        r"changed\.ckpt was written by another version",
        lambda p: change_card(p, color="blue"),
    ),
    Row(
        "data of other classes",
        "evaluate run --data set",
        r"class folder 'aa' in .*set is not among the known classes; did you mean 'a'",
        lambda p: p.classes("set", "aa", "b"),
    ),
    Row(
        "data that is gone",
        "evaluate run",
        r"the run's data: no such file or folder: .*data",
        lambda p: shutil.rmtree(p / "data"),
    ),
    Row(
        "official checkpoint that is a web page",
        "convert x.pth y.safetensors",
        r"x\.pth.*(web page|HTML)",
        lambda p: (p / "x.pth").write_text("<!DOCTYPE html><html>"),
    ),
    Row(
        "official checkpoint that is cut",
        "convert x.pth y.safetensors",
        r"x\.pth",
        lambda p: cut_file(p / "run/best.ckpt", 9999, p / "x.pth"),
    ),
    Row(
        "official checkpoint of something else",
        "convert x.pth y.safetensors",
        r"x\.pth.* fits no model of this package",
        lambda p: torch.save({"model": {"x": torch.zeros(1)}}, p / "x.pth"),
    ),
    Row("output of another kind", "convert run/best.ckpt y.pth", r"output 'y\.pth' has to end with \.safetensors"),
]


def edit_config(place: Place, **values: object) -> None:
    path = place / "run/config.yaml"
    path.write_text(yaml.safe_dump({**yaml.safe_load(path.read_text()), **values}))


RESUME = [
    Row("nothing to resume", "train --resume rum", r"resume: no such file or folder: rum; did you mean 'run'\?"),
    Row("folder that is no run", "train --resume data", r"resume: data has no config\.yaml"),
    Row("file for a run", "train --resume run/last.ckpt", r"resume: run/last\.ckpt is a file; give the run folder"),
    Row(
        "other rate",
        "train --resume run --optim.lr 0.5",
        r"resume: optim\.lr is 0\.001 in run/config\.yaml, not 0\.5; a resumed run has the settings",
    ),
    Row(
        "other data",
        "train --resume run --data set",
        r"resume: data is '.*data' in run/config\.yaml, not '.*set'",
        lambda p: p.classes("set", "a", "b"),
    ),
    Row(
        "other treatment of bad images",
        "train --resume run --on-bad-image skip",
        "resume: on_bad_image is 'stop' in .*, not 'skip'",
    ),
    Row(
        "configuration with a mistake",
        "train --resume run",
        "unknown option 'epoch'",
        lambda p: edit_config(p, epoch=3),
    ),
    Row(
        "data with a new image",
        "train --resume run",
        r"resume: the run's (train|val) images have changed.*is new",
        lambda p: RGB.save(p / "data/a/zzz.png"),
    ),
    Row(
        "data without an image",
        "train --resume run",
        r"resume: the run's (train|val) images have changed.*is gone",
        lambda p: (p / "data/a/0.png").unlink(),
    ),
    Row(
        "last checkpoint as a web page",
        "train --resume run",
        r"(last\.ckpt|resume)",
        lambda p: [q.write_text("<html>") for q in p.folder.glob("run/*.ckpt")],
    ),
]

OUTPUTS = [
    Row(
        "folder that isn't empty",
        "train --config options.yaml --output data",
        r"output: data isn't empty; give another folder, or --resume data",
    ),
    Row(
        "file for a folder to write to",
        "train --config options.yaml --output options.yaml",
        r"output: options\.yaml is a file, not a folder",
    ),
    Row(
        "file in the way",
        "train --config options.yaml --output options.yaml/run",
        r"output: can't create options\.yaml/run \(Not a directory\); give another",
    ),
    Row(
        "place that can't be written to",
        "train --config options.yaml --output /proc/run",
        r"output: can't create /proc/run \(.*\); give another",
    ),
    Row(
        "model file in no folder",
        "convert run/best.ckpt none/y.safetensors",
        r"output: there is no folder none; create it first",
    ),
]

ROWS = [*FOLDERS, *LOCATIONS, *IMAGES, *OPTIONS, *FILES, *COMBINATIONS, *CHECKPOINTS, *RESUME, *OUTPUTS]


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> Path:
    """A folder with data and a run."""
    place = Place(tmp_path_factory.mktemp("trained"))
    place.classes("data", "a", "b", count=5)
    place.config(data=str(place / "data"))
    assert cli.main(["train", "--config", str(place / "options.yaml"), "--output", str(place / "run")]) == 0
    return place.folder


@pytest.fixture
def place(trained, tmp_path, monkeypatch) -> Place:
    """Copy the folder; the run is adapted to the data in the copy."""
    folder = tmp_path / "place"
    shutil.copytree(trained, folder)
    monkeypatch.chdir(folder)
    monkeypatch.setenv("MSGFORMER_CACHE", str(folder / "cache"))
    place = Place(folder)
    place.config()
    edit_config(place, data=str(folder / "data"))
    stored = torch.load("run/best.ckpt", weights_only=True)
    stored["msgformer"]["data"]["path"] = str(folder / "data")
    torch.save(stored, "run/best.ckpt")
    return place


def words_of(row: Row) -> list[str]:
    """Return the command line with kinds of images in braces replaced by file names."""
    words = re.split(r" (?![^{]*\})", row.words)
    return [UNREADABLE[word[1:-1]][0] if word.startswith("{") and word[1:-1] in UNREADABLE else word for word in words]


@pytest.mark.parametrize("row", ROWS, ids=[row.name for row in ROWS])
def test_bad_input_is_reported_in_one_line(place, capfd, row):
    row.make(place)
    capfd.readouterr()
    status = cli.main(words_of(row))
    captured = capfd.readouterr()
    assert status == 2, captured
    assert captured.out == ""
    lines = captured.err.removesuffix("\n").split("\n")
    assert lines[-1].startswith("msgformer: error: ")
    assert re.search(row.message, lines[-1])
    assert len(lines) == 1, lines
    assert not (place / "executed").exists()
    assert not (place / "out").exists(), "nothing is begun"


@pytest.mark.parametrize("kind", READABLE)
def test_unusual_images_are_used(place, capfd, kind):
    name, write = READABLE[kind]
    write(place / name)
    assert cli.main(["predict", "run", name, "--top_k", "1"]) == 0
    out = capfd.readouterr().out
    assert out.startswith(name.replace("\n", "\\n"))
    assert len(out.splitlines()) == 1


@pytest.mark.parametrize("name", ["missing folder", "word for a number", "malicious pickle"])
def test_bad_input_is_reported_in_one_line_in_a_separate_process(place, name):
    row = next(row for row in ROWS if row.name == name)
    row.make(place)
    done = subprocess.run(
        [sys.executable, "-m", "msgformer", *words_of(row)], capture_output=True, text=True, timeout=120
    )
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
    assert re.search(f"^msgformer: error: .*{row.message}", done.stderr)
    assert not (place / "executed").exists()


def test_bad_images_can_be_skipped_and_are_listed(place, capfd):
    for kind in UNREADABLE:
        bad_image(Place(place / "data/a"), kind)
    assert cli.main(f"{TRAIN} --on-bad-image skip".split()) == 0
    assert f"{len(UNREADABLE)} image(s) that can't be read, listed in the run's skipped.csv" in capfd.readouterr().err
    with (place / "out/skipped.csv").open(newline="") as file:
        assert {row["name"] for row in csv.DictReader(file)} == {f"a/{name}" for name, _ in UNREADABLE.values()}


def test_unusual_names_do_not_break_lines(place, capfd):
    odd = ["two\nlines", "ünï cödé", " spaces "]
    place.classes("odd", *odd)
    RGB.save(place / "odd" / odd[0] / "line\nbreak.png")
    assert cli.main([*TRAIN.split(), "--data", "odd"]) == 0
    assert (place / "out/classes.txt").read_text().splitlines() == [" spaces ", "two\\nlines", "ünï cödé"]
    assert cli.main(["evaluate", "out"]) == 0
    capfd.readouterr()
    assert cli.main(["predict", "out", f"odd/{odd[0]}", "--top_k", "3"]) == 0
    assert len(capfd.readouterr().out.splitlines()) == 5


def test_images_in_both_subsets_are_warned_about(place, capfd):
    for subset in ("train", "val"):
        place.classes(f"set/{subset}", "a", "b", count=2)
    assert cli.main(["check-data", "set"]) == 0
    out = capfd.readouterr().out
    assert re.search(
        r"^warning: in both subsets \(4\).*\n  val/a/0\.png: the same bytes as train/a/0\.png in train",
        out,
        re.MULTILINE,
    )
    assert out.splitlines()[-1].endswith("set: 4 warning(s)")


def test_there_are_enough_rows():
    assert len({row.name for row in ROWS}) == len(ROWS) >= 60
