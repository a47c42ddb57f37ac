"""Folders in the layout of timm and the Hub: ``timm.create_model("local-dir:FOLDER", pretrained=True)`` loads them."""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import timm
import torch
from safetensors import SafetensorError
from timm.models import get_model_args, save_for_hf
from timm.models._hub import generate_readme
from torch import nn

from msgformer.checkpoints.card import KEY
from msgformer.checkpoints.model_location import SAVED_CONFIG, SAVED_WEIGHTS
from msgformer.errors import UserError
from msgformer.models.registry import known_model

README = "README.md"

PREPROCESSING: dict[str, tuple[type, ...]] = {
    "input_size": (list,),
    "interpolation": (str,),
    "mean": (list,),
    "std": (list,),
    "crop_pct": (float, int),
    "crop_mode": (str,),
}
"""Types of the preprocessing settings in JSON."""


class Pretrained(NamedTuple):
    """Content of a saved folder, except for the weights.

    Attributes:
        model: Name in timm's registry.
        model_args: Arguments of its constructor.
        class_names: Class names, in the order of the outputs.
        preprocessing: Settings of `msgformer.data.preprocessing.Preprocessing`.
        weights: File of the weights.
        card: The model card of this package; None if there is none.
    """

    model: str
    model_args: dict[str, Any]
    class_names: list[str]
    preprocessing: dict[str, Any]
    weights: Path
    card: dict[str, Any] | None


def save_pretrained(
    model: nn.Module,
    folder: str | Path,
    *,
    class_names: Sequence[str],
    preprocessing: Mapping[str, Any],
    card_json: str | None = None,
    model_args: Mapping[str, Any] | None = None,
    descriptions: Mapping[str, str] | None = None,
    details: Mapping[str, Any] | None = None,
    license: str = "unknown",
) -> Path:
    """Write a classifier in the format of timm and the Hub: model.safetensors, config.json and README.md.

    ``timm.models.push_to_hf_hub`` and ``huggingface_hub.HfApi().upload_folder`` publish it.

    Args:
        model: A classifier of this package or of timm, such as of `msgformer.create_model`.
        folder: The folder, which is created if necessary; existing files of these names are replaced.
        class_names: Class names, in the order of the outputs.
        preprocessing: Settings of the preprocessing, from `Preprocessing.to_dict`.
        card_json: The model card of this package, from `ModelCard.to_json`.
        model_args: Arguments that the model was created with; by default those that ``timm.create_model`` recorded.
        descriptions: Descriptions of the classes, by class name.
        details: Rows of the README's details, such as the data set and scores.
        license: License of the weights, by its name on the Hub.

    Returns:
        The folder.

    Raises:
        UserError: The model is no classifier that timm can create again, an argument doesn't fit it, or the folder
            can't be written.
    """
    folder = Path(folder)
    config = _describe(model, class_names, preprocessing)
    if descriptions is not None:
        config["label_descriptions"] = dict(descriptions)
    if card_json is not None:
        config[KEY]["card"] = json.loads(card_json)
    arguments = _arguments(model, model_args)
    if not all(value.is_contiguous() for value in model.state_dict().values()):  # safetensors requires it
        model = copy.deepcopy(model).to(memory_format=torch.contiguous_format)
    name = _architecture(model)
    try:
        save_for_hf(model, str(folder), model_config=config, model_args=arguments, safe_serialization=True)
        readme = folder / README
        readme.write_text(_write_readme(name, folder, class_names, details, license), encoding="utf-8")
        (folder / SAVED_WEIGHTS[0]).chmod(readme.stat().st_mode)  # safetensors makes it readable only by the owner
    except (OSError, SafetensorError) as error:
        raise UserError(f"folder: {folder} can't be written ({error}); make room or give another path") from error
    return folder


def _describe(model: nn.Module, class_names: Sequence[str], preprocessing: Mapping[str, Any]) -> dict[str, Any]:
    """Return the content of config.json, except for the constructor's arguments.

    Raises:
        UserError: The model is no classifier of timm, or an argument doesn't fit it.
    """
    timm_config: Any = getattr(model, "pretrained_cfg", None)
    classes: Any = getattr(model, "num_classes", None)
    if not timm_config or not timm_config.get("architecture") or not classes:
        raise UserError(f"{type(model).__name__} can't be saved for timm; give a classifier of msgformer.create_model")
    if len(class_names) != classes:
        raise UserError(f"class_names: {len(class_names)} names for {classes} classes; give one per class")
    given = {key: list(value) if isinstance(value, tuple) else value for key, value in preprocessing.items()}
    _check_preprocessing(given, "preprocessing")
    channels = getattr(model, "in_chans", given["input_size"][0])
    if given["input_size"][0] != channels:
        raise UserError(
            f"preprocessing.input_size: {given['input_size'][0]} channels, but the model takes {channels}; correct it"
        )
    source = ("url", "file", "state_dict", "hf_hub_id", "hf_hub_filename", "source")
    kept = {key: value for key, value in timm_config.items() if key not in source and not key.startswith("test_")}
    settings = {key: given[key] for key in PREPROCESSING}
    return {
        "label_names": list(class_names),
        "pretrained_cfg": {**kept, **settings, "num_classes": classes},
        KEY: {"preprocessing": given},
    }


def _architecture(model: Any) -> str:
    """Return the name of a model in timm's registry."""
    name: str = model.pretrained_cfg["architecture"]
    return name


