"""Where predictions go: into memory, into a file that may hold some already, onto contact sheets."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from msgformer.api.answering import Answerer
from msgformer.api.predicting import Answer, answer
from msgformer.api.prediction_files import STDOUT, PredictionFile
from msgformer.api.predictions import Format, Prediction, printable
from msgformer.data.inputs import ImageInput
from msgformer.errors import UserError, shown
from msgformer.insight.contact_sheet import CELL, ContactSheet

CLOSE = 1e-2
"""How far a stored probability may be from one that is computed again, perhaps on another device."""


@dataclass
class Sink:
    """What becomes of the answers.

    Attributes:
        file: Takes predictions; None: they are kept.
        sheet: Takes the images.
        predictions: Those of images that can be read, unless a file takes them.
        skipped: Names of the images that can't.
        images: How many were asked about.
    """

    file: PredictionFile | None
    sheet: ContactSheet | None
    predictions: list[Prediction] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)
    images: int = 0

    @classmethod
    def of(cls, answerer: Answerer, top_k: int, output: Path | None, format: Format | None, sheet: Path | None) -> Sink:
        """The sink for an output that was checked."""
        file = None
        if output is not None and format is not None:
            file = PredictionFile(output, format, min(top_k, len(answerer.card.classes)))
        return cls(file, None if sheet is None else ContactSheet(sheet))

    @property
    def thumbnail(self) -> int:
        """Longest side of the small copies of images that are needed."""
        return 0 if self.sheet is None else CELL

    def drain(self, batches: Iterable[list[Answer]]) -> list[Path]:
        """Take all batches; gives the contact sheets."""
        try:
            for batch in batches:
                self._take(batch)
        except KeyboardInterrupt:
            if self.file is not None and self.file.output != STDOUT:
                print(f"stopped after {self.images:,} images; --resume goes on from there", file=sys.stderr)
            raise
        finally:
            if self.file is not None:
                self.file.close()
        if self.file is not None:
            self.file.finish()
        return [] if self.sheet is None else self.sheet.finish()

    def _take(self, batch: list[Answer]) -> None:
        predictions = [one.prediction for one in batch]
        if self.file is not None:
            self.file.write(predictions)
        else:
            self.predictions += [one for one in predictions if one.error is None]
        self.count(predictions)
        if self.sheet is not None:
            for one in batch:
                if one.thumbnail is not None:
                    self.sheet.add(one.thumbnail, _caption(one.prediction))

    def count(self, predictions: Iterable[Prediction]) -> None:
        """Count predictions that are where they belong."""
        for one in predictions:
            self.images += 1
            if one.error is not None:
                self.skipped.append(one.image)


def _caption(prediction: Prediction) -> list[str]:
    name = f"{prediction.classes[0]} {100 * prediction.probabilities[0]:.1f} %"
    return [shown(name), shown(Path(prediction.image).name)]


def take_up(sink: Sink, inputs: Iterator[ImageInput], answerer: Answerer, top_k: int) -> Iterator[ImageInput]:
    """The inputs that come after those that the sink's file holds already.

    Raises:
        UserError: the file holds predictions of other images, or, as the last of them shows, of another model.
    """
    assert sink.file is not None
    path = sink.file.output
    last: tuple[ImageInput, Prediction] | None = None
    for number, stored in enumerate(sink.file.recorded(), start=1):
        wanted = next(inputs, None)
        if wanted is None or stored.image not in (wanted.name, printable(wanted.name)):
            other = "nothing" if wanted is None else shown(wanted.name)
            raise UserError(
                f"resume: prediction {number} in {path} is of {shown(stored.image)}, where {other} is asked about;"
                " give the same images, or another output"
            )
        sink.count([stored])
        if stored.error is None:
            last = wanted, stored
    if last is not None:
        _check_same(answerer, *last, top_k, path)
    if sink.file.complete and (left := next(inputs, None)) is not None:
        raise UserError(f"resume: {path} is complete, without {shown(left.name)}; give another output")
    return inputs


def _check_same(answerer: Answerer, wanted: ImageInput, stored: Prediction, top_k: int, path: Path) -> None:
    ((found,),) = answer(answerer, [wanted], top_k, batch_size=1, workers=0)
    fresh = found.prediction
    before, now = (dict(zip(one.classes, one.probabilities, strict=True)) for one in (stored, fresh))
    # The order of classes that are as likely, and which one is the last to be named, may have changed.
    apart = max(abs(before.get(name, now[fresh.classes[-1]]) - chance) for name, chance in now.items())
    if len(before) != len(now) or apart > CLOSE:
        raise UserError(
            f"resume: {path} was made by another model or other options: {shown(stored.image)} is"
            f" {shown(stored.classes[0])} there, and {shown(fresh.classes[0])} now; give another output"
        )
