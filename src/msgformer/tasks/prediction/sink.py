"""Destinations of predictions: memory, resumable files, drawn images and contact sheets."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING

from msgformer.errors import UserError, shown
from msgformer.tasks.prediction.base import PredictionRecord, PredictionResult
from msgformer.tasks.prediction.file import PREDICTIONS, STDOUT, PredictionFile
from msgformer.tasks.prediction.predictor import Predictor
from msgformer.tasks.prediction.record_layout import Format, printable
from msgformer.tasks.prediction.stream import CELL, Keep, stream_predictions

if TYPE_CHECKING:
    from msgformer.data.files.inputs import ImageInput
    from msgformer.visual.contact_sheet import ContactSheet


@dataclass
class PredictionSink:
    """Collects and writes results.

    Attributes:
        file: File of records; None keeps them in memory.
        folder: Folder for images with the predictions drawn on them.
        sheet: Contact sheet of small copies of the images.
        records: Records of readable images; empty if they are only written to a file.
        skipped: Names of unreadable images.
        count: Number of images so far.
        replaces: File or folder that the finished file or folder will replace; None if it is written in place.
    """

    file: PredictionFile | None = None
    folder: Path | None = None
    sheet: ContactSheet | None = None
    records: list[PredictionRecord] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)
    count: int = 0
    replaces: Path | None = None

    @classmethod
    def to_file(cls, predictor: Predictor, output: Path, format: Format) -> PredictionSink:
        """Return a sink for a file.

        Args:
            predictor: Provides the layout of the records.
            output: The file, checked by `check_output`; "-" for standard output.
            format: Format of the file.
        """
        return cls(PredictionFile(output, format, predictor.layout))

    @classmethod
    def to_folder(cls, predictor: Predictor, output: Path) -> PredictionSink:
        """Return a sink for a folder of drawn images and ``predictions.json``.

        Args:
            predictor: Provides the layout of the records.
            output: The folder, which is created if necessary.
        """
        output.mkdir(parents=True, exist_ok=True)
        return cls(PredictionFile(output / PREDICTIONS, None, predictor.layout), output)

    def keep(self, predictor: Predictor) -> Keep:
        """Return the pixels of images that results must store."""
        if self.folder is not None or (self.sheet is not None and not predictor.thumbnail_suffices):
            return "whole"
        return "nothing" if self.sheet is None else "small"

    def drain(self, batches: Iterable[list[PredictionResult]]) -> list[Path]:
        """Write all batches, and return the paths of the contact sheet's pages."""
        try:
            for batch in batches:
                self._write(batch)
        except KeyboardInterrupt:
            if self.file is not None and self.file.output != STDOUT:
                place = self.replaces
                after = "--skip_completed continues from there" if place is None else f"{place} is unchanged"
                print(f"stopped after {self.count:,} images; {after}", file=sys.stderr)
            raise
        finally:
            if self.file is not None:
                self.file.close()
        if self.file is not None:
            self.file.finish()
        return [] if self.sheet is None else self.sheet.finish()

    def add_recorded(self, records: Iterable[PredictionRecord]) -> None:
        """Count records that are in the file; those of a folder also stay in memory."""
        for one in records:
            self.count += 1
            if one.error is not None:
                self.skipped.append(one.image)
            elif self.file is None or self.folder is not None:
                self.records.append(one)

    def _write(self, batch: list[PredictionResult]) -> None:
        records = []
        for number, result in enumerate(batch, self.count + 1):
            drawn = self.folder is not None and result.error is None
            records.append(self._save_drawn(result, number) if drawn else result.to_record())
        if self.file is not None:
            self.file.write(records)
        self.add_recorded(records)
        if self.sheet is not None:
            for result, record in zip(batch, records, strict=True):
                if result.error is None:
                    self._add_to_sheet(result, record)

    def _save_drawn(self, result: PredictionResult, number: int) -> PredictionRecord:
        """Draw an image; the record has the paths that its files will have when they are complete."""
        assert self.folder is not None
        record = result.save_drawn(self.folder, number)
        if self.replaces is None:
            return record
        files = {one.name: getattr(record, one.name) for one in fields(record)}  # type: ignore[arg-type]
        moved = {name: self.replaces / file.name for name, file in files.items() if isinstance(file, Path)}
        return replace(record, **moved)  # type: ignore[type-var]

    def _add_to_sheet(self, result: PredictionResult, record: PredictionRecord) -> None:
        assert self.sheet is not None
        small = result.thumbnail()
        small.thumbnail((CELL, CELL))
        self.sheet.add(small, [shown(record.title()), shown(Path(result.image).name)])


def remaining_inputs(sink: PredictionSink, inputs: Iterator[ImageInput], predictor: Predictor) -> Iterator[ImageInput]:
    """Skip the inputs whose predictions are already in the sink's file.

    Args:
        sink: The sink, which counts the stored predictions.
        inputs: All images.
        predictor: Must reproduce the last stored prediction.

    Returns:
        The remaining inputs.

    Raises:
        UserError: The file holds predictions of other images or, judging by the last one, of another model.
    """
    assert sink.file is not None
    path = sink.file.output
    last: tuple[ImageInput, PredictionRecord] | None = None
    for number, stored in enumerate(sink.file.recorded(), start=1):
        source = next(inputs, None)
        if source is None or stored.image not in (source.name, printable(source.name)):
            given = "no image" if source is None else shown(source.name)
            raise UserError(
                f"skip_completed: prediction {number} in {path} is of {shown(stored.image)}, but {given} is given"
                " there; give the same images, or another output"
            )
        sink.add_recorded([stored])
        if stored.error is None:
            last = source, stored
    if last is not None:
        _check_reproduced(predictor, *last, path)
    if sink.file.complete and (remaining := next(inputs, None)) is not None:
        raise UserError(f"skip_completed: {path} is complete, without {shown(remaining.name)}; give another output")
    return inputs


def _check_reproduced(predictor: Predictor, source: ImageInput, stored: PredictionRecord, path: Path) -> None:
    ((result,),) = stream_predictions(predictor, [source])
    fresh = result.to_record()
    if not predictor.agrees(stored, fresh):
        raise UserError(
            f"skip_completed: {path} was made by another model or other options: {shown(stored.image)} is"
            f" {shown(stored.title())} there, and {shown(fresh.title())} now; give another output"
        )