def _arguments(model: nn.Module, model_args: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return the arguments with which timm creates the model again, after a test.

    Raises:
        UserError: timm can't create the model, or creates another one.
    """
    name = _architecture(model)
    try:
        arguments = get_model_args(model, dict(model_args or {}))
        with torch.device("meta"):
            again = timm.create_model(name, **arguments)
    except Exception as error:  # a constructor may raise anything
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise UserError(
            f"model_args: {name} can't be created with {dict(model_args or {})} ({reason}); correct them"
        ) from error
    expected, own = again.state_dict(), model.state_dict()
    for key in (*own, *expected):
        if key not in own or key not in expected or own[key].shape != expected[key].shape:
            raise UserError(
                f"model_args: {name} with {arguments} is another model than the given one ({key} differs); give the"
                " arguments that it was created with, and the model itself, not an optimized copy"
            )
    return arguments


def _write_readme(
    name: str, folder: Path, class_names: Sequence[str], details: Mapping[str, Any] | None, license: str
) -> str:
    """Return the README, which is Markdown with YAML front matter."""
    usage = (
        "```python\n"
        "import msgformer.models, timm\n"
        f'model = timm.create_model("local-dir:{folder.name}", pretrained=True).eval()'
        '  # or "hf-hub:USER/NAME"\n'
        "```"
    )
    shown = [*class_names[:20], *(["..."] if len(class_names) > 20 else [])]
    card = {
        "library_name": "timm",
        "tags": ["image-classification", "timm", "msgformer"],
        "license": license,
        "description": f"{name} for {len(class_names)} classes, trained with msgformer.",
        "details": {"Architecture": name, "Classes": ", ".join(shown), **(details or {})},
        "usage": usage,
    }
    readme: str = generate_readme(card, name)  # private, but timm's public functions write it only while they upload
    return readme


def read_pretrained(folder: str | Path) -> Pretrained:
    """Read a folder of `save_pretrained` or of timm's ``save_for_hf``, except for the weights.

    Args:
        folder: The folder.

    Raises:
        UserError: A file is missing or invalid.
    """
    folder = Path(folder)
    file = folder / SAVED_CONFIG
    try:
        config = json.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(
            f"{file} can't be read ({error.strerror or error}); give a folder of config.json and model.safetensors"
        ) from error
    except ValueError as error:
        raise UserError(f"{file} is no JSON ({error}); save the model again") from error
    if not isinstance(config, dict) or not isinstance(config.get("architecture"), str):
        raise UserError(f"{file} names no architecture; give a folder that timm can read")
    timm_config = _section(config, "pretrained_cfg", file)
    package_config = _section(config, KEY, file)
    preprocessing = _section(package_config, "preprocessing", file) or {
        key: timm_config[key] for key in PREPROCESSING if key in timm_config
    }
    _check_preprocessing(preprocessing, str(file))
    weights = next((folder / name for name in SAVED_WEIGHTS if (folder / name).is_file()), None)
    if weights is None:
        raise UserError(f"{folder} contains neither {' nor '.join(SAVED_WEIGHTS)}; copy the weights there too")
    return Pretrained(
        model=known_model(config["architecture"]),
        model_args=_section(config, "model_args", file),
        class_names=_class_names(config, timm_config, file),
        preprocessing=preprocessing,
        weights=weights,
        card=_section(package_config, "card", file) or None,
    )


def _section(config: Mapping[str, Any], key: str, file: Path) -> dict[str, Any]:
    """Return a nested JSON object; empty if it is missing."""
    value = config.get(key, {})
    if not isinstance(value, dict):
        raise UserError(f"{file}: {key} must be an object, not {type(value).__name__}; save the model again")
    return value


def _class_names(config: Mapping[str, Any], timm_config: Mapping[str, Any], file: Path) -> list[str]:
    """Return the class names; numbers if the file has none."""
    count = config.get("num_classes", timm_config.get("num_classes"))
    if not isinstance(count, int) or count < 1:
        raise UserError(f"{file}: num_classes is {count!r}; a classifier has at least one class; save the model again")
    names = config.get("label_names", timm_config.get("label_names"))
    if isinstance(names, dict):
        names = [names.get(str(index)) for index in range(count)]
    if names is None:
        names = [str(index) for index in range(count)]
    if not isinstance(names, list) or len(names) != count or not all(isinstance(name, str) for name in names):
        raise UserError(f"{file}: label_names must be a list of {count} names, one per class; correct it")
    return names


def _check_preprocessing(settings: Mapping[str, Any], where: str) -> None:
    """Raise UserError if a setting is missing or invalid."""
    for key, types in PREPROCESSING.items():
        if not isinstance(settings.get(key), types) or isinstance(settings.get(key), bool):
            wanted = " or ".join(one.__name__ for one in types)
            raise UserError(f"{where}: {key} must be {wanted}, not {settings.get(key)!r}; correct it")
    size = settings["input_size"]
    if len(size) != 3 or not all(isinstance(side, int) and side > 0 for side in size):
        raise UserError(f"{where}: input_size must be channels, height and width, not {size}; correct it")
    for key in ("mean", "std"):
        if len(settings[key]) != size[0] or not all(isinstance(value, float | int) for value in settings[key]):
            raise UserError(
                f"{where}: {key} must hold {size[0]} numbers, one per channel, not {settings[key]}; correct it"
            )
