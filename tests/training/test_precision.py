"""The number format that "auto" stands for."""

import pytest
import torch

from msgformer.config.training_options import TrainerOptions
from msgformer.training.precision import known_precision
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
def test_a_cpu_that_multiplies_in_bfloat16_does(capabilities, expected, monkeypatch):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: capabilities)
    assert known_precision("auto", "cpu") == expected
    assert build_trainer(TrainerOptions(accelerator="cpu", precision="auto", progress="none")).precision == expected


@pytest.mark.parametrize("native", [True, False])
def test_a_gpu_that_multiplies_in_bfloat16_does(native, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda **_: native)
    assert known_precision("auto", "gpu") == ("bf16-mixed" if native else "32-true")


def test_what_is_asked_for_stays(monkeypatch):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx512_bf16": True})
    assert known_precision("32-true", "cpu") == "32-true"
    assert known_precision("auto", "tpu") == "32-true"
