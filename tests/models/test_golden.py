"""Equal to the papers' released code: logits, every stage, and all gradients, for the same weights and images."""

import json
from pathlib import Path
from typing import NamedTuple

import pytest
import torch
import torch.nn.functional as F
from safetensors import safe_open
from torch import Tensor, nn

from msgformer.model_names import MODELS
from msgformer.models import convert_state_dict, create_model, guided_attention
from msgformer.models.guided_attention import HybridAttention
from msgformer.models.official_weights import our_name

from .fill import fill, fill_state_dict

FOLDER = Path(__file__).with_name("golden")


def slow(name):
    return pytest.param(name, marks=pytest.mark.slow)


DOUBLE = [
    "msg_transformer_tiny",
    "msg_transformer_v1_tiny",
    "sgformer_small",
    slow("msg_transformer_tiny_noshuffle"),
    slow("msg_transformer_small"),
    slow("sgformer_small_448"),
    slow("sgformer_medium"),
]
SINGLE = [
    "msg_transformer_tiny",
    "msg_transformer_tiny_noshuffle",
    "msg_transformer_v1_tiny",
    slow("msg_transformer_small"),
]
COUNTS = {
    "msg_transformer_tiny": 25_086_116,
    "msg_transformer_small": 55_968_514,
    "msg_transformer_base": 84_392_770,
    "msg_transformer_v1_tiny": 28_290_166,
    "msg_transformer_v1_small": 49_608_358,
    "msg_transformer_v1_base": 87_771_024,
    "sgformer_small": 22_545_981,
    "sgformer_medium": 38_689_316,
    "sgformer_base": 77_950_293,
}


class Golden(NamedTuple):
    """What a file holds: tensors, and how to make weights and images."""

    name: str
    tensors: dict[str, Tensor]
    shapes: dict[str, tuple[int, ...]]
    grad_names: list[str]
    size: int
    batch: int
    salt: str

    @property
    def image(self) -> Tensor:
        return fill("input", (self.batch, 3, self.size, self.size), self.salt)

    def model(self, dtype=torch.float64):
        name = self.name.removesuffix("_noshuffle").removesuffix("_448")
        settings = {"exchange": "none"} if self.name.endswith("_noshuffle") else {}
        if self.size != 224:
            settings["img_size"] = self.size
        model = create_model(name, **settings).to(dtype).eval()
        model.load_state_dict(convert_state_dict(fill_state_dict(self.shapes, self.salt), model))
        return model


def load(name):
    with safe_open(FOLDER / f"{name}.safetensors", "pt") as file:
        meta = file.metadata()
        return Golden(
            name,
            {key: file.get_tensor(key) for key in file.keys()},  # noqa: SIM118, it is no dictionary
            {key: tuple(shape) for key, shape in json.loads(meta["params"]).items()},
            json.loads(meta["grad_names"]),
            int(meta["size"]),
            int(meta["batch"]),
            meta["salt"],
        )


@pytest.fixture(autouse=True)
def _fast_depthwise(monkeypatch):
    """Depth-wise 3 x 3 convolutions as nine products: in float64, PyTorch's own take minutes on a CPU."""
    original = nn.Conv2d._conv_forward

    def forward(conv, x, weight, bias):
        if x.dtype != torch.float64 or conv.groups != x.shape[1]:
            return original(conv, x, weight, bias)
        padded, step = F.pad(x, (1, 1, 1, 1)), conv.stride[0]
        rows, cols = x.shape[2], x.shape[3]
        places = [(row, col) for row in range(3) for col in range(3)]
        products = (
            padded[:, :, row : row + rows : step, col : col + cols : step] * weight[:, :, row, col].unsqueeze(-1)
            for row, col in places
        )
        return sum(products) if bias is None else sum(products) + bias.view(-1, 1, 1)

    monkeypatch.setattr(nn.Conv2d, "_conv_forward", forward)


def stage_outputs(model, run):
    """What each stage gives while ``run`` runs, and the result of that."""
    outputs = []

    def keep(module, args, output):
        outputs.append(tuple(t.detach() for t in (output if isinstance(output, tuple) else (output,))))

    hooks = [stage.register_forward_hook(keep) for stage in model.stages]
    result = run()
    for hook in hooks:
        hook.remove()
    return outputs, result


