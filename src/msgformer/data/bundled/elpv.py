"""Electroluminescence images of solar cells, functional or defective: 2,624 images of the package elpv-dataset.

C. Buerhop-Lutz et al., "A Benchmark for Visual Identification of Defective Solar Cells in Electroluminescence Imagery",
EU PVSEC 2018. The license (CC BY-NC-SA 4.0) forbids commercial use, so users install the package as an extra, and this
repository holds no copy of the data.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path

from msgformer.data.files.sources import EncodedSource
from msgformer.errors import UserError

PACKAGE = "elpv_dataset"

DEFECTIVE = 0.5
"""Minimum defect probability of a defective cell; the experts' labels are 0, 1/3, 2/3 or 1."""


class ElpvSource(EncodedSource):
    """Image source of the cells, 300 x 300 pixels in gray.

    Raises:
        UserError: The package's table of labels is missing or malformed.
    """

    classes: tuple[str, ...] = ("defective", "functional")

    def __init__(self) -> None:
        spec = importlib.util.find_spec(PACKAGE)
        assert spec is not None
        assert spec.origin is not None
        self.root = Path(spec.origin).parent / "data"
        self.names, self.labels = read_labels(self.root / "labels.csv")

    def name(self, index: int) -> str:
        """Return the path in the package's data folder, such as ``images/cell0001.png``."""
        return self.names[index]

    def open(self, index: int) -> str:
        """Return the path of the file."""
        return self.where(index)

    def where(self, index: int) -> str:
        """Return the path of the file."""
        return str(self.root / self.names[index])


def read_labels(path: Path) -> tuple[tuple[str, ...], tuple[int, ...]]:
    """Read the names and labels (0 defective, 1 functional) of all cells from lines "name probability type".

    Raises:
        UserError: The table is missing or malformed.
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
