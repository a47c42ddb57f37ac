"""``msgformer convert``: convert official checkpoints to this package's parameter names, and to MindSpore and back."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from msgformer.config.constraints import check_choices
from msgformer.errors import UserError
from msgformer.mindspore_backend import Library, check_mindspore, is_mindspore
from msgformer.model_names import resolve
from msgformer.utils.result import Result
from msgformer.weights.files import check_weights_paths


@dataclasses.dataclass(frozen=True)
class Converted(Result):
    """Result of `msgformer.convert`.

    Attributes:
        model: Name of the model.
        num_classes: Number of its classes.
        output: The file that was written.
        tensors: Number of tensors in it.
        parameters: Number of elements of all tensors.
        left_out: Names of classes and functions in the official file whose objects were not restored.
    """

    model: str
    num_classes: int
    output: Path
    tensors: int
    parameters: int
    left_out: list[str]

    def table(self) -> str:
        """Return the numbers as text."""
        text = f"{self.output}: {self.model}, {self.tensors} tensors, {self.parameters:,} parameters"
        return f"{text}\nleft out (not weights): {', '.join(self.left_out)}" if self.left_out else text


def convert(
    official: Path,
    output: Path,
    *,
    overwrite: bool = False,
    model: str | None = None,
    num_classes: int | None = None,
    img_size: int | None = None,
    ema: bool = True,
    to: Library = "torch",
) -> Converted:
    """Convert an official checkpoint, a checkpoint of a run, or a MindSpore checkpoint into another format.

    No code in the file is executed. The model's name,
    arguments and classes that a run's checkpoint records are kept.

    Args:
        official: Official checkpoint (torch.save or safetensors), checkpoint of 'msgformer train', or MindSpore
            checkpoint.
        output: File to write: .safetensors, or .ckpt for MindSpore. A model that was trained here and comes back from
            MindSpore can also be written as a .ckpt checkpoint.
        overwrite: Replace an existing file, once the new one is complete.
        model: Name of the model, or its name in the official code; by default as recorded in the file, or detected from
            the shapes of the parameters.
        num_classes: Number of classes; by default as recorded in the file, or 1000.
        img_size: Side of the images that the checkpoint is for, which determines SG-Former's position embedding; by
            default as recorded in the file, or 224.
        ema: Use the averaged (EMA) weights if the checkpoint holds both.
        to: Library that the output is for: "torch" or "mindspore".

    Returns:
        The file and its contents.

    Raises:
        UserError: A path, name or number can't be used, the checkpoint can't be read or is of another model, the model
            is not available in MindSpore, or the output can't be written.
    """
    check_choices(convert, locals())
    name = None if model is None else resolve(model)
    official, output = Path(official), Path(output)
    from_mindspore = is_mindspore(official)
    check_weights_paths(official, output, *_suffixes(to, from_mindspore), overwrite=overwrite)
    if from_mindspore or to == "mindspore":
        check_mindspore()
    if (num_classes is not None and num_classes < 0) or (img_size is not None and img_size < 1):
        raise UserError(f"num_classes={num_classes}, img_size={img_size}: give num_classes >= 0 and img_size >= 1")

    from msgformer.weights.conversion import read_weights

    weights = read_weights(official, name, num_classes, img_size, ema=ema)
    weights.write(output, official.name, to)
    return Converted(
        model=weights.model,
        num_classes=weights.num_classes,
        output=output,
        tensors=len(weights.state),
        parameters=sum(tensor.numel() for tensor in weights.state.values()),
        left_out=weights.left_out,
    )


def _suffixes(to: Library, from_mindspore: bool) -> tuple[str, ...]:
    """Return the suffixes that the output may have."""
    if to == "mindspore":
        return (".ckpt",)
    return (".safetensors", ".ckpt") if from_mindspore else (".safetensors",)
