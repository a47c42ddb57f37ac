"""Initial weights of a run from another run: class rows are matched by class name, all other parts by their shape."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from lightning.pytorch.utilities import rank_zero_only
from torch import Tensor, nn

from msgformer.checkpoints.card import KEY, ModelCard
from msgformer.checkpoints.model_location import BEST, SAVED_CONFIG, SAVED_WEIGHTS
from msgformer.checkpoints.weights_file import read_checkpoint
from msgformer.data.files.folder import class_name
from msgformer.errors import UserError
from msgformer.models.loading import fit_weights, resample, unwrap
from msgformer.tasks.pretrained import read_pretrained
from msgformer.utils.safetensors_header import is_safetensors, read_header


class ClassRows(NamedTuple):
    """Layout of the rows of a class layer.

    Attributes:
        per_class: Consecutive rows of each class, such as 4 box offsets.
        background: Whether one more row, for the background, comes last.
    """

    per_class: int = 1
    background: bool = False


DENSE_CLASS_LAYERS = {
    "fc_cls": ClassRows(background=True),
    "fc_reg": ClassRows(per_class=4),
    "conv_logits": ClassRows(),
    "conv_seg": ClassRows(),
    "cls_logits": ClassRows(),
}
"""Class layers of detectors and segmenters by the last part of the name; `cls_logits` has these rows per anchor."""

DENSE_PARTS = (
    "backbone.fpn",
    "rpn",
    "roi_heads.bbox_head",
    "roi_heads.mask_head",
    "head.classification_head",
    "head.regression_head",
    "decode_head",
    "auxiliary_head",
)
"""Parts of detectors and segmenters beside the backbone; each is loaded as a whole or not at all."""


def weights_file(path: str | Path) -> Path:
    """Return the file of initial weights: best.ckpt of a run folder, the weights of a saved folder, or the given file.

    Args:
        path: File or run folder.

    Raises:
        UserError: The folder is neither that of a run nor that of a saved model.
    """
    path = Path(path)
    if not path.is_dir():
        return path
    if (path / SAVED_CONFIG).is_file():
        return read_pretrained(path).weights
    if not (path / BEST).is_file():
        raise UserError(f"init_from: {path} is a folder without {BEST}; give a run folder or a file of weights")
    return path / BEST


def read_initial_weights(path: str | Path) -> tuple[dict[str, Any], ModelCard | None]:
    """Read a file of weights and its model card.

    Args:
        path: File or run folder.

    Returns:
        Content of the file, and its card; None if it has none, or only numbers instead of class names.

    Raises:
        UserError: The file can't be read.
    """
    file = weights_file(path)
    checkpoint = read_checkpoint(file)
    if KEY in checkpoint:
        return checkpoint, ModelCard.read(checkpoint, file)
    card = _read_card(file)
    if card is not None and card.classes == [str(index) for index in range(len(card.classes))]:
        return checkpoint, None
    return checkpoint, card


def _read_card(file: Path) -> ModelCard | None:
    """Return the card in a file of weights, or that of the saved folder that it lies in; None if there is none."""
    header = read_header(file) if is_safetensors(file) else {}
    if KEY in header:
        return ModelCard.from_json(header[KEY], file)
    if file.name not in SAVED_WEIGHTS or not (file.parent / SAVED_CONFIG).is_file():
        return None
    saved = read_pretrained(file.parent)
    return ModelCard(saved.model, saved.model_args, saved.class_names, saved.preprocessing)


def load_initial_weights(model: nn.Module, path: str, classes: Sequence[str]) -> None:
    """Load weights of the same architecture into a classifier; rows of its last layer are matched by class name.

    Without class names in the file, the classifier is loaded if it has the same number of classes.

    Args:
        model: The model.
        path: File of the weights, or a run folder.
        classes: Class names of the model.

    Raises:
        UserError: The file can't be read, or holds weights of another model.
    """
    checkpoint, card = read_initial_weights(path)
    classifier = model.pretrained_cfg["classifier"]  # type: ignore[index]  # every model of timm has it
    layers = (classifier,) if isinstance(classifier, str) else tuple(classifier)
    if card is None or card.task != "classify":
        unchanged = fit_weights(model, checkpoint, weights_file(path), may_differ=layers)
        rows = "reinitialized" if unchanged else "loaded by the numbers of the classes"
        _report(f"{path} has no class names; the classifier is {rows}")
        return
    state, own = unwrap(checkpoint), model.state_dict()
    for name, value in own.items():
        if name in state and name.rpartition(".")[0] in layers:
            state[name] = match_rows(state[name], value, card.classes, classes, ClassRows())
    fit_weights(model, state, weights_file(path), may_differ=layers)
    _report(count_matches(card.classes, classes))


def load_dense_weights(model: nn.Module, path: str, classes: Sequence[str], task: str) -> None:
    """Load a detector's or segmenter's weights into one of the same task, as far as its parts are the same.

    Other weights are those of a classifier, and go into the backbone.

    Args:
        model: The detector or segmenter.
        path: File of the weights, or a run folder.
        classes: Class names of the model.
        task: Task of the model.

    Raises:
        UserError: The file can't be read, or its backbone doesn't fit.
    """
    checkpoint, card = read_initial_weights(path)
    if card is None or card.task != task:
        body = model.get_submodule("backbone")
        body = getattr(body, "body", body)  # detectors have a pyramid around the backbone
        if card is not None and card.task != "classify":
            raise UserError(
                f"init_from: {weights_file(path)} is a model of --task {card.task}, not {task}; give a run of {task} or"
                " of classify"
            )
        fit_weights(body.get_submodule("model"), checkpoint, weights_file(path))
        return
    own = model.state_dict()
    state = {name: resample(name, value, model, own) for name, value in unwrap(checkpoint).items()}
    for name, value in own.items():
        layer = DENSE_CLASS_LAYERS.get(name.split(".")[-2]) if "." in name else None
        if layer is not None and name in state:
            state[name] = match_rows(state[name], value, card.classes, classes, layer)
    left = [part for part in DENSE_PARTS if not _fits(part, state, own)]
    loaded = {name: value for name, value in state.items() if name in own and not _is_in(name, left)}
    _check_backbone(own, state, weights_file(path), type(model).__name__)
    model.load_state_dict({**own, **{name: value for name, value in loaded.items() if own[name].shape == value.shape}})
    missing = f"; not loaded, because it differs: {', '.join(left)}" if left else ""
    _report(count_matches(card.classes, classes) + missing)


def match_rows(source: Tensor, own: Tensor, known: Sequence[str], classes: Sequence[str], rows: ClassRows) -> Tensor:
    """Return the weights of a class layer with the rows of the classes that the source knows.

    Args:
        source: Weights of the source [groups * (per_class * K + background), ...].
        own: Initial weights for the rows of new classes, in the same layout for other classes.
        known: Class names of the source.
        classes: Class names of the model.
        rows: Layout of the rows.

    Returns:
        The weights, in the shape of `own`; `source` if the layers differ in more than their classes.
    """
    per_group = [rows.per_class * len(names) + rows.background for names in (known, classes)]
    groups = len(source) // per_group[0]
    is_same_layer = [len(source), len(own)] == [groups * size for size in per_group]
    if not is_same_layer or source.shape[1:] != own.shape[1:]:
        return source
    old = source.reshape(groups, per_group[0], *source.shape[1:])
    new = own.clone().reshape(groups, per_group[1], *own.shape[1:])
    places = {class_name(name): place for place, name in enumerate(known)}
    size = rows.per_class
    for place, name in enumerate(classes):
        if class_name(name) in places:
            found = places[class_name(name)]
            new[:, place * size : (place + 1) * size] = old[:, found * size : (found + 1) * size]
    if rows.background:
        new[:, -1] = old[:, -1]
    return new.reshape(own.shape)


def count_matches(known: Sequence[str], classes: Sequence[str]) -> str:
    """Return the sentence about the classes that were matched, such as "3 of 4 classes matched by name; 1 new".

    Args:
        known: Names of the classes in the file.
        classes: Names of the model's classes.
    """
    matched = len({*map(class_name, known)} & {*map(class_name, classes)})
    new = len(classes) - matched
    return f"{matched} of {len(classes)} classes matched by name" + (f"; {new} new" if new else "")


def _is_in(name: str, parts: Iterable[str]) -> bool:
    return name.startswith(tuple(f"{part}." for part in parts))


def _fits(part: str, state: Mapping[str, Tensor], own: Mapping[str, Tensor]) -> bool:
    """Return whether a part of the model is the same in the source; a part that the model lacks fits."""
    shapes = [{name: value.shape for name, value in one.items() if _is_in(name, [part])} for one in (own, state)]
    return not shapes[0] or shapes[0] == shapes[1]


def _check_backbone(own: Mapping[str, Tensor], state: Mapping[str, Tensor], path: Path, model: str) -> None:
    """Raise UserError if a parameter of the backbone is missing or has another shape.

    The norms of its maps may be missing: heads use other maps.
    """
    for name, value in own.items():
        if _is_in(name, DENSE_PARTS) or not name.startswith("backbone.") or ".norms." in name:
            continue
        if name not in state or state[name].shape != value.shape:
            found = "is missing" if name not in state else f"has shape {tuple(state[name].shape)}"
            raise UserError(
                f"init_from: {path} doesn't fit the backbone of {model}: {name} {found}; give weights of the same"
                " --model and --model_args"
            )


@rank_zero_only
def _report(text: str) -> None:
    print(f"init_from: {text}", file=sys.stderr, flush=True)
