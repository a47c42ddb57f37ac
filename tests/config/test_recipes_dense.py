"""The published detection and segmentation recipes: their settings, and two steps with each."""

import pytest

from commands.tiny_dense import BACKBONE, DETECT, IMAGES, write_scenes
from msgformer.commands.train import train
from msgformer.config.recipes import RECIPES, list_recipes, load_yaml

COCO = {
    **{f"cascade_mask_rcnn_msg_transformer_{size}_3x": f"msg_transformer_{size}" for size in ("tiny", "small", "base")},
    **{f"mask_rcnn_sgformer_{size}_1x": f"sgformer_{size}" for size in ("small", "medium", "base")},
}
ADE20K = {
    f"upernet_{model}": model
    for model in (
        *(f"sgformer_{size}" for size in ("small", "medium", "base")),
        *(f"msg_transformer_{size}" for size in ("tiny", "small", "base")),
    )
}
SMALL = {
    "msg": BACKBONE,
    "sgf": {"embed_dims": [16, 16, 32, 32], "depths": [1, 1, 1, 1], "num_heads": [2, 2, 2, 2]},
}


def test_every_published_experiment_has_a_recipe():
    for folder, recipes in (("coco", COCO), ("ade20k", ADE20K)):
        found = [name.removeprefix(f"{folder}/") for name in list_recipes() if name.startswith(f"{folder}/")]
        assert found == sorted(recipes)
        for name, model in recipes.items():
            values = load_yaml(RECIPES / folder / f"{name}.yaml")
            assert values["model"] == model
            together = values["batch_size"] * values["trainer"]["devices"]
            assert together == values["optim"]["lr_batch"] == 16


@pytest.mark.parametrize("name", COCO)
def test_coco_schedules_are_the_published_ones(name):
    values = load_yaml(RECIPES / "coco" / f"{name}.yaml")
    optim, images = values["optim"], values["detect_images"]
    epochs, milestones = (36, [27, 33]) if name.endswith("3x") else (12, [8, 11])
    assert (values["epochs"], optim["milestones"], optim["decay_rate"]) == (epochs, milestones, 0.1)
    assert (optim["lr"], optim["weight_decay"], optim["betas"]) == (1e-4, 0.05, [0.9, 0.999])
    assert round(optim["warmup_epochs"] * 117_266 / 16) == 500
    assert optim["warmup_lr"] == pytest.approx(0.001 * optim["lr"])
    assert images["train_sides"] == (list(range(480, 801, 32)) if name.endswith("3x") else [800])
    assert (images["max_side"], images["test_side"], images["test_max_side"]) == (1333, 800, 1333)


@pytest.mark.parametrize("name", ADE20K)
def test_ade20k_schedules_are_the_published_ones(name):
    values = load_yaml(RECIPES / "ade20k" / f"{name}.yaml")
    steps = 20_210 // 16
    assert abs(values["epochs"] * steps - 160_000) < steps
    assert round(values["optim"]["warmup_epochs"] * steps) == 1500
    assert (values["optim"]["lr"], values["optim"]["weight_decay"]) == (6e-5, 0.01)
    assert (values["segment_images"]["crop"], values["segment_images"]["scale"]) == (512, [0.5, 2.0])


@pytest.fixture(scope="module")
def scenes(tmp_path_factory):
    folder = tmp_path_factory.mktemp("scenes")
    return {task: write_scenes(task, folder / task, 4, 1) for task in ("detect", "segment")}


@pytest.mark.parametrize("recipe", [*(f"coco/{name}" for name in COCO), *(f"ade20k/{name}" for name in ADE20K)])
def test_two_steps_with_each_recipe(recipe, scenes, tmp_path):
    """At a small width and size on one CPU, with all other settings of the recipe."""
    values = load_yaml(RECIPES / f"{recipe}.yaml")
    task = values["task"]
    if task == "detect":
        sizes = {key: value for key, value in DETECT.items() if key != "head"}
        groups = {"detect": sizes, "detect_images": {**IMAGES["detect"], "test_side": 64, "test_max_side": 64}}
    else:
        groups = {"segment": {"channels": 16}, "segment_images": IMAGES["segment"]}
    result = train(
        config=recipe,
        data=scenes[task],
        output=tmp_path / "run",
        epochs=1,
        workers=0,
        model_args={**values["model_args"], **SMALL[values["model"][:3]]},
        trainer={
            "accelerator": "cpu",
            "devices": 1,
            "strategy": "auto",
            "precision": "32-true",
            "sync_batchnorm": False,
            "progress": "none",
        },
        **groups,
    )
    assert result.epochs == 1
