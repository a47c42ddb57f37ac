import pytest
import torch
from torch import nn

from msgformer.errors import UserError
from msgformer.tasks.device import find_device, find_placement

CPU = torch.device("cpu")


class Outputs(nn.Module):
    """Returns its input in nested outputs."""

    def forward(self, x, index):
        self.seen = x.dtype
        return {"list": [x, index], "text": "unchanged"}


@pytest.mark.parametrize(
    ("precision", "autocast", "dtype"),
    [
        ("float32", None, torch.float32),
        ("32-true", None, torch.float32),
        ("bf16", torch.bfloat16, torch.float32),
        ("bf16-mixed", torch.bfloat16, torch.float32),
        ("bf16-true", None, torch.bfloat16),
        ("float64", None, torch.float64),
    ],
)
def test_precisions_are_found_by_both_names(precision, autocast, dtype):
    placement = find_placement("cpu", precision)
    assert (placement.device, placement.autocast, placement.dtype) == (CPU, autocast, dtype)


def test_inputs_are_cast_and_outputs_are_float32():
    model = Outputs()
    out = find_placement("cpu", "bf16-true").place(model)(torch.ones(2), torch.tensor([3]))
    assert model.seen == torch.bfloat16
    assert out["text"] == "unchanged"
    assert [value.dtype for value in out["list"]] == [torch.float32, torch.int64]
    assert out["list"][0].is_inference()


@pytest.mark.parametrize("precision", ["bf16", "float32"])
def test_matrix_products_follow_the_precision(precision):
    model = nn.Linear(4, 4)
    run = find_placement("cpu", precision).place(model)
    x = torch.randn(3, 4)
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16"):
        expected = model(x).float()
    assert torch.equal(run(x), expected)
    assert model.weight.dtype == torch.float32


def test_fp16_on_the_cpu_is_refused():
    with pytest.raises(UserError, match="fp16 needs a GPU"):
        find_placement("cpu", "fp16")


@pytest.mark.parametrize("name", ["abacus", "cuda:x", "cpu:one"])
def test_unknown_devices_are_refused(name):
    with pytest.raises(UserError, match=f"^device must be auto, cpu, cuda or cuda:N, not '{name}'$"):
        find_device(name)


def test_devices_of_the_machine(monkeypatch):
    monkeypatch.setattr(torch.accelerator, "is_available", lambda: False)
    assert find_device("auto") == CPU
    with pytest.raises(UserError, match="there is no cuda device on this machine"):
        find_device("cuda")
    monkeypatch.setattr(torch.accelerator, "is_available", lambda: True)
    monkeypatch.setattr(torch.accelerator, "current_accelerator", lambda: torch.device("cuda"))
    monkeypatch.setattr(torch.accelerator, "device_count", lambda: 2)
    assert find_device("auto") == torch.device("cuda")
    assert find_device("gpu:1") == torch.device("cuda", 1)
    assert find_device("cpu") == CPU
    with pytest.raises(UserError, match=r"there is no cuda:2 among 2 device\(s\); give a number from 0 to 1"):
        find_device("cuda:2")
    with pytest.raises(UserError, match="there is no mps device on this machine"):
        find_device("mps")
