"""The window kernel timed beside PyTorch's attention and plain products, in the shapes of MSG-Transformers' stages.

    python benchmarks/window_attention.py --output window_attention.json

Each row is one attention, out of what the linear layer before it leaves and ready for the next: forward alone, or with
the gradients of queries, keys, values and bias. It needs a GPU that the kernel is for; with TRITON_INTERPRET=1 it goes
through tiny shapes on a CPU, whose times say nothing.
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

TOKENS, CHANNELS = 50, 32  # a window of 7 x 7 and its messenger
WINDOWS = (64, 16, 4, 1)  # of an image of 224 x 224, in each stage
HEADS = {"MSG-T": (2, 4, 8, 16), "MSG-S, MSG-B": (3, 6, 12, 24)}
DTYPES = {"bf16": torch.bfloat16, "fp16": torch.float16, "tf32": torch.float32}

Way = Callable[[Tensor, Tensor], Tensor]


def kernel(qkv: Tensor, bias: Tensor) -> Tensor:
    """This package's kernel."""
    return torch.ops.msgformer.window_attention([qkv], bias).flatten(2)


def fused(qkv: Tensor, bias: Tensor) -> Tensor:
    """PyTorch's attention."""
    query, key, value = qkv.permute(2, 0, 3, 1, 4).unbind(0)
    return F.scaled_dot_product_attention(query, key, value, bias.to(qkv.dtype)).transpose(1, 2).flatten(2)


def products(qkv: Tensor, bias: Tensor) -> Tensor:
    """Products and softmax one after the other."""
    query, key, value = qkv.permute(2, 0, 3, 1, 4).unbind(0)
    scores = (query * query.shape[-1] ** -0.5) @ key.mT + bias.to(qkv.dtype)
    return (scores.softmax(-1) @ value).transpose(1, 2).flatten(2)


WAYS: dict[str, Way] = {"kernel": kernel, "sdpa": fused, "products": products}


def forward(way: Way, qkv: Tensor, bias: Tensor, _grad: Tensor) -> None:
    """One attention."""
    with torch.no_grad():
        way(qkv, bias)


def forward_and_backward(way: Way, qkv: Tensor, bias: Tensor, grad: Tensor) -> None:
    """One attention and its gradients."""
    torch.autograd.grad(way(qkv, bias), (qkv, bias), grad)


def measure(windows: int, heads: int, dtype: torch.dtype, device: str, seconds: float) -> dict[str, dict[str, float]]:
    """Median microseconds of each way, forward and with its gradients."""
    shape = (windows, TOKENS, 3, heads, CHANNELS)
    qkv = torch.randn(shape, device=device, dtype=dtype, requires_grad=True)
    bias = torch.randn(1, heads, TOKENS, TOKENS, device=device, requires_grad=True)
    grad = torch.randn(windows, TOKENS, heads * CHANNELS, device=device, dtype=dtype)
    times: dict[str, dict[str, float]] = {}
    for step in (forward, forward_and_backward):
        times[step.__name__] = {}
        for name, way in WAYS.items():
            step(way, qkv, bias, grad)  # compiles
            timer = Timer("step(way, qkv, bias, grad)", globals={**locals()})
            times[step.__name__][name] = timer.blocked_autorange(min_run_time=seconds).median * 1e6
    return times


def main() -> None:
    """Measure, print a table, write JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batch", type=int, nargs="+", default=[1, 16, 128], help="images at once")
    parser.add_argument("--precision", nargs="+", default=["bf16", "tf32"], choices=DTYPES, help="types of numbers")
    parser.add_argument("--seconds", type=float, default=0.5, help="how long each is measured")
    parser.add_argument("--output", type=Path, default=Path("window_attention.json"), help="JSON file to write")
    options = parser.parse_args()
    tried = os.environ.get("TRITON_INTERPRET") == "1"
    if find_spec("triton") is None:
        sys.exit("the window kernel needs Triton, which is not installed")
    from msgformer.kernels.triton_attention import MIN_CAPABILITY, capability

    if not tried and capability(torch.device("cuda")) < MIN_CAPABILITY:
        sys.exit("there is no GPU that the window kernel is for; TRITON_INTERPRET=1 goes through this on a CPU")
    torch.set_float32_matmul_precision("high")
    device = "cpu" if tried else "cuda"
    windows, models = (WINDOWS[-1:], {"MSG-T": (2,)}) if tried else (WINDOWS, HEADS)
    rows: list[dict[str, Any]] = []
    print(f"{'microseconds':40}" + "".join(f"{name:>12}" for name in WAYS))
    for precision in options.precision:
        for model, heads in models.items():
            for batch in options.batch:
                for stage, (count, number) in enumerate(zip(windows, heads, strict=True), 1):
                    times = measure(batch * count, number, DTYPES[precision], device, options.seconds)
                    rows.append(dict(model=model, stage=stage, batch=batch, precision=precision, microseconds=times))
                    print_times(f"{model}, stage {stage}, {batch} x {precision}", times)
    machine = "CPU" if tried else torch.cuda.get_device_name()
    options.output.parent.mkdir(parents=True, exist_ok=True)
    options.output.write_text(json.dumps({"machine": machine, "torch": torch.__version__, "rows": rows}, indent=2))


def print_times(title: str, times: dict[str, dict[str, float]]) -> None:
    """A line for each of forward alone and with gradients."""
    for step, found in times.items():
        name = f"{title}{', gradients' if step != 'forward' else ''}"
        print(f"{name:40}" + "".join(f"{value:12.1f}" for value in found.values()))


if __name__ == "__main__":
    main()
