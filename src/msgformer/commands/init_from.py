"""``msgformer init-from``: initialize an MSG-Transformer from the weights of a Swin Transformer."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from msgformer.checkpoints.model_location import WEIGHTS_SUFFIXES
from msgformer.errors import UserError
from msgformer.model_names import resolve
from msgformer.utils.result import Result
from msgformer.weights.files import check_weights_output, check_weights_paths, write_safetensors

SOURCE_SUFFIXES = (*WEIGHTS_SUFFIXES, ".bin", ".tar")
"""Suffixes of files; they distinguish a file from a timm model name, which may contain a dot, too."""


@dataclasses.dataclass(frozen=True)
class InitResult(Result):
    """Result of `msgformer.init_from`.

    Attributes:
        model: Name of the model that the weights are for.
        source: The Swin Transformer that they come from.
        output: The file that was written.
        carried: Names of the parameters that were copied unchanged.
        stretched: Names of the parameters that were resized, resampled or embedded in a larger kernel.
        new: Names of the parameters that the source does not have; they keep their random initialization.
    """

    model: str
    source: str
    output: Path
    carried: list[str]
    stretched: list[str]
    new: list[str]

    def table(self) -> str:
        """Return the number of parameters of each kind, and the next command."""
        kinds = sorted({".".join(part for part in name.split(".") if not part.isdigit()) for name in self.new})
        return (
            f"{self.output}: {self.model} from {self.source}; {len(self.carried)} parameters copied,"
            f" {len(self.stretched)} resized, {len(self.new)} new\n"
            f"new: {', '.join(kinds) or 'none'}\n"
            f"'msgformer train --init_from {self.output} --model {self.model} --data FOLDER' starts from them"
        )


def init_from(
    source: str,
    output: Path,
    *,
    overwrite: bool = False,
    model: str = "msg_transformer_v1_tiny",
    num_classes: int = 1000,
    seed: int = 0,
) -> InitResult:
    """Initialize an MSG-Transformer from the weights of a Swin Transformer.

    The v1 models have the widths and depths of Swin, so that all of its weights are copied and only the messengers are
    new. For the other models, channels and blocks are repeated or dropped.

    Args:
        source: Name of a timm Swin model, such as swin_tiny_patch4_window7_224, whose weights are then downloaded; or a
            checkpoint of timm or of the official Swin repository.
        output: File to write; its name must end with .safetensors.
        overwrite: Replace an existing file, once the new one is complete.
        model: Name of the MSG-Transformer.
        num_classes: Number of classes; the classifier is copied if the source has the same number.
        seed: Random seed of the new parameters.

    Returns:
        The file, and the origin of each parameter.

    Raises:
        UserError: A path or name can't be used, the weights are not those of a Swin Transformer, or the output can't be
            written.
    """
    name, output = resolve(model), Path(output)
    if name.startswith("sg"):
        raise UserError(f"model: a Swin's weights fit MSG-Transformer only, not {name}; give one of its variants")
    if num_classes < 0 or seed < 0:
        raise UserError(f"num_classes={num_classes}, seed={seed}: neither can be negative")
    if Path(source).suffix in SOURCE_SUFFIXES:
        check_weights_paths(Path(source), output, overwrite=overwrite)
    else:
        check_weights_output(output, overwrite=overwrite)

    import torch

    from msgformer.models import create_model
    from msgformer.weights.swin import load_swin, read_swin

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        target = create_model(name, num_classes=num_classes)
    report = load_swin(target, read_swin(source))
    write_safetensors(target.state_dict(), output, {"format": "pt", "model": name, "source": str(source)})
    return InitResult(name, str(source), output, *report)
