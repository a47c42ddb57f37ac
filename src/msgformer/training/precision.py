"""The number format to compute in, where the user leaves the choice to the machine."""

from __future__ import annotations

from typing import Any

import torch

_NATIVE_BF16 = ("avx512_bf16", "amx_bf16", "bf16")
"""Instructions of x86 and of ARM that multiply in bfloat16."""


def known_precision(precision: str, accelerator: str) -> Any:
    """The number format itself, in Lightning's words: "auto" is bf16-mixed where the machine multiplies in bfloat16.

    Elsewhere bfloat16 would only cost time, and 32-true is left.

    Args:
        precision: What the user asks for.
        accelerator: "auto", "cpu", "gpu" or another that Lightning knows.
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
