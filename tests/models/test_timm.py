"""timm's model interface, for every family."""

import copy
import io
import pickle

import pytest
import timm
import torch
from timm.models import load_checkpoint, save_for_hf
from timm.optim import param_groups_layer_decay

from msgformer.errors import UserError
from msgformer.model_names import ALIASES, MODELS
from msgformer.models import create_model
from msgformer.models.loading import checkpoint_filter_fn
from msgformer.models.window import Grid

SMALL = {
    "msg_transformer_tiny": {"embed_dim": 32, "num_heads": (1, 2, 4, 8), "depths": (1, 1, 2, 1)},
    "msg_transformer_v1_tiny": {"embed_dim": 32, "num_heads": (1, 2, 4, 8), "depths": (1, 1, 2, 1)},
    "sgformer_small": {"embed_dims": (32, 64, 128, 256), "depths": (2, 1, 1, 1)},
}
CHANNELS = [32, 64, 128, 256]


def small(name, **kwargs):
    torch.manual_seed(0)
    extra = {"shuffle_sizes": (4, 4, 4, 4)} if name.startswith("msg") else {}
    return timm.create_model(name, **{**SMALL[name], **extra, "num_classes": 7, **kwargs}).eval()


@pytest.fixture(params=SMALL)
def name(request):
    return request.param


