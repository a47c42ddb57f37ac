"""Teachers for distillation: trained classifiers."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import timm
from timm.models import get_pretrained_cfg

from msgformer.config.data_options import PreprocessOptions
from msgformer.data.preprocessing import Preprocessing
from msgformer.errors import UserError
from msgformer.model_names import HUB_PREFIXES
from msgformer.models.registry import known_model
from msgformer.tasks import get_task
from msgformer.tasks.classification.distillation import InputFormat, Teacher
from msgformer.tasks.opened_model import load_model


def open_teacher(teacher: str, classes: Sequence[str], student: Preprocessing) -> Teacher:
    """Open a trained classifier of the student's classes as a teacher.

    Args:
        teacher: A checkpoint, or the name of a model of timm, whose weights are then downloaded.
        classes: The student's classes, in the order of its outputs.
        student: Preprocessing of the student.

    Raises:
        UserError: The teacher can't be opened or downloaded, or has other classes or another value range.
    """
    if Path(teacher).is_file():
        model, card = load_model(Path(teacher))
        get_task(card.task).require_classifier(f"teacher: {teacher}")
        _check_count(teacher, len(card.classes), len(classes))
        for number, (theirs, ours) in enumerate(zip(card.classes, classes, strict=True)):
            if theirs != ours:
                raise UserError(
                    f"teacher: class {number} of {teacher} is {theirs!r}, but that of the data is {ours!r};"
                    " give a teacher of the same classes"
                )
        if card.value_range is not None and card.value_range != student.value_range:
            low, high = card.value_range
            raise UserError(
                f"teacher: {teacher} was trained on values in {low:.10g}..{high:.10g}; give --preprocess.value_range"
                f" '[{low:.10g}, {high:.10g}]' as well, or another teacher"
            )
        return Teacher(model, _input_format(Preprocessing.from_dict(card.preprocessing)), _input_format(student))
    name = known_model(teacher)
    config = None if name.startswith(HUB_PREFIXES) else get_pretrained_cfg(name)
    if config is not None:  # before anything is downloaded
        _check_count(teacher, config.num_classes, len(classes))
    try:
        fetched: Any = timm.create_model(name, pretrained=True)
    except Exception as error:  # the Hub's client may raise anything
        reason = " ".join(str(error).split())[:160]
        raise UserError(
            f"teacher: the weights of {teacher} can't be downloaded ({reason}); give a run or a checkpoint instead"
        ) from error
    _check_count(teacher, fetched.num_classes, len(classes))
    channels, *size = fetched.pretrained_cfg["input_size"]
    preprocessing = Preprocessing.of(fetched, tuple(size), channels, PreprocessOptions())
    return Teacher(fetched, _input_format(preprocessing), _input_format(student))


def _check_count(teacher: str, theirs: int, ours: int) -> None:
    if theirs != ours:
        raise UserError(
            f"teacher: {teacher} has {theirs} classes, but the data has {ours}; give one that was trained on the same"
            " classes"
        )


def _input_format(preprocessing: Preprocessing) -> InputFormat:
    _, height, width = preprocessing.input_size
    return InputFormat((height, width), preprocessing.mean, preprocessing.std, preprocessing.interpolation)
