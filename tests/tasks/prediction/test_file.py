import csv
import io

import pytest

from msgformer.tasks.classification.record import ClassificationLayout, Prediction
from msgformer.tasks.prediction.file import Csv, JsonLines

LAYOUT = ClassificationLayout(2)
PREDICTIONS = [
    Prediction("a.png", ["dark", "light"], [0.75, 0.25]),
    Prediction('odd "name",\nü.png', ['quo"te', "new\nline"], [0.123456789, 1e-9]),
    Prediction("byte\udcff.png", ["dark", "light"], [1.0, 0.0]),
    Prediction("broken.png", [], [], "can't read image broken.png (not an image)"),
]


def encoded(lines, predictions):
    errors = "surrogateescape" if isinstance(lines, Csv) else "backslashreplace"
    return (lines.header() + "".join(map(lines.encode, predictions))).encode("utf-8", errors=errors)


def decoded(lines, content):
    records = list(lines.records(io.BytesIO(content)))[1 if lines.header() else 0 :]
    return [lines.decode(record.decode("utf-8", errors="surrogateescape")) for record in records]


@pytest.fixture(params=[JsonLines(LAYOUT), Csv(LAYOUT)], ids=["jsonl", "csv"])
def lines(request):
    return request.param


def test_predictions_are_read_as_written(lines):
    found = decoded(lines, encoded(lines, PREDICTIONS))
    for before, after in zip(PREDICTIONS, found, strict=True):
        assert (after.image, after.classes, after.error) == (before.image, before.classes, before.error)
        assert after.probabilities == pytest.approx(before.probabilities, rel=1e-6)


def test_truncated_file_holds_its_complete_predictions(lines):
    """Truncate after every byte, as if the process were killed while writing."""
    content = encoded(lines, PREDICTIONS)
    ends = [len(encoded(lines, PREDICTIONS[:count])) for count in range(len(PREDICTIONS) + 1)]
    for cut in range(ends[0], len(content) + 1):
        whole = sum(end <= cut for end in ends) - 1
        assert [one.image for one in decoded(lines, content[:cut])] == [one.image for one in PREDICTIONS[:whole]], cut


def test_csv_is_readable_by_other_libraries():
    rows = list(csv.DictReader(io.StringIO(encoded(Csv(LAYOUT), PREDICTIONS[:2]).decode(), newline="")))
    assert list(rows[0]) == ["image", "class_1", "probability_1", "class_2", "probability_2", "error"]
    assert rows[1]["class_2"] == "new\nline"


@pytest.mark.parametrize("record", ["3\n", "{}\n", "x\n", '{"image": 3}\n'])
def test_invalid_predictions_are_refused(lines, record):
    with pytest.raises((ValueError, TypeError)):
        lines.decode(record)
