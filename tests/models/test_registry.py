import pytest
from torch import nn

import msgformer.models  # noqa: F401  # registers the models with timm
from msgformer.errors import UserError
from msgformer.model_names import ALIASES
from msgformer.models.registry import build_timm_model, known_model, pretrained_cfg


def test_released_names_are_resolved():
    for alias, name in ALIASES.items():
        assert known_model(alias) == name
    for name in ("sgformer_small", "resnet18", "hf-hub:timm/resnet18.a1_in1k"):
        assert known_model(name) == name


def test_unknown_names_are_refused_with_the_nearest():
    with pytest.raises(UserError, match=r"unknown model 'sgformer_smal'; did you mean 'sgformer_small'"):
        known_model("sgformer_smal")


@pytest.mark.parametrize(
    ("name", "remedy"),
    [
        ("sgformer_small", "convert the authors' weights"),
        ("msg_transformer_tiny", "start from a Swin"),
        ("other", "give checkpoint_path=FILE"),
    ],
)
def test_missing_weights_are_refused_with_a_remedy(name, remedy):
    with pytest.raises(UserError, match=f"^pretrained: no weights of {name} are published; {remedy}"):
        build_timm_model(nn.Linear, name, True, pretrained_cfg=pretrained_cfg())


def test_configuration_has_no_weights_and_accepts_any_size():
    config = pretrained_cfg(input_size=(3, 64, 64), num_classes=3)
    assert (config["input_size"], config["num_classes"], config["url"]) == ((3, 64, 64), 3, "")
    assert config["fixed_input_size"] is False
