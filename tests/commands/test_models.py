import json

import pytest

from msgformer.cli.main import main
from msgformer.commands.models import models, recipes
from msgformer.config.recipes import list_recipes
from msgformer.errors import UserError
from msgformer.model_names import ALIASES, MODELS


def test_all_models_are_listed_with_their_released_names():
    assert models().models == list(MODELS)
    assert all(name in models().table() for name in [*MODELS, *ALIASES])


def test_sizes_and_published_scores_are_listed():
    line = next(line for line in models().table().splitlines() if line.startswith("sgformer_medium "))
    assert line.split() == ["sgformer_medium", "sgformer_m", "38,689,316", "7.43", "G", "84.1", "%"]


def test_named_models_are_counted_by_stage_and_beside_the_published_sizes(capsys):
    assert main(["models", "msg_tiny_p4_win7_224", "--img_size", "224", "448"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "msg_transformer_tiny at 224 x 448"
    assert [line.split("  ")[0] for line in lines[1:9]] == [
        *("PART", "stem", "stage 1", "stage 2", "stage 3", "stage 4", "head", "all")
    ]
    assert lines[8].split()[1] == "25,086,116"
    assert " ".join(lines[11].split()) == "ImageNet-1k 224 x 224 25.09 M 25 M +0.3 % 3.82 G 3.8 G +0.5 %"
    assert lines[12].startswith("COCO, Cascade Mask R-CNN  800 x 1280  82.56 M     83 M")


def test_all_models_are_counted_at_a_size(monkeypatch, capsys):
    monkeypatch.setattr("msgformer.commands.models.MODELS", MODELS[:1])
    assert main(["models", "--img_size", "64", "--json"]) == 0
    listed = json.loads(capsys.readouterr().out)
    assert listed["models"] == list(MODELS[:1])
    assert [size["input_size"] for size in listed["sizes"]] == [[64, 64]]
    assert [size["comparisons"] for size in listed["sizes"]] == [[]]
    table = models(img_size=64).table().splitlines()
    assert table[0] == "at 64 x 64"
    assert len(table) == 3


def test_unknown_models_and_sizes_are_refused():
    with pytest.raises(UserError, match="unknown model 'sgformer_smal'; did you mean 'sgformer_small'"):
        models("sgformer_smal")
    with pytest.raises(UserError, match="img_size must be at least 1, not 0"):
        models(img_size=(224, 0))


def test_every_recipe_is_listed_with_a_description():
    listed = recipes().recipes
    assert list(listed) == list_recipes()
    assert all(listed.values())
    assert all(f"{name}  " in recipes().table() for name in listed)


def test_each_named_recipe_is_printed():
    printed = recipes("embedded/detect", "embedded/digits").recipes
    assert list(printed) == ["embedded/detect", "embedded/digits"]
    assert (printed["embedded/detect"]["task"], printed["embedded/digits"]["epochs"]) == ("detect", 30)
