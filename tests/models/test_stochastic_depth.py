"""Stochastic depth: skipping dropped images changes neither outputs nor gradients."""

import pytest
import torch
from timm.layers import DropPath
from torch import Tensor, nn
from torch._subclasses import FakeTensorMode
from torch.testing import assert_close

from msgformer import create_model
from msgformer.models.stochastic_depth import DropPathMask, sample_drop_path

SMALL = dict(num_classes=5, depths=(1, 2, 2, 1), drop_path_rate=0.5)
MODELS = {
    "msg_transformer_tiny": dict(embed_dim=16, num_heads=(1, 1, 2, 2), window_size=4),
    "sgformer_small": dict(embed_dims=(16, 32, 64, 64), num_heads=(2, 2, 2, 2)),
}


@pytest.fixture
def everything_computed(monkeypatch):
    """Lets branches be computed for all images, as on a GPU, when it is called."""

    def multiply(drop_path: nn.Module, x: Tensor, batch: int) -> DropPathMask:
        found = sample_drop_path(drop_path, x, batch)
        if found.images is None:
            return found
        weight = torch.zeros(batch).index_fill(0, found.images, found.weight)
        return DropPathMask(batch, None, weight)

    def patch() -> None:
        for module in ("msg_transformer", "sg_former", "extensions.coverage"):
            monkeypatch.setattr(f"msgformer.models.{module}.sample_drop_path", multiply)

    return patch


def step(model: nn.Module, images: Tensor) -> list[Tensor]:
    torch.manual_seed(3)
    out = model(images)
    return [out.detach(), *torch.autograd.grad(out.square().sum(), list(model.parameters()))]


@pytest.mark.parametrize("messengers", ["learned", "overlapping", None])
def test_skipped_branches_do_not_change_results(messengers, everything_computed):
    name = "msg_transformer_tiny" if messengers else "sgformer_small"
    options = {"messengers": messengers} if messengers else {}
    torch.manual_seed(0)
    model = create_model(name, **SMALL, **MODELS[name], **options).train()
    images = torch.randn(5, 3, 64, 64)
    found = step(model, images)
    everything_computed()
    for one, two in zip(found, step(model, images), strict=True):
        assert_close(one, two, rtol=1e-4, atol=1e-5 * max(1e-3, two.abs().max().item()))


def test_branches_are_computed_for_kept_images_only(monkeypatch):
    seen = []
    model = create_model("msg_transformer_tiny", **SMALL, **MODELS["msg_transformer_tiny"]).train()
    model.stages[-1].blocks[0].mlp.register_forward_hook(lambda _, given, __: seen.append(len(given[0])))
    images = torch.randn(16, 3, 64, 64)
    torch.manual_seed(0)
    model(images)
    assert 1 <= seen[0] < 16
    model.eval()(images)
    assert seen[1] == 16


def test_drop_rate_and_scale():
    drop_path, x = DropPath(0.25).train(), torch.zeros(4000, 2)
    kept = sample_drop_path(drop_path, x, 4000)
    out = kept.scatter_add(x, torch.ones(len(kept.gather(x)), 2))
    assert out[:, 0].unique().tolist() == pytest.approx([0, 1 / 0.75])
    assert out.mean().item() == pytest.approx(1, abs=0.05)
    assert out[:, 0].equal(out[:, 1])
    unscaled = sample_drop_path(DropPath(0.25, scale_by_keep=False).train(), x, 4000)
    assert unscaled.weight == 1


@pytest.mark.parametrize("drop_path", [nn.Identity(), DropPath(0.0), DropPath(0.5).eval()])
def test_nothing_is_dropped(drop_path):
    assert sample_drop_path(drop_path, torch.zeros(3, 2), 3) == DropPathMask(3)


@pytest.mark.parametrize("batch", [1, 3])
def test_parameters_have_gradients_if_all_images_are_dropped(batch):
    branch, x = nn.Linear(2, 2), torch.randn(batch * 4, 2, requires_grad=True)
    kept = sample_drop_path(DropPath(1.0).train(), x, batch)
    out = kept.scatter_add(x, branch(kept.gather(x)))
    assert_close(out, x)
    out.sum().backward()
    assert branch.weight.grad.eq(0).all()
    assert x.grad.eq(1).all()


def test_dtypes_are_promoted_as_in_a_sum():
    x, branch = torch.randn(4, 2), torch.randn(2, 2, dtype=torch.bfloat16)
    some, weighted = DropPathMask(4, torch.tensor([0, 3]), 2.0), DropPathMask(4, None, torch.tensor([2.0, 0, 0, 2]))
    whole = torch.zeros(4, 2, dtype=torch.bfloat16).index_copy(0, torch.tensor([0, 3]), branch)
    assert some.scatter_add(x, branch).dtype == weighted.scatter_add(x, whole).dtype == torch.float32
    assert_close(some.scatter_add(x, branch), weighted.scatter_add(x, whole))
    assert some.scatter_add(x.bfloat16(), branch.float()).dtype == torch.float32


def test_graphs_have_one_shape():
    torch.manual_seed(0)
    name = "msg_transformer_tiny"
    model = create_model(name, **SMALL, **MODELS[name]).train()
    with FakeTensorMode(allow_non_fake_inputs=True):
        assert model(torch.randn(4, 3, 64, 64)).shape == (4, 5)
    compiled = torch.compile(model, backend="aot_eager", fullgraph=True)
    compiled(torch.randn(4, 3, 64, 64)).sum().backward()
    assert all(parameter.grad is not None for parameter in model.parameters())
