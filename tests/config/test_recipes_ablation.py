"""The ablation recipes are complete, match the papers, and train for two steps at small size."""

import pytest
import torch

from msgformer.commands.train import train
from msgformer.config.parser import Options
from msgformer.config.recipes import list_recipes, load_config
from msgformer.studies.table import SMALL_SIDE, TABLES, small_model_args
from msgformer.training.build import build_model

ROWS = {row.recipe: row for table in TABLES.values() for row in table.rows}


def published_model(recipe):
    values = load_config(recipe)
    with torch.device("meta"):
        return build_model(values["model"], 1000, (224, 224), values["model_args"])


def count(model):
    return sum(parameter.numel() for parameter in model.parameters())


def test_every_recipe_is_a_row_and_every_row_a_recipe():
    assert sorted(ROWS) == [name for name in list_recipes() if name.startswith("ablations/")]


@pytest.mark.parametrize("recipe", ROWS)
def test_each_recipe_differs_from_the_published_one_only_in_the_model(recipe):
    values = load_config(recipe)
    base = "imagenet/sgformer_small" if "sgformer" in recipe else "imagenet/msg_transformer_v1_tiny"
    if "table4_s" in recipe:
        base = "imagenet/msg_transformer_v1_small"
    published = load_config(base)
    changed = {key for key in {*values, *published} if values.get(key) != published.get(key)}
    assert changed <= ({"model", "model_args", "optim"} if "cls" in recipe else {"model", "model_args"})
    assert Options(train).from_values(recipe, values)["epochs"] == 300


@pytest.mark.parametrize("recipe", ROWS)
def test_each_recipe_trains_for_two_steps(recipe):
    torch.manual_seed(0)
    row = ROWS[recipe]
    small = build_model(load_config(recipe)["model"], 2, (SMALL_SIDE, SMALL_SIDE), small_model_args(row))
    trained = [parameter for parameter in small.parameters() if parameter.requires_grad]
    optimizer = torch.optim.SGD(trained, lr=0.1)
    images, labels = torch.randn(4, 3, SMALL_SIDE, SMALL_SIDE), torch.tensor([0, 1, 0, 1])
    losses = []
    for _ in range(2):
        loss = torch.nn.functional.cross_entropy(small(images), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert all(parameter.grad is not None for parameter in trained)
    assert losses[1] != losses[0]


def test_sizes_are_those_of_table_6():
    found = {name: count(published_model(f"ablations/table6_{name}")) for name in ("msg_deep", "swin_wide")}
    assert found == {"msg_deep": 24_220_516, "swin_wide": 28_288_354}
    for name, millions in (("msg_wide", 28), ("swin_deep", 24)):
        assert count(published_model(f"ablations/table6_{name}")) / 1e6 == pytest.approx(millions, abs=0.5)


@pytest.mark.parametrize("table", TABLES)
def test_rows_of_a_table_differ_in_their_models(table):
    models = [(load_config(row.recipe)["model"], load_config(row.recipe)["model_args"]) for row in TABLES[table].rows]
    assert all(model not in models[:index] for index, model in enumerate(models))
    small = [(row.size, small_model_args(row)) for row in TABLES[table].rows]
    assert all(model not in small[:index] for index, model in enumerate(small))
