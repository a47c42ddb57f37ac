"""Records of predictions in JSON lines, CSV and Parquet, and truncated files of them."""

from pathlib import Path

import numpy as np
import pytest

from msgformer.errors import UserError
from msgformer.tasks.classification.record import ClassificationLayout, Prediction
from msgformer.tasks.detection.record import DetectionLayout, DetectionPrediction, FoundObject
from msgformer.tasks.prediction.file import PredictionFile
from msgformer.tasks.prediction.record_layout import make_printable, printable
from msgformer.tasks.segmentation.record import SegmentationLayout, SegmentationPrediction
from msgformer.utils.rle import encode_masks

NAMES = [
    "plain.png",
    'odd "name",\nü.png',
    "carriage\rreturn, 'quotes' \"\".png",
    "byte\udcff.png",
    " spaces at both ends ",
    '"',
    "\n",
    "photos.tar:a,b/ä.png",
]
CLASSES = ['quo"te', "com,ma", "new\nline", "plain", "byte\udcfe", "\r\n"]
ERROR = 'can\'t read image broken, "really".png (not\nan image)'


def _mask():
    pixels = np.zeros((1, 5, 7), bool)
    pixels[0, 1:3, 2:6] = True
    return encode_masks(pixels)[0]


def _objects(count, mask=None):
    return [
        FoundObject(CLASSES[i % len(CLASSES)], 0.5 / (i + 1), [0.25, 1.5, 2.75 + i, 4.0], mask) for i in range(count)
    ]


RECORDS = {
    "classify": [
        *(Prediction(name, CLASSES[i % 4 : i % 4 + 2], [0.123456789, 1e-9]) for i, name in enumerate(NAMES)),
        Prediction("byte\udcff.png", CLASSES[4:], [1.0, 0.0]),
        Prediction("broken.png", [], [], ERROR),
    ],
    "detect": [
        *(DetectionPrediction(name, _objects(i % 4)) for i, name in enumerate(NAMES)),
        DetectionPrediction("masks.png", _objects(2, _mask())),
        DetectionPrediction("nothing.png"),
        DetectionPrediction("broken.png", error=ERROR),
        DetectionPrediction("many.png", _objects(12)),
    ],
    "segment": [
        *(SegmentationPrediction(name, {CLASSES[i % 6]: 12.5, "plain": 87.5}) for i, name in enumerate(NAMES)),
        SegmentationPrediction("broken.png", error=ERROR),
        SegmentationPrediction("all.png", dict.fromkeys(CLASSES, 100 / 6)),
    ],
}
LAYOUTS = {"classify": ClassificationLayout(2), "detect": DetectionLayout(), "segment": SegmentationLayout(CLASSES)}


@pytest.fixture(params=RECORDS)
def task(request):
    return request.param


def open_file(task, folder, format):
    name = "predictions" if format is None else f"predictions.{format}"
    return PredictionFile(folder / name, format, LAYOUTS[task])


def write(task, folder, format, records):
    file = open_file(task, folder, format)
    for start in range(0, len(records), 3):
        file.write(records[start : start + 3])
    file.finish()
    return file.output


def assert_equal(found, expected, name=lambda text: text):
    """Assert that records are equal, except for rounding and for names that a format can't represent."""
    assert len(found) == len(expected)
    for one, other in zip(found, expected, strict=True):
        assert type(one) is type(other)
        assert one.image == name(other.image)
        assert one.error == other.error
        if isinstance(one, Prediction):
            assert one.classes == [name(label) for label in other.classes]
            assert one.probabilities == pytest.approx(other.probabilities, rel=1e-6)
        elif isinstance(one, DetectionPrediction):
            assert [(o.label, o.mask) for o in one.objects] == [(name(o.label), o.mask) for o in other.objects]
            numbers = [[[o.score, *o.box] for o in record.objects] for record in (one, other)]
            assert [n for row in numbers[0] for n in row] == pytest.approx(
                [n for row in numbers[1] for n in row], rel=1e-6
            )
        else:
            assert one.classes == pytest.approx({name(label): area for label, area in other.classes.items()})


