"""Construction of detectors and segmenters with checked arguments."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from torch import nn

from msgformer.errors import UserError


def build_dense(
    create: Callable[..., nn.Module], name: str, num_classes: int, arguments: Mapping[str, Any], **start: Any
) -> nn.Module:
    """Build a detector or segmenter.

    Args:
        create: `msgformer.create_detector` or `msgformer.create_segmenter`.
        name: Name of the backbone, a model of this package or of timm.
        num_classes: Number of classes, without a detector's background.
        arguments: Arguments of ``create`` and of the backbone's constructor, as in a model card.
        **start: Arguments that no card holds: initial weights (``pretrained``, ``checkpoint``) and
            ``grad_checkpointing``.

    Raises:
        UserError: There is no such backbone, an argument is unknown, or the arguments are inconsistent.
    """
    try:
        return create(name, num_classes=num_classes, **arguments, **start)
    except TypeError as error:
        unexpected = re.search(r"unexpected keyword argument '(\w+)'", str(error))
        if unexpected is None:
            raise _build_error(name, arguments, error) from error
        raise UserError(f"model_args: {name} takes no {unexpected[1]!r} as a backbone") from error
    except (AssertionError, RuntimeError, ValueError) as error:
        raise _build_error(name, arguments, error) from error


def _build_error(name: str, arguments: Mapping[str, Any], error: Exception) -> UserError:
    reason = " ".join(str(error).split()) or type(error).__name__
    return UserError(f"{name} can't be built as a backbone with {dict(arguments)}: {reason}")
