import pytest
import torch

from msgformer.errors import UserError
from msgformer.training.build import build_model, default_size, enable_grad_checkpointing, known_model

TINY = {"embed_dim": 16, "depths": [1, 1], "num_heads": [1, 2], "window_size": 2, "shuffle_sizes": [2, 2]}


def test_builds_models_of_this_package_by_either_name():
    model = build_model("msg_tiny_p4_win7_224", 3, (16, 16), TINY)
    assert model.num_classes == 3
    assert known_model("msg_tiny_p4_win7_224") == "msg_transformer_tiny"


def test_builds_models_of_timm_with_the_size_if_they_need_it():
    vit = build_model("test_vit", 3, (32, 32), {})
    assert vit.patch_embed.img_size == (32, 32)
    assert build_model("test_resnet", 3, (32, 32), {"in_chans": 1}).num_classes == 3


def test_builds_models_of_the_fastervit_package():
    pytest.importorskip("fastervit")
    assert default_size("faster_vit_0_224") == (224, 224)
    model = build_model("faster_vit_0_224", 3, (224, 224), {"dim": 8, "in_dim": 8, "num_heads": [1, 1, 1, 1]})
    assert model.pretrained_cfg["mean"] == (0.485, 0.456, 0.406)
    assert model(torch.zeros(1, 3, 224, 224)).shape == (1, 3)


def test_missing_fastervit_package_is_named(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    with pytest.raises(
        UserError, match=r"'faster_vit_0_224' needs the package 'fastervit'; install it with: uv sync --extra fastervit"
    ):
        known_model("faster_vit_0_224")


def test_default_size_is_in_the_model_configuration():
    assert default_size("msg_transformer_tiny") == (224, 224)
    assert default_size("test_vit") == (160, 160)


@pytest.mark.parametrize(
    ("name", "arguments", "message"),
    [
        ("swin_tny_patch4_window7_224", {}, "unknown model 'swin_tny_.*; did you mean 'swin_tiny_patch4_window7_224'"),
        ("msg_transformer_tiny", {"window_sise": 4}, "takes no 'window_sise'; did you mean 'window_size'"),
        ("test_vit", {"embed_dims": 4}, "takes no 'embed_dims'; did you mean 'embed_dim'"),
        ("msg_transformer_tiny", {"depths": [1, 1]}, "can't be built with model_args"),
    ],
)
def test_unknown_names_and_invalid_arguments_are_refused(name, arguments, message):
    with pytest.raises(UserError, match=message):
        build_model(name, 3, (32, 32), arguments)


def test_gradient_checkpointing_is_enabled_or_refused():
    model = build_model("msg_transformer_tiny", 3, (16, 16), TINY)
    enable_grad_checkpointing(model, "msg_transformer_tiny")
    assert model.stages[0].num_recomputed == len(model.stages[0].blocks)
    with pytest.raises(UserError, match=r"trainer\.grad_checkpointing: .* doesn't support it"):
        enable_grad_checkpointing(torch.nn.Linear(1, 1), "plain")
