"""``msgformer init-from``: weights of a Swin Transformer for an MSG-Transformer to start from."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from msgformer.errors import UserError
from msgformer.model_names import resolve
from msgformer.utils.result import Result
from msgformer.weights.files import check_weights_output, check_weights_paths, write_safetensors

FILE_SUFFIXES = (".bin", ".ckpt", ".pt", ".pth", ".safetensors", ".tar")
"""Endings that tell a file from a name of timm's, which may have a dot, too."""


@dataclasses.dataclass(frozen=True)
class InitResult(Result):
    """What was written.

    Attributes:
        model: The model that the weights are for.
        source: Where they come from.
        output: The file.
        carried: Names of the parameters carried as they are.
        stretched: Of those stretched, cut, resampled or laid into a larger kernel.
        new: Of those that the source has nothing for, with the values a new model has.
    """

    model: str
    source: str
    output: Path
    carried: list[str]
    stretched: list[str]
    new: list[str]

    def table(self) -> str:
        """How many came from where, and what to do next."""
        kinds = sorted({".".join(part for part in name.split(".") if not part.isdigit()) for name in self.new})
        return (
            f"{self.output}: {self.model} from {self.source}; {len(self.carried)} parameters carried,"
            f" {len(self.stretched)} stretched, {len(self.new)} new\n"
            f"new: {', '.join(kinds) or 'none'}\n"
            f"'msgformer train --init_from {self.output} --model {self.model} --data FOLDER' starts from them"
        )


def init_from(
    source: str,
    output: Path,
    *,
    model: str = "msg_transformer_v1_tiny",
    num_classes: int = 1000,
    seed: int = 0,
) -> InitResult:
    """Carry the weights of a Swin Transformer into an MSG-Transformer, as far as they fit.

    Version 1 has Swin's widths and depths and takes everything; only messengers are new. For the other variants
    channels and blocks are stretched or cut.

    Args:
        source: A Swin of timm by name, whose weights are then downloaded, such as swin_tiny_patch4_window7_224; or a
            checkpoint of timm's or of the official Swin repository.
        output: The file to write; its name ends with .safetensors.
        model: The MSG-Transformer that the weights are for.
        num_classes: Its classes; the classifier is carried where the source has as many.
        seed: Number that the values of new parameters follow from.

    Returns:
        What was written, and which parameters came from where.

    Raises:
        UserError: A path or name can't be used, the weights aren't a Swin's, or the output can't be written.
    """
    name, output = resolve(model), Path(output)
    if name.startswith("sg"):
        raise UserError(f"model: a Swin's weights fit MSG-Transformer only, not {name}; give one of its variants")
    if num_classes < 0 or seed < 0:
        raise UserError(f"num_classes={num_classes}, seed={seed}: neither can be negative")
    if Path(source).suffix in FILE_SUFFIXES:
        check_weights_paths(Path(source), output)
    else:
        check_weights_output(output)

    import torch

    from msgformer.models import create_model
    from msgformer.weights.swin import load_swin, read_swin

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        target = create_model(name, num_classes=num_classes)
    report = load_swin(target, read_swin(source))
    write_safetensors(target.state_dict(), output, {"format": "pt", "model": name, "source": str(source)})
    return InitResult(name, str(source), output, *report)