def check_stages(golden, model, outputs, tolerance):
    for number, output in enumerate(outputs, start=1):
        patches = channels_first(output[0])[:, ::1009]
        if len(output) == 1:
            maps = {"sample": patches, "absmean": output[0].abs().mean()}
        else:
            messengers = channels_first(model.messenger_grid(*output))[:, ::101]
            every_token = torch.cat([tensor.flatten() for tensor in output])
            maps = {"patch_sample": patches, "msg_sample": messengers, "tokens_absmean": every_token.abs().mean()}
        for key, value in maps.items():
            assert_close(value, golden.tensors[f"stage{number}_{key}"], tolerance)


def channels_first(map_):
    """A map [B, H, W, C], flat per image, channels before rows: [B, C * H * W]."""
    return map_.permute(0, 3, 1, 2).flatten(1)


def assert_close(value, wanted, tolerance):
    """Equal in relation to the largest value."""
    error = (value.double().view_as(wanted) - wanted).abs().max() / wanted.abs().max()
    assert error <= tolerance, f"relative error {error:.1e}"


@pytest.mark.parametrize("name", DOUBLE)
def test_outputs_and_gradients_equal_the_released_code(name):
    golden = load(name)
    model, image = golden.model(), golden.image.requires_grad_()
    outputs, logits = stage_outputs(model, lambda: model(image))
    (logits * fill("cotangent", tuple(logits.shape), golden.salt)).sum().backward()

    assert_close(logits.detach(), golden.tensors["logits"], 1e-9)
    assert len(outputs) == 4
    check_stages(golden, model, outputs, 1e-9)
    assert_close(image.grad.flatten()[::4999], golden.tensors["input_grad_sample"], 1e-9)
    check_gradients(golden, model)


def check_gradients(golden, model):
    """Norms of all parameters' gradients, each in relation to itself.

    The bias of a merge that every key shares has no influence: its gradient is zero but for rounding, and is
    compared with the others.
    """
    parameters = dict(model.named_parameters())
    assert {our_name(name) for name in golden.grad_names} == set(parameters)
    norms = torch.stack([parameters[our_name(name)].grad.norm() for name in golden.grad_names])
    wanted = golden.tensors["param_grad_norms"]
    errors = (norms - wanted).abs() / wanted.clamp_min(1e-6 * wanted.max())
    worst = errors.argmax()
    assert errors[worst] <= 1e-9, f"{golden.grad_names[worst]}: relative error {errors[worst]:.1e}"


@pytest.mark.parametrize("name", SINGLE)
@torch.no_grad()
def test_single_precision(name):
    golden = load(name)
    model = golden.model(torch.float32)
    outputs, logits = stage_outputs(model, lambda: model(golden.image.float()))
    assert_close(logits, golden.tensors["logits"], 1e-5)
    check_stages(golden, model, outputs, 1e-5)


@torch.no_grad()
def test_sg_former_in_single_precision(monkeypatch):
    """The first significance map, and then logits with the order of tokens held fixed: near-ties may turn in it."""
    golden = load("sgformer_small")
    image, wanted = golden.image[:1], golden.tensors["logits"][:1]
    maps, orders = [], []

    def keep(module, args, output):
        maps.append(output[1])

    for rank in ("rank_by_row", "rank_by_column"):
        original = getattr(guided_attention, rank)
        monkeypatch.setattr(guided_attention, rank, lambda s, rank=original: orders.append(rank(s)) or orders[-1])
    double = golden.model()
    next(m for m in double.modules() if isinstance(m, HybridAttention)).register_forward_hook(keep)
    assert_close(double(image), wanted, 1e-9)

    for rank in ("rank_by_row", "rank_by_column"):
        monkeypatch.setattr(guided_attention, rank, lambda _: orders.pop(0))
    single = double.float()
    assert_close(single(image.float()), wanted, 1e-5)
    assert_close(maps[1], maps[0], 1e-4)
    assert not orders


@pytest.mark.parametrize("name", MODELS)
def test_parameter_counts_equal_the_papers_tables(name):
    with torch.device("meta"):
        model = create_model(name)
    assert sum(parameter.numel() for parameter in model.parameters()) == COUNTS[name]
