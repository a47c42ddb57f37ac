from pathlib import Path

from msgformer.tasks.detection.scores import DetectionEvaluateResult


def test_of_many_classes_those_with_the_lowest_scores_are_listed():
    per_class = {f"undefined {number}": {"box_ap": None} for number in range(3)}
    per_class |= {f"class {number}": {"box_ap": float(number)} for number in reversed(range(30))}
    result = DetectionEvaluateResult("detect", Path("best.ckpt"), "val", 9, {}, {"box_ap": 14.5}, per_class)
    lines = result.table().splitlines()
    first = next(number for number, line in enumerate(lines) if line.startswith("CLASS")) + 1
    assert [line.split("  ")[0] for line in lines[first : first + 20]] == [f"class {number}" for number in range(20)]
    assert "undefined" not in result.table()
