"""Scores as files: JSON of everything, CSV of classes, of images, and of models beside each other."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import astuple, fields
from pathlib import Path
from typing import TYPE_CHECKING

from msgformer.insight.records import ClassScore

if TYPE_CHECKING:
    from msgformer.api.evaluate import EvaluateResult
    from msgformer.api.scoring import Scored

METRICS, CLASSES, PREDICTIONS, COMPARISON = "metrics.json", "per_class.csv", "predictions.csv", "comparison.csv"
COMPARED = ("checkpoint", "data", "images", "top1", "top5", "loss", "calibration_error", "flip")


def write_scores(folder: Path, result: EvaluateResult, scored: Scored) -> None:
    """Write ``metrics.json``, ``per_class.csv`` and ``predictions.csv``.

    Args:
        folder: Made if need be.
        result: The scores.
        scored: The answers that they are of.
    """
    folder.mkdir(parents=True, exist_ok=True)
    (folder / METRICS).write_text(f"{result.render(as_json=True)}\n", encoding="utf-8")
    _write(folder / CLASSES, [field.name for field in fields(ClassScore)], map(astuple, result.per_class))
    ranks = range(1, scored.outcome.ranked.shape[1] + 1)
    named = [name for rank in ranks for name in (f"class_{rank}", f"probability_{rank}")]
    _write(folder / PREDICTIONS, ["image", "true", "correct", "loss", *named], _predictions(scored))


def write_comparison(folder: Path, results: Sequence[EvaluateResult]) -> None:
    """Write ``comparison.csv``, a row a model."""
    columns = [*COMPARED, "input_size", "crop_pct", "crop_mode", "interpolation"]
    rows = []
    for result in results:
        settings = {**result.preprocessing, "input_size": "x".join(map(str, result.preprocessing["input_size"]))}
        rows.append([getattr(result, name) if name in COMPARED else settings[name] for name in columns])
    _write(folder / COMPARISON, columns, rows)


def _predictions(scored: Scored) -> Iterator[list[object]]:
    outcome = scored.outcome
    for index in range(len(outcome)):
        ranks = zip(outcome.ranked[index], outcome.probabilities[index], strict=True)
        answers = [cell for rank, chance in ranks for cell in (outcome.classes[rank], f"{chance:.7g}")]
        true, loss = outcome.classes[outcome.labels[index]], outcome.losses[index]
        yield [scored.name(index), true, int(outcome.correct[index]), f"{loss:.7g}", *answers]


def _write(path: Path, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    with path.open("w", newline="", encoding="utf-8", errors="surrogateescape") as file:
        writer = csv.writer(file)
        writer.writerow(columns)
        writer.writerows(rows)
