"""The Triton kernel: results in the interpreter, compilation, selection, and results on a GPU."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.testing import assert_close

from msgformer.models import attention, create_model
from msgformer.models.attention import biased_attention, has_kernel, packed_attention, plain_attention

pytest.importorskip("triton", reason="there is no Triton")
if torch.version.cuda is None:
    pytest.skip("PyTorch is not for NVIDIA GPUs", allow_module_level=True)

from msgformer.kernels import triton_attention as window_kernel


def test_results_in_the_interpreter():
    path = Path(__file__).with_name("interpreted_window_kernel.py")
    # Triton asks for this as it is imported, which other tests may have made it before.
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-o", "addopts=", "-p", "no:cacheprovider", "--tb=short", str(path)],
        capture_output=True, text=True, timeout=240, env={**os.environ, "TRITON_INTERPRET": "1"}, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-4000:]


def test_compilation_is_announced_once(tmp_path, monkeypatch, capfd):
    monkeypatch.setenv("MSGFORMER_CACHE", str(tmp_path))
    for _ in range(2):  # as in two processes
        window_kernel.announce_compilation.cache_clear()
        window_kernel.announce_compilation((9, 0))
    said = capfd.readouterr().err
    assert said.count("\n") == 1
    assert "MSGFORMER_WINDOW_KERNEL=0" in said


class Driver:
    """Stands for a GPU, for which Triton compiles."""

    def __init__(self, generation: int) -> None:
        self.generation = generation

    def get_current_target(self):
        from triton.backends.compiler import GPUTarget

        return GPUTarget("cuda", self.generation, 32)

    def get_current_device(self) -> int:
        return self.generation

    def get_current_stream(self, _: int) -> int:
        return 0


class Compiled:
    """A kernel that is compiled and not run."""

    def __init__(self, kernel) -> None:
        self.kernel = kernel
        self.shared: list[int] = []

    def __getitem__(self, grid):
        def run(*arguments, **options) -> None:
            compiled = self.kernel.warmup(*arguments, grid=grid, **options)
            assert compiled.asm["cubin"]
            self.shared.append(compiled.metadata.shared)

        return run


@pytest.mark.parametrize(
    ("generation", "dtype"),
    [
        (90, torch.bfloat16),
        pytest.param(80, torch.bfloat16, marks=pytest.mark.slow),
        pytest.param(80, torch.float32, marks=pytest.mark.slow),
        pytest.param(90, torch.float16, marks=pytest.mark.slow),
        pytest.param(120, torch.bfloat16, marks=pytest.mark.slow),
    ],
)
def test_compiles_for_gpus(generation, dtype, monkeypatch, tmp_path):
    from triton.runtime import driver

    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path))
    monkeypatch.setattr(driver, "_active", Driver(generation))
    kernels = [Compiled(window_kernel._forward), Compiled(window_kernel._backward)]
    monkeypatch.setattr(window_kernel, "_forward", kernels[0])
    monkeypatch.setattr(window_kernel, "_backward", kernels[1])
    monkeypatch.setattr(window_kernel, "_precision", lambda: "tf32")
    qkv, bias = torch.zeros(2, 50, 3, 2, 32, dtype=dtype), torch.zeros(1, 2, 50, 50)
    torch.ops.msgformer.window_attention([qkv], bias)
    torch.ops.msgformer.window_attention_backward(qkv[:, :, 0], [qkv], bias)
    for kernel in kernels:
        assert 0 < kernel.shared[0] < 99 * 2**10  # all that a program may have on the smallest of these GPUs


@pytest.fixture
def fake_gpu(monkeypatch) -> Iterator[None]:
    """Tensors that have no numbers, on a GPU that need not be there."""
    monkeypatch.setattr(window_kernel, "capability", lambda _: (8, 6))
    monkeypatch.setattr(attention, "_kernel_wanted", True)
    with FakeTensorMode():
        yield


def draw(rows: int = 50, channels: int = 32, dtype: torch.dtype = torch.bfloat16, device: str = "cuda") -> list[Tensor]:
    query = torch.empty(4, 2, rows, channels, dtype=dtype, device=device)
    return [query, query, query, torch.empty(1, 2, rows, rows, device=device)]


def chosen(*arguments, dropout: float = 0.0) -> bool:
    query, key, value, bias = arguments
    return has_kernel([query, key, value], bias, dropout)


def test_kernel_is_used_where_supported(fake_gpu):
    assert chosen(*draw())
    assert chosen(*draw(rows=1, channels=16, dtype=torch.float16))
    assert not chosen(*draw(rows=65))
    assert not chosen(*draw(channels=48))
    assert not chosen(*draw(dtype=torch.float64))
    assert not chosen(*draw(device="cpu"))
    assert not chosen(*draw(), dropout=0.1)
    query, key, value, bias = draw()
    assert not chosen(query.float(), key, value, bias)
    assert not chosen(query, key[:1], value[:1], bias)  # PyTorch repeats these
    assert not chosen(query, key, value, bias[:, :1])
    assert not chosen(query, key, value, bias.expand(4, 2, 50, 50))
    with plain_attention():
        assert not chosen(*draw())
    assert chosen(*draw())


def test_kernel_is_not_used_for_exact_products_old_gpus_and_exports(fake_gpu, monkeypatch):
    assert not chosen(*draw(dtype=torch.float32))
    torch.set_float32_matmul_precision("high")
    assert chosen(*draw(dtype=torch.float32))
    torch.set_float32_matmul_precision("highest")
    for where in ("torch.compiler.is_exporting", "torch.jit.is_tracing"):
        with monkeypatch.context() as patched:
            patched.setattr(where, lambda: True)
            assert not chosen(*draw())
    monkeypatch.setattr(window_kernel, "capability", lambda _: (7, 5))
    assert not chosen(*draw())


def test_shapes_equal_plain_attention(fake_gpu):
    *parts, bias = draw()
    qkv = torch.empty(4, 50, 3, 2, 32, dtype=torch.bfloat16, device="cuda")
    found = packed_attention(qkv, bias), biased_attention(*parts, bias)
    grads = torch.ops.msgformer.window_attention_backward(qkv[:, :, 0], [qkv], bias)
    assert [(one.shape, one.dtype) for one in grads] == [(one.shape, one.dtype) for one in (qkv, bias)]
    with plain_attention():
        plain = packed_attention(qkv, bias), biased_attention(*parts, bias)
    assert [(one.shape, one.dtype) for one in found] == [(one.shape, one.dtype) for one in plain]


def outcome(model: nn.Module, images: Tensor) -> list[Tensor]:
    out = model(images)
    return [out.detach(), *torch.autograd.grad(out.square().sum(), list(model.parameters()))]


@pytest.mark.skipif(
    not torch.cuda.is_available() or torch.cuda.get_device_capability() < window_kernel.MIN_CAPABILITY,
    reason="there is no GPU",
)
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
def test_equals_plain_attention_on_a_gpu(dtype):
    torch.set_float32_matmul_precision("high")
    torch.manual_seed(0)
    model = create_model("msg_transformer_tiny", num_classes=5, depths=(1, 1, 1, 1), drop_path_rate=0.0).cuda()
    images = torch.randn(2, 3, 224, 224, device="cuda")
    with torch.autocast("cuda", torch.bfloat16, enabled=dtype == torch.bfloat16):
        with plain_attention():
            expected = outcome(model, images)
        eager, compiled = outcome(model, images), outcome(torch.compile(model, fullgraph=True), images)
    torch.set_float32_matmul_precision("highest")
    close = 0.05 if dtype == torch.bfloat16 else 0.01
    for found in (eager, compiled):
        for one, wanted in zip(found, expected, strict=True):
            assert_close(one, wanted, rtol=0, atol=close * wanted.abs().max().item())