@pytest.mark.parametrize("format", ["jsonl", "csv", "parquet", None])
def test_records_are_read_as_written(task, format, tmp_path):
    if format == "parquet":
        pytest.importorskip("pyarrow")
    write(task, tmp_path, format, RECORDS[task])
    found = list(open_file(task, tmp_path, format).recorded())
    assert_equal(found, RECORDS[task], printable if format == "parquet" else lambda text: text)


@pytest.mark.parametrize("format", ["jsonl", "csv", "parquet", None])
def test_file_without_records(task, format, tmp_path):
    if format == "parquet":
        pytest.importorskip("pyarrow")
    output = write(task, tmp_path, format, [])
    assert output.exists()
    assert list(open_file(task, tmp_path, format).recorded()) == []


@pytest.mark.parametrize("format", ["jsonl", "csv"])
def test_file_truncated_at_any_byte_is_resumed_after_its_complete_records(task, format, tmp_path):
    records = RECORDS[task]
    content = write(task, tmp_path, format, records).read_bytes()
    ends = [len(write(task, tmp_path, format, records[:0]).read_bytes())]
    (tmp_path / f"predictions.{format}").unlink()
    for count in range(1, len(records) + 1):
        ends.append(len(write(task, tmp_path, format, records[:count]).read_bytes()))
        (tmp_path / f"predictions.{format}").unlink()
    assert ends[-1] == len(content)
    for cut in range(len(content) + 1):
        file = open_file(task, tmp_path, format)
        file.path.write_bytes(content[:cut])
        found = list(file.recorded())
        whole = sum(end <= cut for end in ends[1:])
        assert_equal(found, records[:whole])
        if cut % 61 == 0 or cut in ends:
            file.write(records[whole:])
            file.finish()
            assert file.output.read_bytes() == content, cut


def test_paths_of_drawn_images_are_read_as_written(tmp_path):
    drawn, mapped = Path("out/0001-a.png"), Path("out/0001-a-classes.png")
    records = {
        "detect": [DetectionPrediction("a.png", _objects(1), drawn)],
        "segment": [SegmentationPrediction("a.png", {"plain": 100.0}, drawn, mapped)],
    }
    for task, expected in records.items():
        folder = tmp_path / task
        folder.mkdir()
        write(task, folder, None, expected)
        assert list(open_file(task, folder, None).recorded()) == expected


@pytest.mark.parametrize("format", ["jsonl", "csv"])
@pytest.mark.parametrize(
    "wrong", ["3", "{}", "x", '{"image": 3}', '{"image": "a", "classes": 3, "objects": 3}', "a,b,c"]
)
def test_invalid_records_are_refused(task, format, wrong, tmp_path):
    output = write(task, tmp_path, format, RECORDS[task][:1])
    with output.open("a") as file:
        file.write(f"{wrong}\n")
    with pytest.raises(UserError, match=r"^skip_completed: record \d+ of .* is no prediction; give another file"):
        list(open_file(task, tmp_path, format).recorded())


def test_different_columns_are_refused(tmp_path):
    write("segment", tmp_path, "csv", RECORDS["segment"])
    for task, hint in (("classify", "--top_k"), ("detect", "options")):
        with pytest.raises(
            UserError, match=rf"^skip_completed: .* has different columns; give the same {hint} as before"
        ):
            list(open_file(task, tmp_path, "csv").recorded())


@pytest.mark.parametrize(
    "line",
    [
        '{"image": "a.png"}',
        '{"image": "a.png", "classes": [], "probabilities": []}',
        '{"image": "a.png", "classes": ["a"], "probabilities": ["high"]}',
    ],
)
def test_a_line_without_probabilities_is_no_prediction(line, tmp_path):
    (tmp_path / "predictions.jsonl").write_text(f"{line}\n")
    with pytest.raises(UserError, match=r"record 1 of .* is no prediction"):
        list(open_file("classify", tmp_path, "jsonl").recorded())


def test_names_and_values_at_any_depth_are_printable():
    value = {"byte\udcff": [("byte\udcfe", 1.5, None)], "plain": {"a": "ü"}}
    assert make_printable(value) == {r"byte\udcff": [(r"byte\udcfe", 1.5, None)], "plain": {"a": "ü"}}
