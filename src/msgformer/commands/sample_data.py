"""``msgformer sample-data``: write a small data set to try detection and segmentation with."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from msgformer.config.renamed_arguments import renamed_arguments
from msgformer.errors import UserError
from msgformer.tasks import get_task
from msgformer.utils.output_path import check_output_folder, stage_if_used
from msgformer.utils.result import Result


@dataclass(frozen=True)
class SampleData(Result):
    """Result of `msgformer.sample_data`.

    Attributes:
        output: The folder that was written.
        task: The task of the data set.
        layout: Its layout.
        images: Number of training images.
        val: Number of validation images.
        seed: Random seed.
    """

    output: Path
    task: str
    layout: str
    images: int
    val: int
    seed: int

    def table(self) -> str:
        """Return the contents of the data set, and the next command."""
        return (
            f"{self.output}: {self.images} scenes to train on, {self.val} to validate on, in {self.layout}'s layout\n"
            f"'msgformer train --task {self.task} --data {self.output}' trains on them"
        )


@renamed_arguments(images="num_train", val="num_val")
def sample_data(
    task: Literal["detect", "segment"],
    output: Path,
    num_train: int = 2000,
    num_val: int = 200,
    seed: int = 0,
    *,
    overwrite: bool = False,
) -> SampleData:
    """Write a data set of handwritten digits on photographs, with exact boxes and masks or label maps.

    Each image has 256 x 256 pixels and 4 to 12 digits. The training and validation images share neither digits nor
    photographs.

    Args:
        task: "detect" writes the COCO layout, "segment" the ADE20K layout.
        output: Folder to write.
        num_train: Number of training images.
        num_val: Number of validation images.
        seed: Random seed.
        overwrite: Replace an existing folder, once the new one is complete.

    Returns:
        The data set that was written.

    Raises:
        UserError: A number is out of range, or the folder can't be written.
    """
    for key, value, minimum in (("num_train", num_train, 1), ("num_val", num_val, 1), ("seed", seed, 0)):
        if value < minimum:
            raise UserError(f"{key} must be at least {minimum}, not {value}")
    output = Path(output)
    check_output_folder(output, "annotations", overwrite=overwrite)
    with stage_if_used(output) as folder:
        layout = get_task(task).write_scenes(folder, {"train": num_train, "val": num_val}, seed)
    return SampleData(output, task, layout, num_train, num_val, seed)
