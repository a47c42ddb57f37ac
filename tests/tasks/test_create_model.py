"""Models created from checkpoints of trainings, by this package and by timm."""

import pytest
import timm
import torch
from safetensors.torch import save_file

import msgformer
from models.variants import VARIANTS, image, make
from msgformer.checkpoints.card import KEY, ModelCard
from msgformer.errors import UserError
from msgformer.tasks.opened_model import load_model
from msgformer.training.checkpoint import AtomicCheckpointIO

PREPROCESSING = {
    "input_size": [3, 64, 96], "interpolation": "bicubic", "mean": [0.5] * 3, "std": [0.5] * 3,
    "crop_pct": 0.9, "crop_mode": "center",
}  # fmt: skip
CLASSES = ["cat", "dog", "fox", "hen", "owl", "pig", "rat"]


def card_of(variant, **changes):
    name, args = VARIANTS[variant]
    args = {key: list(value) if isinstance(value, tuple) else value for key, value in args.items()}
    return ModelCard(
        **{"model": name, "model_args": args, "classes": CLASSES, "preprocessing": PREPROCESSING, **changes}
    )


@pytest.fixture
def write(tmp_path):
    """Returns a function that writes a checkpoint as a training does, and returns its path and the model in it."""

    def write(variant, **changes):
        model = make(variant, **({"img_size": (64, 96)} if variant == "sg" else {}))
        state = {f"model.{name}": value for name, value in model.state_dict().items()}
        state |= {f"ema.module.{name}": torch.zeros_like(value) for name, value in model.state_dict().items()}
        checkpoint = {"state_dict": {**state, "ema.n_averaged": torch.tensor(3)}, "epoch": 2, "global_step": 9}
        card_of(variant, **changes).write(checkpoint)
        AtomicCheckpointIO().save_checkpoint(checkpoint, tmp_path / "best.ckpt")
        return tmp_path / "best.ckpt", model

    return write


@pytest.mark.parametrize("variant", ["msg", "sg", "messengers random_eval", "exchange mlp"])
def test_checkpoint_names_its_model(variant, write):
    path, model = write(variant)
    created = msgformer.create_model(checkpoint_path=path).eval()
    loaded, _ = load_model(path)
    assert torch.equal(created(image(2, 3, 64, 96)), loaded(image(2, 3, 64, 96)))
    assert torch.equal(created(image(2, 3, 64, 96)), model(image(2, 3, 64, 96)))


@pytest.mark.parametrize("variant", ["msg", "sg"])
def test_timm_loads_a_checkpoint_of_a_training(variant, write):
    path, model = write(variant)
    name, args = VARIANTS[variant]
    args = {**args, "img_size": (64, 96), "num_classes": 7}
    overlay = {"file": str(path), "num_classes": 7}
    for created in (
        timm.create_model(name, checkpoint_path=str(path), **args),
        timm.create_model(name, pretrained=True, pretrained_cfg_overlay=overlay, **args),
        msgformer.create_model(name, checkpoint_path=path, **args),
    ):
        assert torch.equal(created.eval()(image(2, 3, 64, 96)), model(image(2, 3, 64, 96)))


def test_arguments_override_the_card(write):
    path, model = write("msg")
    created = msgformer.create_model(checkpoint_path=str(path), num_classes=3, drop_path_rate=0.2, window_size=5)
    assert created.get_classifier().weight.shape == (3, 256)
    assert created.window_size == (5, 5)
    assert torch.equal(created.msg_tokens, model.msg_tokens)
    features = msgformer.create_model(checkpoint_path=path, features_only=True, out_indices=(1, 3)).eval()
    expected = model.forward_intermediates(image(), indices=[1, 3], intermediates_only=True)
    torch.testing.assert_close(features(image()), expected)


def test_converted_file_with_a_card(tmp_path):
    model, card = make("msg"), card_of("msg")
    save_file(model.state_dict(), tmp_path / "model.safetensors", {"format": "pt", KEY: card.to_json()})
    created = msgformer.create_model(checkpoint_path=tmp_path / "model.safetensors").eval()
    assert torch.equal(created(image()), model(image()))


def test_checkpoint_without_a_card_needs_a_name(tmp_path):
    torch.save(make("msg").state_dict(), tmp_path / "weights.pth")
    with pytest.raises(UserError, match="give its name too"):
        msgformer.create_model(checkpoint_path=tmp_path / "weights.pth")
    name, args = VARIANTS["msg"]
    created = msgformer.create_model(name, checkpoint_path=tmp_path / "weights.pth", num_classes=7, **args).eval()
    assert torch.equal(created(image()), make("msg")(image()))


@pytest.mark.parametrize("task", ["detect", "segment"])
def test_checkpoints_of_detectors_and_segmenters_are_refused(task, write):
    path, _ = write("msg", task=task)
    with pytest.raises(
        UserError, match=r"checkpoint_path: .* is a (detector|segmenter); give a classifier \(msgformer\.load"
    ):
        msgformer.create_model(checkpoint_path=path)


def test_invalid_arguments_are_refused(write, tmp_path):
    path, _ = write("msg")
    for arguments, message in [
        ({}, "checkpoint_path=FILE"),
        ({"checkpoint_path": path, "pretrained": True}, "leave one of them out"),
        ({"checkpoint_path": tmp_path / "none.ckpt"}, "can't be opened"),
        ({"checkpoint_path": path, "embed_dim": 64}, "doesn't fit"),
        ({"checkpoint_path": path, "embed_dims": 64}, "takes no 'embed_dims'; did you mean 'embed_dim'"),
        ({"name": "sgformer_small", "checkpoint_path": path}, "doesn't fit"),
        ({"name": "msg_transformer_tinny"}, "did you mean 'msg_transformer_tiny'"),
        ({"name": "resnet81"}, "did you mean 'resnet"),
    ]:
        with pytest.raises(UserError, match=message) as error:
            msgformer.create_model(**arguments)
        assert "\n" not in str(error.value)
    damaged = path.read_bytes()
    path.write_bytes(damaged[:-200] + b"x" + damaged[-199:])
    with pytest.raises(UserError, match="damaged"):
        msgformer.create_model(checkpoint_path=path)


@pytest.mark.parametrize("name", ["resnet18", "msg_tiny_p4_win7_224", "sgformer_s"])
def test_creates_models_by_names_of_timm_and_of_the_released_code(name):
    assert msgformer.create_model(name, num_classes=3).num_classes == 3


def test_nothing_in_a_checkpoint_is_executed(tmp_path):
    class Evil:
        def __reduce__(self):
            return (tmp_path.joinpath("ran").touch, ())

    torch.save({"state_dict": {}, "config": Evil()}, tmp_path / "evil.ckpt")
    for arguments in ({}, {"name": "msg_transformer_tiny"}):
        with pytest.raises(UserError):
            msgformer.create_model(checkpoint_path=tmp_path / "evil.ckpt", **arguments)
    assert not (tmp_path / "ran").exists()
