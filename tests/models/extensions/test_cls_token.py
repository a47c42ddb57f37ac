"""The CLS token of a DeiT, learned or random."""

import pytest
import timm
import torch

from msgformer.model_names import MODELS
from msgformer.models import create_model
from msgformer.models.extensions.cls_token import ClsTransformer

SIZES = {"img_size": 32, "patch_size": 8, "embed_dim": 32, "depth": 2, "num_heads": 2, "num_classes": 5}
IMAGE = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(1))


def make(cls, name="deit_small_cls"):
    torch.manual_seed(0)
    return timm.create_model(name, cls=cls, **SIZES).eval()


def test_learned_token_equals_timms_deit():
    torch.manual_seed(0)
    deit = timm.create_model("deit_small_patch16_224", **SIZES).eval()
    ours = make("learned")
    deit.load_state_dict(ours.state_dict())
    assert torch.equal(ours(IMAGE), deit(IMAGE))
    with torch.device("meta"):
        counts = [
            sum(p.numel() for p in timm.create_model(name).parameters())
            for name in ("deit_small_cls", "deit_small_patch16_224")
        ]
    assert counts[0] == counts[1]


@pytest.mark.parametrize("cls", ["random_eval", "random"])
def test_random_token_is_used_in_evaluation_only(cls):
    learned, other = make("learned"), make(cls)
    assert torch.equal(other.train()(IMAGE), learned.train()(IMAGE))
    assert not torch.allclose(other.eval()(IMAGE), learned.eval()(IMAGE))
    assert torch.equal(other(IMAGE), make(cls)(IMAGE))
    with torch.no_grad():
        learned.cls_token.copy_(other.drawn)
    torch.testing.assert_close(other(IMAGE), learned(IMAGE))
    assert other.cls_token.requires_grad == (cls == "random_eval")


def test_unknown_cls_is_an_error():
    with pytest.raises(ValueError, match="got 'lerned'"):
        ClsTransformer("lerned")


def test_model_is_not_listed():
    assert "deit_small_cls" not in MODELS
    with torch.device("meta"):
        assert type(create_model("deit_small_cls")).__name__ == "ClsTransformer"  # by its name in timm's registry
