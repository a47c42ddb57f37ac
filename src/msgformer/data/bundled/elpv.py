"""Solar cells by electroluminescence: 2,624 real photographs, functional or defective, from the package elpv-dataset.

C. Buerhop-Lutz et al., "A Benchmark for Visual Identification of Defective Solar Cells in Electroluminescence Imagery",
EU PVSEC 2018. Their license (CC BY-NC-SA 4.0) allows no commercial use, so the package is an extra that users install
themselves, and nothing of it is copied here.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path

from msgformer.data.files.sources import EncodedSource
from msgformer.errors import UserError

PACKAGE = "elpv_dataset"

DEFECTIVE = 0.5
"""A cell whose chance of a defect, as its experts put it (0, 1/3, 2/3 or 1), is at least this counts as defective."""


class ElpvSource(EncodedSource):
    """The cells, 300 x 300 pixels in gray.

    Raises:
        UserError: the package's table of labels isn't what it should be.
    """

    classes: tuple[str, ...] = ("defective", "functional")

    def __init__(self) -> None:
        spec = importlib.util.find_spec(PACKAGE)
        assert spec is not None
        assert spec.origin is not None
        self.root = Path(spec.origin).parent / "data"
        self.names, self.labels = read_labels(self.root / "labels.csv")

    def name(self, index: int) -> str:
        """Its path in the package's data folder, ``images/cell0001.png``."""
        return self.names[index]

    def open(self, index: int) -> str:
        """Where the file lies."""
        return self.where(index)

    def where(self, index: int) -> str:
        """Where the file lies."""
        return str(self.root / self.names[index])


def read_labels(path: Path) -> tuple[tuple[str, ...], tuple[int, ...]]:
    """Names and labels (0 defective, 1 functional) of all cells, from lines "name probability type".

    Raises:
        UserError: the table isn't there, or a line of it is of another kind.
    """
    names: list[str] = []
    labels: list[int] = []
    try:
        for line in path.read_text(encoding="utf-8").splitlines():
            name, probability, _ = line.split()
            names.append(name)
            labels.append(0 if float(probability) >= DEFECTIVE else 1)
    except (OSError, ValueError) as error:
        raise UserError(f"data: {path} can't be read ({error}); install elpv-dataset again") from error
    return tuple(names), tuple(labels)
