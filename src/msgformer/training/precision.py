"""Resolution of the precision "auto" for the hardware."""

from __future__ import annotations

from typing import Any

import torch

_NATIVE_BF16 = ("avx512_bf16", "amx_bf16", "bf16")
"""CPU capabilities, of x86 and of ARM, for multiplication in bfloat16."""


def resolve_precision(precision: str, accelerator: str) -> Any:
    """Return the precision in Lightning's terms.

    "auto" is bf16-mixed if the hardware multiplies in bfloat16, and 32-true otherwise, where bfloat16 would be slower.

    Args:
        precision: The requested precision.
        accelerator: "auto", "cpu", "gpu" or another accelerator of Lightning.
    """
    if precision != "auto":
        return precision
    if accelerator in ("auto", "gpu", "cuda") and torch.cuda.is_available():
        native = torch.cuda.is_bf16_supported(including_emulation=False)
    elif accelerator == "cpu" or (accelerator == "auto" and not torch.accelerator.is_available()):
        capabilities = torch.cpu.get_capabilities()
        native = any(capabilities.get(name, False) for name in _NATIVE_BF16)
    else:
        native = False
    return "bf16-mixed" if native else "32-true"
