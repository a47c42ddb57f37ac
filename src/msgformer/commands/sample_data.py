"""``msgformer sample-data``: scenes to try detection and segmentation with, as a real data set's folder."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from msgformer.errors import UserError
from msgformer.tasks import get_task
from msgformer.utils.result import Result


@dataclass(frozen=True)
class SampleData(Result):
    """What was written.

    Attributes:
        output: The folder.
        task: What it is for.
        layout: How it is laid out.
        images: Scenes to train on.
        val: Scenes to validate on.
        seed: What they follow from.
    """

    output: Path
    task: str
    layout: str
    images: int
    val: int
    seed: int

    def table(self) -> str:
        """The same in words, and what to do next."""
        return (
            f"{self.output}: {self.images} scenes to train on, {self.val} to validate on, in {self.layout}'s layout\n"
            f"'msgformer train --task {self.task} --data {self.output}' trains on them"
        )


def sample_data(
    task: Literal["detect", "segment"],
    output: Path,
    images: int = 2000,
    val: int = 200,
    seed: int = 0,
) -> SampleData:
    """Write scenes of real digits on real photographs, with exact boxes and masks or class maps.

    Each scene has 256 x 256 pixels and 4 to 12 digits; neither digits nor photographs are shared by both subsets.

    Args:
        task: What the scenes are for: detect writes COCO's layout, segment ADE20K's.
        output: The folder to write; it must not exist, or be empty.
        images: Scenes to train on.
        val: Scenes to validate on.
        seed: Number that the scenes follow from.

    Returns:
        What was written.

    Raises:
        UserError: A number is out of range, or the folder can't be written.
    """
    for key, value, least in (("images", images, 1), ("val", val, 1), ("seed", seed, 0)):
        if value < least:
            raise UserError(f"{key} must be at least {least}, not {value}")
    output = Path(output)
    layout = get_task(task).write_scenes(output, {"train": images, "val": val}, seed)
    return SampleData(output, task, layout, images, val, seed)
