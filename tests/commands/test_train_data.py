"""Training on all kinds of data, and on imbalanced data."""

import csv
import io

import datasets
import pytest
import torch
from PIL import Image

from data.tar_files import write_tar
from msgformer.checkpoints.checkpoint_file import read_training_checkpoint
from msgformer.commands.evaluate import evaluate
from msgformer.commands.train import train
from msgformer.errors import UserError

TINY = {"embed_dim": 8, "depths": [1, 1], "num_heads": [1, 2], "window_size": 2, "shuffle_sizes": [2, 2]}


def tiny_run(data, output, **settings):
    return train(
        **{
            "data": data,
            "output": output,
            "epochs": 2,
            "img_size": 16,
            "batch_size": 4,
            "workers": 0,
            "model_args": TINY,
            "optim": {"warmup_epochs": 0, "lr": 1e-3, "lr_batch": None},
            "trainer": {"accelerator": "cpu", "progress": "none"},
            **settings,
        }
    ).run


def make_image(grey):
    encoded = io.BytesIO()
    Image.new("RGB", (12, 10), (grey, grey, 255 - grey)).save(encoded, "PNG")
    return encoded.getvalue()


def weights(run):
    return read_training_checkpoint(run / "last.ckpt")["state_dict"]


@pytest.fixture
def kinds(tmp_path):
    """Store the same twelve images in two classes in all formats."""
    names = ["dark", "light"]
    images = [(names[number % 2], make_image(100 * (number % 2) + number)) for number in range(12)]
    for number, (name, content) in enumerate(images):
        path = tmp_path / "folder" / name / f"{number:02d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    in_folders = {f"{name}/{number:02d}.png": content for number, (name, content) in enumerate(images)}
    write_tar(tmp_path / "set.tar", dict(sorted(in_folders.items())))
    for shard in range(2):
        files = {}
        for number, (name, content) in enumerate(images):
            if names.index(name) == shard:
                files |= {f"{number:02d}.png": content, f"{number:02d}.cls": str(shard).encode()}
        write_tar(tmp_path / f"shards/part-{shard}.tar", files)
    (tmp_path / "shards" / "classes.txt").write_text("dark\nlight\n")
    features = datasets.Features({"image": datasets.Image(), "label": datasets.ClassLabel(names=names)})
    ordered = sorted(images, key=lambda one: one[0])
    rows = {
        "image": [{"bytes": content, "path": None} for _, content in ordered],
        "label": [names.index(name) for name, _ in ordered],
    }
    datasets.Dataset.from_dict(rows, features=features).save_to_disk(tmp_path / "stored")
    return {
        "folder": str(tmp_path / "folder"),
        "tar": f"tar:{tmp_path}/set.tar",
        "wds": f"wds:{tmp_path}/shards",
        "pattern": f"wds:{tmp_path}/shards/part-{{0..1}}.tar",
        "hfds": f"hfds:{tmp_path}/stored",
    }


def test_the_storage_format_of_images_has_no_effect(kinds, tmp_path):
    runs = {kind: tiny_run(data, tmp_path / "runs" / kind, val_fraction=0.34) for kind, data in kinds.items()}
    expected = weights(runs["folder"])
    scores = evaluate(runs["folder"], device="cpu", workers=0)
    for kind, run in runs.items():
        assert all(torch.equal(expected[name], value) for name, value in weights(run).items()), kind
        assert (run / "classes.txt").read_text() == "dark\nlight\n"
        again = evaluate(run, device="cpu", workers=0)
        assert (again.images, again.loss) == (4, pytest.approx(scores.loss)), kind


@pytest.mark.parametrize("kind", ["tar", "hfds"])
def test_a_finished_run_on_other_data_is_resumed_and_scored_on_any(kinds, tmp_path, kind):
    run = tiny_run(kinds[kind], tmp_path / "run", epochs=1, workers=1)
    assert train(resume=run).epochs == 1
    for other, data in kinds.items():
        assert evaluate(run, data, device="cpu", workers=0).images == (2 if other == kind else 12)
        assert evaluate(run, data, split="all", device="cpu", workers=0).images == 12


def test_a_run_is_named_after_its_data(kinds, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert tiny_run(kinds["tar"], None, epochs=1).as_posix() == "runs/set-1"


def test_missing_held_out_images_are_named(kinds, tmp_path):
    run = tiny_run(kinds["tar"], tmp_path / "run", epochs=1)
    with (run / "split.csv").open(newline="") as file:
        gone = next(row["name"] for row in csv.DictReader(file) if row["subset"] == "val").partition(":")[2]
    write_tar(tmp_path / "set.tar", {f"{name}/x.png": make_image(1) for name in ("dark", "light")})
    with pytest.raises(UserError, match=rf"set\.tar:{gone} was held out by the run, but is missing"):
        evaluate(run, device="cpu")


def test_a_damaged_shard_stops_a_run_before_it_begins(kinds, tmp_path):
    shard = tmp_path / "shards" / "part-1.tar"
    shard.write_bytes(shard.read_bytes()[:700])
    with pytest.raises(UserError, match=r"part-1\.tar is damaged"):
        tiny_run(kinds["wds"], tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_skewed_classes_can_be_balanced_in_two_ways(image_folder, tmp_path):
    data = image_folder(per_class=16)
    for number in range(4, 16):
        (data / "light" / f"{number:02d}.png").unlink()
    runs = [tiny_run(data, tmp_path / balance, balance=balance) for balance in ("none", "sampler", "loss")]
    first = [weights(run)["model.patch_embed.proj.weight"] for run in runs]
    assert not any(torch.equal(first[0], other) for other in first[1:])
    assert not torch.equal(first[1], first[2])
    again = tiny_run(data, tmp_path / "again", balance="sampler", workers=2)
    assert torch.equal(weights(again)["model.patch_embed.proj.weight"], first[1])
    with pytest.raises(UserError, match="resume: balance is 'sampler'"):
        train(resume=again, balance="loss")


def test_photographs_may_be_decoded_at_a_smaller_scale(tmp_path):
    for label, name in enumerate(("dark", "light")):
        (tmp_path / "photographs" / name).mkdir(parents=True)
        for number in range(4):
            image = Image.effect_noise((320, 240), 60 + 20 * label + number).convert("RGB")
            image.save(tmp_path / "photographs" / name / f"{number}.jpg")
    whole, draft = (
        tiny_run(tmp_path / "photographs", tmp_path / str(draft), epochs=1, preprocess={"draft": draft})
        for draft in (False, True)
    )
    assert not torch.equal(*(weights(run)["model.patch_embed.proj.weight"] for run in (whole, draft)))
    with (draft / "metrics.csv").open() as file:
        expected = float(next(csv.DictReader(file))["val/loss"])
    assert evaluate(draft, device="cpu", workers=0).loss == pytest.approx(expected, rel=1e-5)
