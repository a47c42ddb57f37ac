"""Resolution of the precision "auto"."""

import pytest
import torch

from msgformer.config.training_options import TrainerOptions
from msgformer.training.precision import resolve_precision
from msgformer.training.trainer import build_trainer


@pytest.mark.parametrize(
    ("capabilities", "expected"),
    [
        ({"avx512_bf16": True}, "bf16-mixed"),
        ({"avx512_bf16": False, "amx_bf16": True}, "bf16-mixed"),
        ({"bf16": True}, "bf16-mixed"),
        ({"avx512_bf16": False, "avx512_f": True}, "32-true"),
        ({}, "32-true"),
    ],
)
def test_auto_on_a_cpu_with_and_without_bfloat16(capabilities, expected, monkeypatch):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: capabilities)
    assert resolve_precision("auto", "cpu") == expected
    assert build_trainer(TrainerOptions(accelerator="cpu", precision="auto", progress="none")).precision == expected


def test_auto_without_an_accelerator_is_that_of_the_cpu(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.accelerator, "is_available", lambda: False)
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"bf16": True})
    assert resolve_precision("auto", "auto") == "bf16-mixed"


@pytest.mark.parametrize("native", [True, False])
def test_auto_on_a_gpu_with_and_without_bfloat16(native, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda **_: native)
    assert resolve_precision("auto", "gpu") == ("bf16-mixed" if native else "32-true")


def test_given_precision_is_unchanged(monkeypatch):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx512_bf16": True})
    assert resolve_precision("32-true", "cpu") == "32-true"
    assert resolve_precision("auto", "tpu") == "32-true"
