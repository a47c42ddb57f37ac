from pathlib import Path

from msgformer.tasks.classification.score_records import ClassScore
from msgformer.tasks.classification.scores import EvaluateResult

PREPROCESSING = {"input_size": [3, 32, 32], "crop_pct": 1.0, "crop_mode": "center", "interpolation": "bicubic"}


def test_of_many_classes_those_with_images_and_the_lowest_f1_are_listed():
    scores = [ClassScore(f"empty {number}", 0, 0, None, None, None) for number in range(3)]
    scores += [ClassScore(f"class {number}", 9, 9, *[float(number)] * 3) for number in reversed(range(30))]
    result = EvaluateResult(
        Path("best.ckpt"), "val", 270, [], len(scores), 50.0, 90.0, 1.0, 2.0, PREPROCESSING, False, scores
    )
    lines = result.table().splitlines()
    first = next(number for number, line in enumerate(lines) if line.startswith("CLASS")) + 1
    assert [line.split("  ")[0] for line in lines[first : first + 20]] == [f"class {number}" for number in range(20)]
    assert "empty" not in result.table()
