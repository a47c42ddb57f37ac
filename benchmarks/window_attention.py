"""Compare the Triton window kernel with PyTorch's attention and plain products, for the stages of MSG-Transformer.

    python benchmarks/window_attention.py --output window_attention.json

Each row is one attention, from the output of the linear layer before to the input of the next one: forward, or forward
with the gradients of queries, keys, values and bias. It needs a GPU that the kernel supports. TRITON_INTERPRET=1 runs
tiny shapes on a CPU instead; these times are meaningless.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.benchmark import Timer

TOKENS, CHANNELS = 50, 32  # a window of 7 x 7 tokens and its messenger
WINDOWS = (64, 16, 4, 1)  # per stage, for an image of 224 x 224
HEADS = {"MSG-T": (2, 4, 8, 16), "MSG-S, MSG-B": (3, 6, 12, 24)}
DTYPES = {"bf16": torch.bfloat16, "fp16": torch.float16, "tf32": torch.float32}

Attention = Callable[[Tensor, Tensor], Tensor]


def kernel(qkv: Tensor, bias: Tensor) -> Tensor:
    """Attend with the Triton kernel.

    Args:
        qkv: Queries, keys and values [W, N, 3, heads, d].
        bias: Position bias [1, heads, N, N].

    Returns:
        Values [W, N, heads * d].
    """
    return torch.ops.msgformer.window_attention([qkv], bias).flatten(2)


def fused(qkv: Tensor, bias: Tensor) -> Tensor:
    """Attend with PyTorch's `scaled_dot_product_attention`; shapes as in `kernel`."""
    query, key, value = qkv.permute(2, 0, 3, 1, 4).unbind(0)
    return F.scaled_dot_product_attention(query, key, value, bias.to(qkv.dtype)).transpose(1, 2).flatten(2)


def products(qkv: Tensor, bias: Tensor) -> Tensor:
    """Attend with separate products and softmax; shapes as in `kernel`."""
    query, key, value = qkv.permute(2, 0, 3, 1, 4).unbind(0)
    scores = (query * query.shape[-1] ** -0.5) @ key.mT + bias.to(qkv.dtype)
    return (scores.softmax(-1) @ value).transpose(1, 2).flatten(2)


ATTENTIONS: dict[str, Attention] = {"kernel": kernel, "sdpa": fused, "products": products}


def forward(attention: Attention, qkv: Tensor, bias: Tensor, _grad: Tensor) -> None:
    """Run one attention."""
    with torch.no_grad():
        attention(qkv, bias)


def forward_and_backward(attention: Attention, qkv: Tensor, bias: Tensor, grad: Tensor) -> None:
    """Run one attention and its gradients."""
    torch.autograd.grad(attention(qkv, bias), (qkv, bias), grad)


def measure(windows: int, heads: int, dtype: torch.dtype, device: str, seconds: float) -> dict[str, dict[str, float]]:
    """Measure median microseconds of each implementation, forward and with gradients.

    Args:
        windows: Number of windows W.
        heads: Number of heads.
        dtype: Number format.
        device: Device.
        seconds: Duration per measurement.
    """
    shape = (windows, TOKENS, 3, heads, CHANNELS)
    qkv = torch.randn(shape, device=device, dtype=dtype, requires_grad=True)
    bias = torch.randn(1, heads, TOKENS, TOKENS, device=device, requires_grad=True)
    grad = torch.randn(windows, TOKENS, heads * CHANNELS, device=device, dtype=dtype)
    times: dict[str, dict[str, float]] = {}
    for step in (forward, forward_and_backward):
        times[step.__name__] = {}
        for name, attention in ATTENTIONS.items():
            step(attention, qkv, bias, grad)  # compiles
            timer = Timer("step(attention, qkv, bias, grad)", globals={**locals()})
            times[step.__name__][name] = timer.blocked_autorange(min_run_time=seconds).median * 1e6
    return times


def main() -> None:
    """Measure, print a table and write JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batch", type=int, nargs="+", default=[1, 16, 128], help="images per batch")
    parser.add_argument("--precision", nargs="+", default=["bf16", "tf32"], choices=DTYPES, help="number formats")
    parser.add_argument("--seconds", type=float, default=0.5, help="seconds per measurement")
    parser.add_argument("--output", type=Path, default=Path("window_attention.json"), help="JSON file to write")
    options = parser.parse_args()
    is_interpreted = os.environ.get("TRITON_INTERPRET") == "1"
    if find_spec("triton") is None:
        sys.exit("the window kernel needs Triton, which is not installed")
    from msgformer.kernels.triton_attention import MIN_CAPABILITY, capability

    if not is_interpreted and capability(torch.device("cuda")) < MIN_CAPABILITY:
        sys.exit("the window kernel needs an NVIDIA GPU from Ampere on; TRITON_INTERPRET=1 runs this on a CPU")
    torch.set_float32_matmul_precision("high")
    device = "cpu" if is_interpreted else "cuda"
    windows, models = (WINDOWS[-1:], {"MSG-T": (2,)}) if is_interpreted else (WINDOWS, HEADS)
    rows: list[dict[str, Any]] = []
    print(f"{'microseconds':40}" + "".join(f"{name:>12}" for name in ATTENTIONS))
    for precision in options.precision:
        for model, heads in models.items():
            for batch in options.batch:
                for stage, (count, number) in enumerate(zip(windows, heads, strict=True), 1):
                    times = measure(batch * count, number, DTYPES[precision], device, options.seconds)
                    rows.append(dict(model=model, stage=stage, batch=batch, precision=precision, microseconds=times))
                    print_times(f"{model}, stage {stage}, {batch} x {precision}", times)
    machine = "CPU" if is_interpreted else torch.cuda.get_device_name()
    options.output.parent.mkdir(parents=True, exist_ok=True)
    options.output.write_text(json.dumps({"machine": machine, "torch": torch.__version__, "rows": rows}, indent=2))


def print_times(title: str, times: dict[str, dict[str, float]]) -> None:
    """Print one line for forward, and one for forward with gradients.

    Args:
        title: Name of the row.
        times: Microseconds by step and implementation.
    """
    for step, found in times.items():
        name = f"{title}{', gradients' if step != 'forward' else ''}"
        print(f"{name:40}" + "".join(f"{value:12.1f}" for value in found.values()))


if __name__ == "__main__":
    main()
