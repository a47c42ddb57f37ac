"""Folders that timm and the Hub read."""

import json

import pytest
import timm
import torch
import yaml
from timm.data import resolve_model_data_config

import msgformer
from models.variants import VARIANTS, image, make
from msgformer.checkpoints.model_location import SAVED_CONFIG
from msgformer.errors import UserError
from msgformer.tasks.pretrained import read_pretrained, save_pretrained

from .test_create_model import CLASSES, PREPROCESSING, card_of


def save(model, folder, **changes):
    return save_pretrained(model, folder, **{"class_names": CLASSES, "preprocessing": PREPROCESSING, **changes})


@pytest.mark.parametrize("variant", ["msg", "msg v1", "sg", "messengers shared", "attention local", "exchange mlp"])
def test_timm_reads_the_folder(variant, tmp_path):
    model = make(variant, qkv_bias=False)
    folder = save(model, tmp_path / "model")
    assert {file.name for file in folder.iterdir()} == {"config.json", "model.safetensors", "README.md"}
    loaded = timm.create_model(f"local-dir:{folder}", pretrained=True).eval()
    assert torch.equal(loaded(image()), model(image()))
    data = resolve_model_data_config(loaded)
    assert (data["input_size"], list(data["mean"]), data["crop_pct"]) == ((3, 64, 96), [0.5] * 3, 0.9)
    assert loaded.pretrained_cfg["label_names"] == CLASSES
    config = json.loads((folder / SAVED_CONFIG).read_text())
    assert (config["architecture"], config["num_classes"], config["num_features"]) == (VARIANTS[variant][0], 7, 256)
    assert (folder / "model.safetensors").stat().st_mode == (folder / SAVED_CONFIG).stat().st_mode
    other = timm.create_model(f"local-dir:{folder}", pretrained=True, num_classes=3)  # to be fine-tuned
    assert other.get_classifier().weight.shape == (3, 256)


def test_changes_after_creation_are_saved(tmp_path):
    for variant in ("msg", "sg"):
        model = make(variant, in_chans=1)
        model.set_input_size(img_size=(64, 96), window_size=5)
        model.reset_classifier(2, "max")
        gray = {**PREPROCESSING, "input_size": [1, 64, 96], "mean": [0.4], "std": [0.3]}
        folder = save(
            model.to(memory_format=torch.channels_last), tmp_path / variant, class_names=["a", "b"], preprocessing=gray
        )
        loaded = timm.create_model(f"local-dir:{folder}", pretrained=True).eval()
        torch.testing.assert_close(loaded(image(1, 1, 64, 96)), model(image(1, 1, 64, 96)))


def test_content_of_a_folder(tmp_path):
    drafted = {**PREPROCESSING, "draft": True}
    card = card_of("msg").to_json()
    folder = save(make("msg"), tmp_path, preprocessing=drafted, card_json=card, descriptions={"cat": "a cat"})
    read = read_pretrained(folder)
    assert (read.model, read.class_names, read.preprocessing) == ("msg_transformer_tiny", CLASSES, drafted)
    assert (read.weights, read.card) == (folder / "model.safetensors", json.loads(card))
    created = msgformer.create_model(read.model, checkpoint_path=read.weights, **read.model_args).eval()
    assert torch.equal(created(image()), make("msg")(image()))
    _, head, text = (folder / "README.md").read_text().split("---\n", 2)
    front = yaml.safe_load(head)
    assert (front["library_name"], front["license"], front["pipeline_tag"]) == (
        "timm",
        "unknown",
        "image-classification",
    )
    assert "msgformer" in front["tags"]
    assert "import msgformer.models, timm" in text


def test_reads_folders_that_timm_saved(tmp_path):
    model = timm.create_model("resnet18", num_classes=3)
    timm.models.save_for_hf(model, str(tmp_path), safe_serialization=True)
    read = read_pretrained(tmp_path)
    assert (read.model, read.class_names, read.card) == ("resnet18", ["0", "1", "2"], None)
    assert read.preprocessing["input_size"] == [3, 224, 224]
    (tmp_path / "model.safetensors").unlink()
    timm.models.save_for_hf(model, str(tmp_path), safe_serialization=False)
    assert (tmp_path / "pytorch_model.bin").is_file()
    loaded = msgformer.load(tmp_path, device="cpu").module
    assert torch.equal(loaded.fc.weight, model.fc.weight)


def test_invalid_arguments_are_refused(tmp_path):
    model = make("msg")
    (tmp_path / "file").touch()
    for arguments, message in [
        ({"class_names": ["a"]}, "1 names for 7 classes"),
        ({"preprocessing": {**PREPROCESSING, "mean": [0.5]}}, "mean must hold 3 numbers"),
        ({"preprocessing": {"mean": [0.5]}}, "input_size must be list"),
        ({"preprocessing": {**PREPROCESSING, "input_size": [1, 8, 8], "mean": [0], "std": [1]}}, "the model takes 3"),
        ({"model_args": {"depths": (2, 2)}}, "model_args"),
        ({"model_args": {"depths": (1, 1, 1, 1)}}, "is another model"),
        ({"folder": tmp_path / "file"}, "can't be written"),
        ({"model": torch.nn.Linear(2, 2)}, "Linear can't be saved"),
        ({"model": make("msg", features_only=True)}, "can't be saved"),
        ({"model": msgformer.optimize(model)}, "optimized copy"),
    ]:
        given = {"model": model, "folder": tmp_path / "out", **arguments}
        with pytest.raises(UserError, match=message) as error:
            save(given.pop("model"), given.pop("folder"), **given)
        assert "\n" not in str(error.value)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda _: "[", "is no JSON"),
        (lambda _: [], "names no architecture"),
        (lambda config: {**config, "architecture": 3}, "names no architecture"),
        (lambda config: {**config, "architecture": "msg_transformer_tinny"}, "did you mean 'msg_transformer_tiny'"),
        (lambda config: {**config, "model_args": [1]}, "model_args must be an object, not list"),
        (lambda config: {**config, "pretrained_cfg": 1}, "pretrained_cfg must be an object, not int"),
        (lambda config: {**config, "label_names": ["cat"]}, "list of 7 names"),
        (lambda config: {**config, "label_names": [1] * 7}, "list of 7 names"),
        (lambda config: {**config, "num_classes": -1}, "num_classes is -1"),
        (lambda config: {**config, "msgformer": {"preprocessing": {"mean": "x"}}}, "input_size must be"),
    ],
)
def test_invalid_configurations_are_refused(change, message, tmp_path):
    save(make("msg"), tmp_path)
    config = change(json.loads((tmp_path / SAVED_CONFIG).read_text()))
    (tmp_path / SAVED_CONFIG).write_text(config if isinstance(config, str) else json.dumps(config))
    with pytest.raises(UserError, match=message) as error:
        read_pretrained(tmp_path)
    assert "\n" not in str(error.value)


def test_missing_files_are_refused(tmp_path):
    with pytest.raises(UserError, match=r"config\.json can't be read"):
        read_pretrained(tmp_path / "none")
    save(make("msg"), tmp_path)
    (tmp_path / "model.safetensors").unlink()
    with pytest.raises(UserError, match="copy the weights"):
        read_pretrained(tmp_path)


def test_label_names_are_read_by_index(tmp_path):
    save(make("msg"), tmp_path)
    config = json.loads((tmp_path / SAVED_CONFIG).read_text())
    config["label_names"] = dict(enumerate(CLASSES))
    (tmp_path / SAVED_CONFIG).write_text(json.dumps(config))
    assert read_pretrained(tmp_path).class_names == CLASSES
