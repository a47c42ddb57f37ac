import pytest

from msgformer.tasks import progress
from msgformer.tasks.progress import track_progress

BATCHES = [[0, 1], [2, 3], [4]]


@pytest.mark.parametrize("kind", ["auto", "bar", "lines", "none"])
def test_batches_are_yielded_unchanged(kind):
    assert list(track_progress(iter(BATCHES), len, kind, "evaluating", 5)) == BATCHES


def test_lines_count_images_and_are_limited_in_time(monkeypatch, capsys):
    times = iter([0.0, 4.0, 10.0, 16.0])
    monkeypatch.setattr(progress.time, "monotonic", lambda: next(times))
    list(track_progress(BATCHES, len, "lines", "evaluating", 1234))
    assert capsys.readouterr() == ("", "evaluating: 4 of 1,234 images, 0 per second\n")


def test_lines_without_a_total(monkeypatch, capsys):
    monkeypatch.setattr(progress, "LINE_SECONDS", 0.0)
    list(track_progress(BATCHES, len, "auto", "reading"))
    assert [line.partition(" images")[0] for line in capsys.readouterr().err.splitlines()] == [
        "reading: 2",
        "reading: 4",
        "reading: 5",
    ]


def test_no_progress_prints_nothing(monkeypatch, capsys):
    monkeypatch.setattr(progress, "LINE_SECONDS", 0.0)
    list(track_progress(BATCHES, len, "none", "reading", 5))
    assert capsys.readouterr() == ("", "")
