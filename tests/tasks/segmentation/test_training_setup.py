import pytest
import yaml

import msgformer
from msgformer.checkpoints.card import ModelCard
from msgformer.errors import UserError
from real_data import segmentation
from tasks.tiny_runs import SETTINGS

BINARY = {0: "background", 255: "object"}


@pytest.fixture
def start(tmp_path):
    """Return a function that trains on data for an epoch, and returns the run folder."""

    def start(data, **images):
        options = {**SETTINGS["segment"], "epochs": 1, "workers": 0, "report": False}
        options["segment_images"] = {**options["segment_images"], **images}
        options["trainer"] = {"accelerator": "cpu", "progress": "none"}
        options["optim"] = {"warmup_epochs": 0, "lr": 1e-3, "lr_batch": None}
        return msgformer.train("msg_transformer_tiny", data, task="segment", output=tmp_path / "run", **options).run

    return start


def test_binary_masks_are_refused_with_the_option_that_reads_them(start, tmp_path):
    segmentation.write_label_map(tmp_path / "data")
    with pytest.raises(UserError, match=r"label_map '\{0: background, 255: object\}'"):
        start(tmp_path / "data")
    run = start(tmp_path / "data", label_map=BINARY)
    assert yaml.safe_load((run / "config.yaml").read_text())["segment_images"]["label_map"] == {
        "0": "background",
        "255": "object",
    }
    found = msgformer.evaluate(run, device="cpu", workers=0)
    again = msgformer.evaluate(run, tmp_path / "data", device="cpu", workers=0)
    assert found.scores == again.scores
    assert [*found.per_class] == ["background", "object"]
    model = msgformer.load(run, device="cpu")
    assert isinstance(model.card, ModelCard)
    assert len(model.explain(next((tmp_path / "data").rglob("*.jpg")), output=tmp_path / "page").images) == 1


def test_a_label_map_names_the_classes_without_a_file(start, tmp_path):
    segmentation.write(tmp_path / "data", segmentation.colored, classes=None)
    colors = {"0, 0, 0": "background", "128, 0, 0": "disk", "#008000": "ignore"}
    with pytest.raises(UserError, match=r"has no classes\.txt"):
        start(tmp_path / "data")
    run = start(tmp_path / "data", label_map=colors)
    assert (run / "classes.txt").read_text().split() == ["background", "disk"]
    assert msgformer.train(resume=run, epochs=1).run == run
