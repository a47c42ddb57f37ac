"""Creation of models by name or from a checkpoint."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from torch import nn

from msgformer import models
from msgformer.checkpoints.card import KEY, ModelCard
from msgformer.checkpoints.checkpoint_file import check_seal
from msgformer.checkpoints.weights_file import Checkpoint, read_checkpoint
from msgformer.errors import UserError
from msgformer.models.loading import fit_weights
from msgformer.tasks import get_task
from msgformer.training.build import build_model
from msgformer.utils.safetensors_header import read_header


def create_model(
    name: str | None = None, pretrained: bool = False, *, checkpoint_path: str | Path | None = None, **kwargs: Any
) -> nn.Module:
    """Create a model of this package or of timm, new or with the weights of a checkpoint.

    Nothing that a checkpoint holds is executed.

    Args:
        name: A name of `msgformer.list_models`, of the papers' released code or of timm. May be left out if
            ``checkpoint_path`` is of a trained classifier, whose card names the model.
        pretrained: Load the weights that ``pretrained_cfg`` refers to; this package publishes none.
        checkpoint_path: Checkpoint to load, .ckpt, .pth or .safetensors; window and image size are adapted.
        **kwargs: Arguments of `MsgTransformer`, `SgFormer` or timm's model, and of ``timm.create_model``. Without a
            name they override those of the checkpoint; with another ``num_classes`` the classifier is new.

    Returns:
        The model; with ``features_only=True`` a module that returns a list of feature maps [B, C, H, W].

    Raises:
        UserError: Neither this package nor timm has a model of that name, ``pretrained`` finds nothing to load, or the
            checkpoint can't be read, is of another model or of a detector or segmenter.
    """
    if checkpoint_path is None:
        if name is None:
            raise UserError("name: give the name of a model, or checkpoint_path=FILE of a trained classifier")
        return models.create_model(name, pretrained, **kwargs)
    if pretrained:
        raise UserError(f"pretrained and checkpoint_path ({checkpoint_path}) are both given; leave one of them out")
    path = Path(checkpoint_path)
    checkpoint = read_checkpoint(path)
    model = _build_from_card(path, checkpoint, kwargs) if name is None else models.create_model(name, **kwargs)
    body = model.get_submodule("model") if kwargs.get("features_only") else model
    other_classes = name is None and "num_classes" in kwargs
    fit_weights(body, checkpoint, path, may_differ=_classifiers(body) if other_classes else ())
    return model


def _build_from_card(path: Path, checkpoint: Checkpoint, overrides: dict[str, Any]) -> nn.Module:
    """Build the model that the card in a checkpoint describes, with some arguments overridden.

    Raises:
        UserError: There is no card, it is of a detector or segmenter, or the arguments don't go together.
    """
    if (text := read_header(path).get(KEY)) is not None:
        card = ModelCard.from_json(text, path)
    elif KEY in checkpoint:
        check_seal(path)
        card = ModelCard.read(checkpoint, path)
    else:
        raise UserError(f"{path} doesn't name its model; give its name too: create_model(NAME, checkpoint_path=...)")
    get_task(card.task).require_classifier(f"checkpoint_path: {path}")
    return build_model(card.model, len(card.classes), card.img_size, {**card.model_args, **overrides})


def _classifiers(model: nn.Module) -> tuple[str, ...]:
    """Return the names of the classifier's modules in a timm model."""
    names: Any = getattr(model, "pretrained_cfg", {}).get("classifier") or ()
    return (names,) if isinstance(names, str) else tuple(names)
