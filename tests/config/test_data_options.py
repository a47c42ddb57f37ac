from dataclasses import asdict

import pytest

from msgformer.config.data_options import AugmentOptions
from msgformer.config.recipes import load_config


@pytest.mark.parametrize(("model", "own"), [("msg_transformer_tiny", {"interpolation"}), ("sgformer_small", set())])
def test_augmentation_defaults_are_those_of_the_imagenet_recipes(model, own):
    recipe, defaults = load_config(f"imagenet/{model}")["augment"], asdict(AugmentOptions())
    assert {"auto_augment", "cutmix", "erasing", "mixup", "scale", "smoothing"} <= set(recipe)
    values = {key: tuple(value) if isinstance(value, list) else value for key, value in recipe.items()}
    assert {key for key in recipe if values[key] != defaults[key]} == own
