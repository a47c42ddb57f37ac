import pytest

from msgformer.runs.report_sections import duration, environment_section, learning_section, throughput_section
from msgformer.visual.page import Figure, Table

ROW = {
    "step": 4,
    "lr": 1e-3,
    "train/loss": 2.0,
    "val/loss": 1.0,
    "val/top1": 50.0,
    "val/ema_top1": 40.0,
    "val/miou": 3.0,
    "seconds": 4.0,
}
START = {
    "time": "2026-01-01T00:00:00+00:00",
    "code": {"version": "0.1.0", "commit": None, "changed": True, "sha256": "f0"},
    "python": "3.11.7",
    "packages": {"torch": "2.11.0"},
    "machine": {"os": "Linux", "gpus": ["H200", "H200"]},
    "data": {
        "path": None,
        "train": {"images": 5, "classes": {"a": 2, "b": 3}, "sha256": "aa"},
        "val": {"images": 2, "classes": {"a": 1, "b": 1}, "sha256": "bb"},
    },
}


def rows(section, caption):
    return next(block.rows for block in section.blocks if isinstance(block, Table) and block.caption == caption)


def test_metrics_of_one_kind_share_a_panel():
    section = learning_section([{"epoch": 1, **ROW}, {"epoch": 2, **ROW}], best=2, facts=[("Model", "tiny")])
    curves, rate = (block for block in section.blocks if isinstance(block, Figure))
    assert curves.alt.startswith("Loss and Accuracy in % and Mean IoU in % by epoch")
    assert all(name in curves.plot.svg for name in ("val/ema_top1", "val/miou"))
    assert "seconds" not in curves.plot.svg
    assert rate.plot.name == "learning_rate"
    assert rows(section, "Run") == [("Model", "tiny")]
    assert rows(section, "Metrics by epoch")[1][:3] == ["2", "4", "0.001"]


def test_table_of_many_epochs_is_folded():
    section = learning_section([{"epoch": epoch, **ROW} for epoch in range(1, 31)], 3, [])
    assert "Metrics of all 30 epochs" in [block.folded for block in section.blocks if isinstance(block, Table)]


def test_throughput_is_summarized():
    section = throughput_section([{"epoch": epoch, **ROW} for epoch in (1, 2)], 80, 20)
    assert section.blocks[0].text == (
        "2 epochs in 8.0 s: 25.0 images per second, counting 80 training images and 20 validation images per epoch."
    )


@pytest.mark.parametrize(("seconds", "words"), [(4.2, "4.2 s"), (200, "3 min 20 s"), (18420, "5 h 7 min")])
def test_duration_format(seconds, words):
    assert duration(seconds) == words


def test_environment_of_every_start_is_listed():
    section = environment_section([START, {**START, "time": "2026-01-02T00:00:00+00:00"}])
    started = rows(section, "Started 2026-01-01T00:00:00+00:00")
    assert ("code version", "0.1.0") in started
    assert ("gpus", "H200, H200") in started
    assert "code commit" not in dict(started)
    assert rows(section, "Resumed 2026-01-02T00:00:00+00:00")
    assert rows(section, "Data")[:2] == [("folder", "bundled"), ("train", "5 images in 2 classes, 2 to 3 per class")]
    assert rows(section, "Packages") == [("torch", "2.11.0")]
