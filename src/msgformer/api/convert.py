"""``msgformer convert``: an official checkpoint to a file by this package's parameter names, to MindSpore and back."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from msgformer.api.mindspore import Library, check_mindspore, is_mindspore, read_mindspore, save_mindspore
from msgformer.api.result import Result
from msgformer.api.weights import check_weights_paths, write_safetensors, write_whole
from msgformer.catalog import resolve
from msgformer.errors import UserError

SUFFIXES: dict[Library, str] = {"torch": ".safetensors", "mindspore": ".ckpt"}


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
    num_classes: int = 1000,
    img_size: int = 224,
    ema: bool = True,
    to: Library = "torch",
) -> Converted:
    """Turn an official checkpoint, or one of MindSpore, into a file by this package's parameter names.

    Nothing in the official file is run. The output appears when it is complete, in the place of one that was
    there before.

    Args:
        official: The official checkpoint, a file of torch.save or safetensors, or a checkpoint of MindSpore.
        output: The file to write; its name ends with .safetensors, or with .ckpt for MindSpore.
        model: The model that the checkpoint is of, by its name or its released name; found by the shapes of
            the parameters if it isn't given.
        num_classes: The classes of the checkpoint.
        img_size: The side of the images that the checkpoint is for; it matters for SG-Former's position
            embedding.
        ema: Where the checkpoint holds averaged weights beside the last ones, take the averaged.
        to: The library that the output is for, "torch" or "mindspore".

    Returns:
        What was written.

    Raises:
        UserError: a path, name or number can't be used, the checkpoint can't be read or is of another model, or the
            output can't be written.
    """
    name = None if model is None else resolve(model)
    official, output = Path(official), Path(output)
    check_weights_paths(official, output, SUFFIXES[to])
    from_mindspore = is_mindspore(official)
    if from_mindspore or to == "mindspore":
        check_mindspore()
    if num_classes < 0 or img_size < 1:
        raise UserError(f"num_classes={num_classes}, img_size={img_size}: neither can be that small")

    from msgformer.models import create_model
    from msgformer.models.checkpoint import Checkpoint, read_checkpoint
    from msgformer.models.convert import convert_state_dict, find_variant, rename_official

    checkpoint = Checkpoint(read_mindspore(official)) if from_mindspore else read_checkpoint(official)
    if name is None:
        name = find_variant(rename_official(checkpoint, ema=ema))
    if name is None:
        raise UserError(f"'{official}' is of no model of this package; --model NAME shows what differs")
    import torch

    with torch.device("meta"):  # only names and shapes count
        template = create_model(name, num_classes=num_classes, img_size=img_size)
    try:
        state = convert_state_dict(checkpoint, template, ema=ema)
    except UserError as error:
        raise UserError(f"'{official}' doesn't fit {name}: {error}") from error
    if to == "mindspore":
        write_whole(output, lambda path: save_mindspore(state, path))
    else:
        write_safetensors(state, output, {"format": "pt", "model": name, "source": official.name})
    return Converted(
        model=name,
        num_classes=num_classes,
        output=output,
        tensors=len(state),
        parameters=sum(tensor.numel() for tensor in state.values()),
        left_out=list(checkpoint.left_out),
    )
