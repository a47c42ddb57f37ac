"""``msgformer convert``: weights to a file by this package's parameter names, to MindSpore and back."""

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
    """What was written.

    Attributes:
        model: The model that the parameters are of.
        num_classes: Its classes.
        output: The file.
        tensors: How many tensors it holds.
        parameters: How many numbers those are.
        left_out: Names of classes and functions in the official file whose objects were not restored.
    """

    model: str
    num_classes: int
    output: Path
    tensors: int
    parameters: int
    left_out: list[str]

    def table(self) -> str:
        """The same in words."""
        text = f"{self.output}: {self.model}, {self.tensors} tensors, {self.parameters:,} parameters"
        return f"{text}\nleft out, being no weights: {', '.join(self.left_out)}" if self.left_out else text


def convert(
    official: Path,
    output: Path,
    *,
    model: str | None = None,
    num_classes: int | None = None,
    img_size: int | None = None,
    ema: bool = True,
    to: Library = "torch",
) -> Converted:
    """Turn a checkpoint, an official one, a trained one or one of MindSpore, into a file of another kind.

    Nothing in the file is run. The output appears when it is complete, in the place of one that was there before.
    What a training's checkpoint says about its model, its settings and its classes, stays with the weights.

    Args:
        official: An official checkpoint, a file of torch.save or safetensors; a checkpoint of 'msgformer train'; or
            a checkpoint of MindSpore.
        output: The file to write; its name ends with .safetensors, or with .ckpt for MindSpore. What was trained
            here and comes back from MindSpore becomes a checkpoint again by a name that ends with .ckpt.
        model: The model that the checkpoint is of, by its name or its released name; by default what it says itself,
            or what the shapes of the parameters are of.
        num_classes: The classes of the checkpoint; by default what it says itself, or 1000.
        img_size: The side of the images that the checkpoint is for; it matters for SG-Former's position
            embedding. By default what it says itself, or 224.
        ema: Where the checkpoint holds averaged weights beside the last ones, take the averaged.
        to: The library that the output is for, "torch" or "mindspore".

    Returns:
        What was written.

    Raises:
        UserError: A path, name or number can't be used, the checkpoint can't be read or is of another model,
            MindSpore doesn't have the model, or the output can't be written.
    """
    check_choices(convert, locals())
    name = None if model is None else resolve(model)
    official, output = Path(official), Path(output)
    from_mindspore = is_mindspore(official)
    check_weights_paths(official, output, *_suffixes(to, from_mindspore))
    if from_mindspore or to == "mindspore":
        check_mindspore()
    if (num_classes is not None and num_classes < 0) or (img_size is not None and img_size < 1):
        raise UserError(f"num_classes={num_classes}, img_size={img_size}: neither can be that small")

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
    """How the output's name may end."""
    if to == "mindspore":
        return (".ckpt",)
    return (".safetensors", ".ckpt") if from_mindspore else (".safetensors",)
