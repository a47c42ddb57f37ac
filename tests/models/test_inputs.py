"""Invalid images and missing pretrained weights give one-line errors."""

import pytest
import timm
import torch
from timm.data import IMAGENET_DEFAULT_MEAN

import msgformer
from msgformer.errors import UserError
from msgformer.model_names import MODELS

from .variants import FAMILIES, VARIANTS, image, make

BAD = {
    "one image": (image(3, 64, 64), r"\[3, 64, 64\].*\[batch, 3, height, width\].*unsqueeze\(0\)"),
    "channels last": (image(1, 64, 64, 3), r"permute\(0, 3, 1, 2\)"),
    "gray": (image(1, 1, 64, 64), r"\[1, 1, 64, 64\].*in_chans=1"),
    "alpha": (image(1, 4, 64, 64), r"\[1, 4, 64, 64\].*3 channels"),
    "flat": (image(3, 64), r"\[3, 64\]"),
    "video": (image(1, 3, 2, 64, 64), r"\[1, 3, 2, 64, 64\]"),
    "no pixels": (image(1, 3, 0, 64), r"\[1, 3, 0, 64\]"),
    "uint8": (torch.zeros(1, 3, 64, 64, dtype=torch.uint8), r"torch.uint8.*torch.float32.*normalize"),
    "float64": (image(1, 3, 64, 64).double(), r"torch.float64.*images.to\(torch.float32\)"),
    "float16": (image(1, 3, 64, 64).half(), r"torch.float16.*images.to\(torch.float32\)"),
}


@pytest.mark.parametrize(("x", "message"), BAD.values(), ids=BAD)
@pytest.mark.parametrize("variant", [*FAMILIES, "messengers none"])
def test_invalid_images_are_an_error(variant, x, message):
    model = make(variant)
    for call in (model, model.forward_features, model.forward_intermediates, make(variant, features_only=True)):
        with pytest.raises(UserError, match=message) as error:
            call(x)
        assert "\n" not in str(error.value)


def test_invalid_images_are_an_error_in_optimized_copies():
    with pytest.raises(UserError, match="unsqueeze"):
        msgformer.optimize(make("msg"))(image(3, 64, 64))


@pytest.mark.parametrize("variant", FAMILIES)
def test_autocast_accepts_other_dtypes(variant):
    model = make(variant)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert model(image().bfloat16()).isfinite().all()
        with pytest.raises(UserError, match="float64"):
            model(image().double())
        with pytest.raises(UserError, match="uint8"):
            model(torch.zeros(1, 3, 64, 64, dtype=torch.uint8))
    assert model.to(torch.bfloat16)(image().bfloat16()).dtype == torch.bfloat16


# How many windows share a messenger, and which tokens lie around one, depends on values, which meta tensors don't have.
@pytest.mark.parametrize(
    "variant", [one for one in VARIANTS if one not in ("messengers shared", "messengers overlapping")]
)
def test_meta_tensors_pass(variant):
    assert make(variant, device="meta")(image().to("meta")).shape == (2, 7)


@pytest.mark.parametrize("name", [*MODELS, "deit_small_cls"])
def test_pretrained_without_published_weights_is_an_error(name):
    for create in (timm.create_model, msgformer.create_model):
        with pytest.raises(UserError, match=f"pretrained: no weights of {name} are published; .*--init_from") as error:
            create(name, pretrained=True)
        assert "\n" not in str(error.value)


def test_pretrained_error_names_sources_of_weights():
    for name, way in [("sgformer_small", "msgformer convert"), ("msg_transformer_tiny", "msgformer init-from")]:
        for create in (msgformer.create_detector, msgformer.create_segmenter):
            with pytest.raises(UserError, match=way):
                create(name, num_classes=2, pretrained=True)
        with pytest.raises(UserError, match=way):
            timm.create_model(name, features_only=True, pretrained=True)


@pytest.mark.parametrize("variant", FAMILIES)
@pytest.mark.parametrize("source", ["file", "state_dict"])
def test_pretrained_loads_weights_of_the_configuration(variant, source, tmp_path):
    name, args = VARIANTS[variant]
    model = make(variant)
    torch.save(model.state_dict(), tmp_path / "weights.pth")
    overlay = {"file": str(tmp_path / "weights.pth")} if source == "file" else {"state_dict": model.state_dict()}
    overlay = {**overlay, "num_classes": 7}
    for create in (timm.create_model, msgformer.create_model):
        loaded = create(name, pretrained=True, pretrained_cfg_overlay=overlay, **args).eval()
        torch.testing.assert_close(loaded(image()), model(image()))
    config = {**model.pretrained_cfg, **overlay}
    loaded = timm.create_model(name, pretrained=True, pretrained_cfg=config, **args).eval()
    torch.testing.assert_close(loaded(image()), model(image()))
    assert tuple(loaded.pretrained_cfg["mean"]) == IMAGENET_DEFAULT_MEAN
