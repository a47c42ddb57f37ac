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


def test_measures_share_panels_by_their_kind():
    section = learning_section([{"epoch": 1, **ROW}, {"epoch": 2, **ROW}], best=2, facts=[("Model", "tiny")])
    curves, rate = (block for block in section.blocks if isinstance(block, Figure))
    assert curves.alt.startswith("Loss and Accuracy in % and Mean IoU in % by epoch")
    assert all(name in curves.plot.svg for name in ("val/ema_top1", "val/miou"))
    assert "seconds" not in curves.plot.svg
    assert rate.plot.name == "learning_rate"
    assert rows(section, "Run") == [("Model", "tiny")]
    assert rows(section, "Metrics by epoch")[1][:3] == ["2", "4", "0.001"]


def test_many_epochs_are_folded():
    section = learning_section([{"epoch": epoch, **ROW} for epoch in range(1, 31)], 3, [])
    assert "Metrics of all 30 epochs" in [block.folded for block in section.blocks if isinstance(block, Table)]


def test_throughput_is_told_in_sum():
    section = throughput_section([{"epoch": epoch, **ROW} for epoch in (1, 2)], 80, 20)
    assert section.blocks[0].text == (
        "2 epochs in 8.0 s: 25.0 images a second, counting the 80 images that an epoch trains on and the 20 that it"
        " validates on."
    )


@pytest.mark.parametrize(("seconds", "words"), [(4.2, "4.2 s"), (200, "3 min 20 s"), (18420, "5 h 7 min")])
def test_durations(seconds, words):
    assert duration(seconds) == words


def test_the_environment_of_every_start_is_told():
    section = environment_section([START, {**START, "time": "2026-01-02T00:00:00+00:00"}])
    begun = rows(section, "Begun 2026-01-01T00:00:00+00:00")
    assert ("code version", "0.1.0") in begun
    assert ("gpus", "H200, H200") in begun
    assert "code commit" not in dict(begun)
    assert rows(section, "Resumed 2026-01-02T00:00:00+00:00")
    assert rows(section, "Data")[:2] == [("folder", "embedded"), ("train", "5 images in 2 classes, 2 to 3 a class")]
    assert rows(section, "Packages") == [("torch", "2.11.0")]
