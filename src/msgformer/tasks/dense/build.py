"""Detectors and segmenters from what a checkpoint says about them."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from torch import nn

from msgformer.errors import UserError


def build_dense(
    create: Callable[..., nn.Module], name: str, num_classes: int, arguments: Mapping[str, Any], **start: Any
) -> nn.Module:
    """A detector or segmenter.

    Args:
        create: `msgformer.create_detector` or `msgformer.create_segmenter`.
        name: The backbone, a model of this package or of timm.
        num_classes: Classes, a detector's background not counted.
        arguments: Of ``create``, and of the backbone's constructor.
        **start: What the weights start from, ``pretrained`` or ``checkpoint``, which no checkpoint repeats, and
            ``grad_checkpointing``.

    Raises:
        UserError: there is no such backbone, an argument isn't known, or the arguments don't go together.
    """
    try:
        return create(name, num_classes=num_classes, **arguments, **start)
    except TypeError as error:
        unexpected = re.search(r"unexpected keyword argument '(\w+)'", str(error))
        if unexpected is None:
            raise _refused(name, arguments, error) from error
        raise UserError(f"model_args: {name} takes no {unexpected[1]!r} as a backbone") from error
    except (AssertionError, RuntimeError, ValueError) as error:
        raise _refused(name, arguments, error) from error


def _refused(name: str, arguments: Mapping[str, Any], error: Exception) -> UserError:
    reason = " ".join(str(error).split()) or type(error).__name__
    return UserError(f"{name} can't be built as a backbone with {dict(arguments)}: {reason}")
