"""Meaning of the numbers and colors in label maps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

from msgformer.data.segmentation.colors import parse_color
from msgformer.errors import UserError
from msgformer.model_names import nearest

if TYPE_CHECKING:
    import numpy as np

IGNORED = 255
"""Label of pixels without a class."""

IGNORED_16_BITS = 65535
"""Label of pixels without a class in maps of 16 bits."""

MAX_LABEL = IGNORED_16_BITS - 1
"""Largest label of a class."""

IGNORE_NAME = "ignore"
"""Name in a label map for values that mean no class."""

REDUCE_ZERO_OPTIONS = "--segment_images.reduce_zero_label true"
"""Option for labels that count from 1."""

LabelMap = Mapping[int | str, str]
"""Name of the class of each pixel value or color, as a user gives it."""


def ignored_index(num_classes: int) -> int:
    """Return the class index that means no class: 255, or 65535 for more classes than 8 bits can tell apart."""
    return IGNORED if num_classes <= IGNORED else IGNORED_16_BITS


@dataclass(frozen=True)
class LabelScheme:
    """Meaning of the numbers in a dataset's label maps.

    Attributes:
        classes: Names of the classes, in the order of the model's outputs.
        values: Class index of each number, or `ignored`; 255 and 65535 mean no class unless they are here, and other
            numbers are errors unless ``others_ignored``.
        others_ignored: Whether numbers that are not in ``values`` mean no class.
        can_reduce_zero: Whether the option ``reduce_zero_label`` would make the labels count from 1.
        colors: Number of each color in RGB maps, packed in 24 bits.
        is_explicit: Whether a user gave the meaning of each value.
    """

    classes: tuple[str, ...]
    values: Mapping[int, int]
    others_ignored: bool = False
    can_reduce_zero: bool = False
    colors: Mapping[int, int] = field(default_factory=dict)
    is_explicit: bool = False

    @classmethod
    def from_classes(
        cls, classes: Sequence[str], *, reduce_zero: bool, colors: Sequence[int] | None = None
    ) -> LabelScheme:
        """Create the scheme of consecutive labels.

        Args:
            classes: Names of the classes.
            reduce_zero: Whether labels start at 1, with 0 for no class, as in ADE20K; otherwise they start at 0.
            colors: Packed color of each class in RGB maps.

        Raises:
            UserError: There are more classes than labels.
        """
        first = 1 if reduce_zero else 0
        if len(classes) > IGNORED_16_BITS - first:
            raise UserError(f"{len(classes)} classes are too many; label maps have at most {MAX_LABEL}; merge classes")
        values = {label + first: label for label in range(len(classes))}
        if reduce_zero:
            values[0] = ignored_index(len(classes))
        by_color = {color: label + first for label, color in enumerate(colors or ())}
        return cls(tuple(classes), values, can_reduce_zero=not reduce_zero, colors=by_color)

    @classmethod
    def from_label_map(cls, label_map: LabelMap, classes: Sequence[str] | None = None) -> LabelScheme:
        """Create the scheme of explicit values or colors.

        Args:
            label_map: Name of the class of each pixel value, or of each color as "#rrggbb" or "r, g, b"; the name
                "ignore" means no class.
            classes: Names in the data set's own file, which determine the order; by default that of ``label_map``.

        Raises:
            UserError: A key is neither, a name is unknown, or there are fewer than two classes.
        """
        names = [name for name in dict.fromkeys(label_map.values()) if name != IGNORE_NAME]
        known = tuple(names if classes is None else classes)
        if unknown := next((name for name in names if name not in known), None):
            raise UserError(f"segment_images.label_map: classes.txt has no class {unknown!r}{nearest(unknown, known)}")
        if len(known) < 2:
            raise UserError(f"segment_images.label_map names {len(known)} class(es); a segmenter needs at least two")
        indices = {name: index for index, name in enumerate(known)} | {IGNORE_NAME: ignored_index(len(known))}
        numbers = {_parse_key(key): indices[name] for key, name in label_map.items()}
        values = {key: index for key, index in numbers.items() if isinstance(key, int)}
        colors = {key[0]: index for key, index in numbers.items() if not isinstance(key, int)}
        if values and colors:
            raise UserError("segment_images.label_map has pixel values and colors; give either")
        if colors:
            values = {index: index for index in indices.values()}
        return cls(known, values, colors=colors, is_explicit=True)

    @property
    def ignored(self) -> int:
        """Class index of pixels without a class."""
        return ignored_index(len(self.classes))

    @cached_property
    def table(self) -> np.ndarray:
        """Class index of each number, int32 [65536]; -1 for invalid numbers."""
        import numpy as np

        table = np.full(IGNORED_16_BITS + 1, self.ignored if self.others_ignored else -1, dtype=np.int32)
        table[[self.ignored, IGNORED_16_BITS]] = self.ignored
        table[[*self.values]] = [*self.values.values()]
        return table

    def to_classes(self, numbers: np.ndarray) -> np.ndarray:
        """Return class indices, uint8, or int32 for more than 255 classes, of valid numbers of the same shape."""
        classes: np.ndarray = self.table[numbers].astype("uint8" if self.ignored == IGNORED else "int32")
        return classes

    def unknown_labels(self, numbers: np.ndarray) -> str | None:
        """Return the message for a label map with labels of no class, or None.

        Args:
            numbers: The label map, uint8 or uint16 [H, W].
        """
        import numpy as np

        found = np.unique(numbers).tolist()
        unknown = [label for label in found if self.table[label] < 0]
        if not unknown:
            return None
        labels = [label for label in found if label not in (self.ignored, IGNORED_16_BITS)]
        more = f" and {len(unknown) - 1} other labels" if len(unknown) > 1 else ""
        if self.is_explicit:
            listed = ", ".join(str(value) for value in self.values)
            remedy = f"add it, with the class {IGNORE_NAME!r} if it means none"
            return f"label {unknown[0]}{more} of no class: segment_images.label_map has {listed}; {remedy}"
        valid = [label for label, number in self.values.items() if number != self.ignored]
        remedy = "correct the label map, or name every class in classes.txt"
        if self.can_reduce_zero and unknown == [len(self.classes)]:
            remedy = f"if labels count from 1 and 0 means no class, pass {REDUCE_ZERO_OPTIONS}; otherwise {remedy}"
        return (
            f"label {unknown[0]}{more} of no class: this file holds labels {labels[0]} to {labels[-1]}, but the"
            f" {len(self.classes)} classes have {min(valid)} to {max(valid)} ({self.ignored} is ignored); {remedy}"
        )


def _parse_key(key: int | str) -> int | tuple[int]:
    """Return a pixel value, or a packed color as a tuple.

    Raises:
        UserError: The key is neither.
    """
    text = str(key).strip()
    if text.isdigit() and int(text) <= IGNORED_16_BITS:
        return int(text)
    if (color := parse_color(text)) is None:
        raise UserError(
            f"segment_images.label_map: {key!r} is neither a pixel value in 0..{IGNORED_16_BITS} nor a color such as"
            " '128, 0, 0' or '#800000'"
        )
    return (color,)
