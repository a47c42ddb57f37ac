import pytest

import msgformer
from msgformer.data.loading.split import read_split
from msgformer.errors import UserError
from real_data import detection
from tasks.tiny_runs import SETTINGS


@pytest.fixture
def start(tmp_path):
    """Return a function that trains on data for an epoch, and returns the run folder."""

    def start(data, head="auto", **settings):
        detect = {**SETTINGS["detect"]["detect"], "head": head}
        options = {**SETTINGS["detect"], "detect": detect, "epochs": 1, "workers": 0, "report": False}
        options["trainer"] = {"accelerator": "cpu", "progress": "none"}
        options["optim"] = {"warmup_epochs": 0, "lr": 1e-3, "lr_batch": None}
        options |= {"task": "detect", "output": tmp_path / "run", **settings}
        return msgformer.train("msg_transformer_tiny", data, **options).run

    return start


def without_masks_in_val(subset, content):
    for one in content["annotations"] if subset == "val" else ():
        del one["segmentation"]


@pytest.mark.parametrize(("keys", "head"), [([], "mask_rcnn"), (["segmentation"], "faster_rcnn")])
def test_the_head_fits_the_data(start, tmp_path, capfd, keys, head):
    detection.without(*keys)(tmp_path / "data")
    run = start(tmp_path / "data")
    assert f"head: {head}" in (run / "config.yaml").read_text()
    assert ("no masks, so that detect.head is faster_rcnn" in capfd.readouterr().err) == bool(keys)


def test_a_mask_head_needs_masks(start, tmp_path):
    detection.without("segmentation")(tmp_path / "data")
    with pytest.raises(UserError, match="has boxes but no masks"):
        start(tmp_path / "data", "mask_rcnn")


def test_a_box_head_never_looks_at_masks(start, tmp_path):
    detection.changed("train", segmentation={"size": [3, 3], "counts": "?"})(tmp_path / "data")
    with pytest.raises(UserError, match="RLE"):
        start(tmp_path / "data", "mask_rcnn")
    assert start(tmp_path / "data", "faster_rcnn").is_dir()


def test_a_data_set_without_subsets_is_split_and_the_split_is_recorded(start, tmp_path):
    detection.write_one_json(tmp_path / "data")
    run = start(tmp_path / "data", val_fraction=0.3)
    held_out = read_split(run, "val")
    assert (len(held_out), len(read_split(run, "train"))) == (3, 7)
    assert msgformer.evaluate(run, device="cpu", workers=0).images == 3
    (tmp_path / "data" / held_out[0]).unlink()
    with pytest.raises(UserError, match="no such image file"):
        msgformer.evaluate(run, device="cpu", workers=0)


def test_the_split_depends_on_the_seed(start, tmp_path):
    detection.write_one_json(tmp_path / "data")
    first = read_split(start(tmp_path / "data"), "val")
    second = read_split(start(tmp_path / "data", output=tmp_path / "again"), "val")
    other = read_split(start(tmp_path / "data", output=tmp_path / "other", seed=1), "val")
    assert first == second != other


def test_masks_are_not_scored_on_validation_images_without_any(start, tmp_path, capfd):
    detection.write_coco(tmp_path / "data", without_masks_in_val)
    run = start(tmp_path / "data")
    assert "mask_ap" not in (run / "metrics.csv").read_text()
    result = msgformer.evaluate(run, device="cpu", workers=0)
    assert "only boxes are scored" in capfd.readouterr().err
    assert result.scores["box_ap"] is not None