@pytest.fixture
def image():
    return torch.randn(2, 3, 96, 80, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("released", [*MODELS, *ALIASES])
def test_every_name_creates_its_model(released):
    with torch.device("meta"):
        model = timm.create_model(released)
    state, cfg = model.state_dict(), model.pretrained_cfg
    assert timm.models.is_model(ALIASES.get(released, released))
    assert f"{cfg['classifier']}.weight" in state
    assert f"{cfg['first_conv']}.weight" in state
    assert cfg["input_size"] == (3, 224, 224)


def test_unknown_name_error_suggests_a_name():
    with pytest.raises(UserError, match="msg_transformer_tiny"):
        create_model("msg_transformer_tinny")


@pytest.mark.parametrize(("family", "pooled"), [("msg_transformer_tiny", (1, 1)), ("sgformer_small", (7, 7))])
def test_feature_size_at_224_matches_the_config(family, pooled):
    model = small(family)
    features = model.forward_features(torch.randn(1, 3, 224, 224))
    assert features.shape == (1, *pooled, 256)
    assert model.pretrained_cfg["pool_size"] == pooled


def test_heads(name, image):
    model = small(name)
    features = model.forward_features(image)
    logits = model(image)
    assert logits.shape == (2, 7)
    torch.testing.assert_close(model.forward_head(features), logits)
    pooled = model.forward_head(features, pre_logits=True)
    assert pooled.shape == (2, model.head_hidden_size)
    torch.testing.assert_close(pooled, features.mean(dim=(1, 2)))
    assert model.get_classifier().weight.shape == (7, 256)
    model.reset_classifier(0)
    torch.testing.assert_close(model(image), pooled)
    model.reset_classifier(0, "")
    torch.testing.assert_close(model(image), features)
    model.reset_classifier(5, "max")
    assert model(image).shape == (2, 5)
    assert small(name, num_classes=0, global_pool="")(image).shape == features.shape


def test_features_only(name, image):
    model = small(name, features_only=True, out_indices=(1, 3))
    assert model.feature_info.channels() == [64, 256]
    assert model.feature_info.reduction() == [8, 32]
    assert [tuple(m.shape) for m in model(image)] == [(2, 64, 12, 10), (2, 256, 3, 3)]


def test_intermediates(name, image):
    model = small(name)
    final, maps = model.forward_intermediates(image)
    torch.testing.assert_close(final, model.forward_features(image))
    assert [tuple(m.shape[1:]) for m in maps] == [(32, 24, 20), (64, 12, 10), (128, 6, 5), (256, 3, 3)]
    last = model.forward_intermediates(image, indices=1, intermediates_only=True)
    torch.testing.assert_close(last, maps[-1:])
    nhwc = model.forward_intermediates(image, indices=[0, 2], output_fmt="NHWC", intermediates_only=True)
    torch.testing.assert_close([m.permute(0, 3, 1, 2) for m in nhwc], [maps[0], maps[2]])
    ran = []
    for stage in model.stages:
        stage.register_forward_hook(lambda *_: ran.append(1))
    early = model.forward_intermediates(image, indices=[0, 1], stop_early=True, intermediates_only=True)
    torch.testing.assert_close(early, maps[:2])
    assert len(ran) == 2
    with pytest.raises(ValueError, match="NCHW"):
        model.forward_intermediates(image, output_fmt="NLC")


def test_final_norm_applies_to_the_last_map_only(image):
    model = small("msg_transformer_tiny")
    plain = model.forward_intermediates(image, intermediates_only=True)
    normed = model.forward_intermediates(image, norm=True, intermediates_only=True)
    torch.testing.assert_close(normed[:3], plain[:3])
    expected = model.norm(plain[3].permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
    torch.testing.assert_close(normed[3], expected)


def test_intermediates_with_messengers(image):
    model = small("msg_transformer_tiny")
    pairs = model.forward_intermediates(image, return_messengers=True, intermediates_only=True)
    assert [tuple(grid.shape) for _, grid in pairs] == [(2, 32, 4, 3), (2, 64, 2, 2), (2, 128, 1, 1), (2, 256, 1, 1)]
    normed = model.forward_intermediates(image, return_messengers=True, norm=True, intermediates_only=True)
    assert [len(pair) for pair in normed] == [2, 2, 2, 2]
    torch.testing.assert_close(normed[3][1], pairs[3][1])


def test_pruning_keeps_the_maps(name, image):
    model = small(name)
    maps = model.forward_intermediates(image, indices=[0, 1], intermediates_only=True)
    assert model.prune_intermediate_layers([0, 1], prune_norm=True) == [0, 1]
    assert len(model.stages) == 2
    assert model.num_classes == 0
    torch.testing.assert_close(model.forward_intermediates(image, indices=[0, 1], intermediates_only=True), maps)


def test_every_parameter_has_a_layer_and_a_gradient(name, image):
    model = small(name).train()
    groups = param_groups_layer_decay(model, layer_decay=0.5, no_weight_decay_list=model.no_weight_decay())
    assert sum(len(group["params"]) for group in groups) == len(list(model.parameters()))
    assert len({group["lr_scale"] for group in groups}) > 4
    assert model.no_weight_decay() <= {parameter for parameter, _ in model.named_parameters()}
    model(image).sum().backward()
    assert [parameter for parameter, value in model.named_parameters() if value.grad is None] == []


def test_checkpointing_changes_nothing(name, image):
    plain, frugal = small(name, drop_path_rate=0.0).train(), small(name, drop_path_rate=0.0).train()
    frugal.set_grad_checkpointing()
    results = [model(image) for model in (plain, frugal)]
    for result in results:
        result.square().sum().backward()
    torch.testing.assert_close(*results)
    for one, other in zip(plain.parameters(), frugal.parameters(), strict=True):
        torch.testing.assert_close(one.grad, other.grad)


@pytest.mark.parametrize(
    ("name", "recomputed"), [("msg_transformer_tiny", [2, 4, 10, 0]), ("sgformer_small", [2, 4, 12, 0])]
)
def test_checkpointing_stores_activations_of_the_last_blocks(name, recomputed):
    model = timm.create_model(name)
    model.set_grad_checkpointing()
    assert [stage.num_recomputed for stage in model.stages] == recomputed
    model.set_grad_checkpointing(False)
    assert not any(stage.num_recomputed for stage in model.stages)


def test_another_window_resamples_the_tables():
    model = small("msg_transformer_tiny")
    table = model.stages[0].blocks[0].attn.relative_position_bias_table
    model.set_input_size(img_size=(128, 96), window_size=(4, 6))
    resized = model.stages[0].blocks[0].attn.relative_position_bias_table
    assert table.shape == (169, 1)
    assert resized.shape == (7 * 11, 1)
    torch.testing.assert_close(resized[77 // 2], table[169 // 2])  # the middle, of a token with itself, stays
    assert model.img_size == (128, 96)
    assert model(torch.randn(1, 3, 128, 96)).shape == (1, 7)


@pytest.mark.parametrize("window", [(2, 3), (1, 13)])
def test_tables_of_oblong_windows_are_resampled_by_their_own_shape(window):
    """The table of 1 x 13 has 25 entries, as many as that of a square window of 3."""
    attn = small("msg_transformer_tiny", window_size=window).stages[0].blocks[0].attn
    rows, cols = 2 * window[0] - 1, 2 * window[1] - 1
    ramp = torch.arange(cols, dtype=torch.float32).repeat(rows)
    with torch.no_grad():
        attn.relative_position_bias_table.copy_(ramp[:, None])
    attn.set_window_size((4, window[1]))
    resized = attn.relative_position_bias_table.detach().view(7, cols)
    assert (resized.diff(dim=1) > 0).all()  # still a ramp along the columns, with the middle in place
    torch.testing.assert_close(resized[3, cols // 2], ramp[cols // 2])


def test_another_size_resamples_the_position_embedding():
    model = small("sgformer_small")
    model.set_input_size(img_size=(96, 64), window_size=5)
    assert model.pos_embed.shape == (1, 24 * 16, 32)
    assert model(torch.randn(1, 3, 96, 64)).shape == (1, 7)


def test_weights_of_another_window_load(tmp_path):
    wide = small("msg_transformer_tiny")
    narrow = small("msg_transformer_tiny", window_size=5)
    torch.save(wide.state_dict(), tmp_path / "wide.pth")
    load_checkpoint(narrow, str(tmp_path / "wide.pth"), filter_fn=checkpoint_filter_fn)
    torch.testing.assert_close(narrow.msg_tokens, wide.msg_tokens)


def test_a_checkpoint_loads(name, image, tmp_path):
    model = small(name)
    torch.save({"state_dict": model.state_dict()}, tmp_path / "model.pth")
    other = small(name)
    torch.nn.init.zeros_(other.head.fc.weight)
    load_checkpoint(other, str(tmp_path / "model.pth"))
    torch.testing.assert_close(other(image), model(image))


def test_the_hub_layout(name, image, tmp_path):
    model = small(name)
    extra = {"shuffle_sizes": (4, 4, 4, 4)} if name.startswith("msg") else {}
    save_for_hf(model, str(tmp_path), model_args={**SMALL[name], **extra}, safe_serialization=True)
    assert {file.name for file in tmp_path.iterdir()} == {"config.json", "model.safetensors"}  # and no pickle
    loaded = timm.create_model(f"local-dir:{tmp_path}", pretrained=True).eval()
    torch.testing.assert_close(loaded(image), model(image))


@pytest.mark.parametrize("channels", [1, 4])
def test_other_channels(name, channels):
    assert small(name, in_chans=channels)(torch.randn(1, channels, 64, 64)).shape == (1, 7)


def test_drop_rates_apply_in_training_only(name, image):
    for rate in ("drop_rate", "proj_drop_rate", "attn_drop_rate", "drop_path_rate"):
        model = small(name, **{"drop_path_rate": 0.0, rate: 0.5})
        torch.testing.assert_close(model(image), model(image))
        model.train()
        assert not torch.allclose(model(image), model(image)), rate


def test_drop_path_keeps_or_drops_all_windows_of_an_image():
    model = small("msg_transformer_tiny", drop_path_rate=0.5, exchange="none").train()
    block, grid = model.stages[2].blocks[1], Grid(32, 2, 2)
    x = torch.randn(32 * 4, 50, 128)
    changed = (block(x, grid.batch, grid) != x).flatten(1).any(1).view(32, 4)
    assert changed.any(1).equal(changed.all(1))
    assert 0 < changed.all(1).sum() < 32


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_autocast(name, image, dtype):
    model = small(name)
    with torch.autocast("cpu", dtype=dtype):
        logits = model(image)
    assert logits.isfinite().all()
    assert logits.dtype == dtype


def test_memory_format_copy_and_pickle(name, image):
    model = small(name)
    logits = model(image)
    torch.testing.assert_close(model(image.contiguous(memory_format=torch.channels_last)), logits)
    torch.testing.assert_close(copy.deepcopy(model)(image), logits)
    torch.testing.assert_close(pickle.loads(pickle.dumps(model))(image), logits)
    buffer = io.BytesIO()
    torch.save(model.state_dict(), buffer)
    buffer.seek(0)
    assert model.load_state_dict(torch.load(buffer, weights_only=True)).missing_keys == []


@pytest.mark.parametrize(
    ("family", "settings", "message"),
    [
        ("msg_transformer_tiny", {"depths": (2, 2)}, "depths"),
        ("msg_transformer_tiny", {"exchange": "shufle"}, "shuffle"),
        ("msg_transformer_tiny", {"embed_dim": 24, "num_heads": (1, 1, 1, 1)}, "24"),
        ("sgformer_small", {"reductions": (8, 4, 3, 1)}, "3"),
        ("sgformer_small", {"num_heads": (1, 4, 8, 16)}, "even number of heads"),
        ("sgformer_small", {"embed_dims": (64, 130, 256, 512)}, "130"),
    ],
)
def test_contradictory_settings_are_an_error(family, settings, message):
    with pytest.raises(ValueError, match=message):
        create_model(family, **settings)


@pytest.mark.parametrize("family", ["msg_transformer_tiny", "sgformer_small"])
def test_segmentation_models_pytorch(family):
    smp = pytest.importorskip("segmentation_models_pytorch")
    model = smp.FPN(f"tu-{family}", encoder_weights=None, classes=3).eval()
    with torch.no_grad():
        assert model(torch.randn(1, 3, 64, 96)).shape == (1, 3, 64, 96)
