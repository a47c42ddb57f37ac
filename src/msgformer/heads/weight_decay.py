"""Parameters of detectors and segmenters that have no weight decay."""

from __future__ import annotations

from torch import nn


def exempt_parameters(model: nn.Module) -> set[str]:
    """Return the names of the parameters that the backbone exempts from weight decay, such as bias tables.

    timm calls ``no_weight_decay`` of the whole model, while in a detector or segmenter only the backbone, a submodule,
    has this method. timm itself exempts 1-d parameters.
    """
    exempt: set[str] = set()
    for prefix, part in model.named_modules():
        if prefix and hasattr(part, "no_weight_decay"):
            exempt |= {f"{prefix}.{name}" for name in part.no_weight_decay()}
    return exempt
