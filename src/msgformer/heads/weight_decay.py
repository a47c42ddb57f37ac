"""Parameters of detectors and segmenters without weight decay."""

from __future__ import annotations

from torch import nn


def exempt_parameters(model: nn.Module) -> set[str]:
    """Names of the parameters that the backbone exempts, such as bias tables; 1-d parameters are always exempt.

    timm calls the method ``no_weight_decay`` of a model; in a detector or segmenter the backbone is a submodule.
    """
    exempt: set[str] = set()
    for prefix, part in model.named_modules():
        if prefix and hasattr(part, "no_weight_decay"):
            exempt |= {f"{prefix}.{name}" for name in part.no_weight_decay()}
    return exempt
