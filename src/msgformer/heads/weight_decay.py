"""Which parameters of a detector or segmenter aren't decayed."""

from __future__ import annotations

from torch import nn


def exempt_parameters(model: nn.Module) -> set[str]:
    """Names of the parameters that the backbone exempts, such as its bias tables; 1-d ones are exempt anyway.

    timm asks a model for them by the method ``no_weight_decay``; in a detector or segmenter the backbone is a part.
    """
    exempt: set[str] = set()
    for prefix, part in model.named_modules():
        if prefix and hasattr(part, "no_weight_decay"):
            exempt |= {f"{prefix}.{name}" for name in part.no_weight_decay()}
    return exempt
