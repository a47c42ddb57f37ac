"""The ImageNet recipes are complete, match the papers, and train for two steps on any machine."""

import csv

import pytest

from msgformer.commands.train import train
from msgformer.config.recipes import RECIPES, list_recipes, load_yaml
from msgformer.config.training_options import OptimOptions
from msgformer.model_names import MODELS
from msgformer.training.optim import Rates

ONE_CORE = {"accelerator": "cpu", "devices": 1, "num_nodes": 1, "strategy": "auto", "precision": "32-true"}


def recipe(model):
    return load_yaml(RECIPES / "imagenet" / f"{model}.yaml")


def test_every_model_has_a_recipe():
    assert [name for name in list_recipes() if name.startswith("imagenet/")] == sorted(f"imagenet/{m}" for m in MODELS)


@pytest.mark.parametrize("model", MODELS)
def test_batch_size_and_learning_rates_are_the_published_ones(model):
    values = recipe(model)
    assert values["model"] == model
    machines = values["trainer"]
    total = values["batch_size"] * machines["devices"] * machines["num_nodes"]
    assert total == 1024
    assert machines["num_nodes"] == (2 if model.endswith("base") else 1)
    rates = Rates.of(OptimOptions(**values["optim"]), total)
    assert (rates.peak, rates.first, rates.last) == pytest.approx((1e-3, 1e-6, 1e-5))
    half = Rates.of(OptimOptions(**values["optim"]), total // 2)
    assert half.peak == pytest.approx(5e-4)


@pytest.mark.parametrize("model", MODELS)
def test_each_recipe_trains_for_two_steps(model, image_folder, tmp_path):
    result = train(
        config=f"imagenet/{model}",
        data=image_folder(per_class=5),
        output=tmp_path / "run",
        epochs=1,
        img_size=64,
        batch_size=4,
        workers=0,
        model_args={**recipe(model)["model_args"], "depths": [1, 1, 1, 1]},
        optim={"cooldown_epochs": 0},
        trainer={**ONE_CORE, "progress": "none"},
    )
    with (result.run / "metrics.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["step"] for row in rows] == ["2"]
    assert ("val/ema_top1" in rows[0]) == model.startswith("sgformer")
