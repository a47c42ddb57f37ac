"""Words of other tools, and what they are called here: hints in error messages, not aliases."""

from __future__ import annotations

from collections.abc import Collection

_ACCELERATORS = ("trainer.accelerator", "device")
_PRECISIONS = ("trainer.precision", "precision")
_THRESHOLDS = ("threshold", "detect.score_threshold")

OPTIONS: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(("accelerator", "device", "gpu", "gpus"), _ACCELERATORS),
    **dict.fromkeys(("amp", "fp16", "half"), _PRECISIONS),
    **dict.fromkeys(("conf", "conf_thres", "confidence", "score_thr"), _THRESHOLDS),
    **dict.fromkeys(("iou", "iou_thres"), ("detect.nms_threshold",)),
    **dict.fromkeys(("b", "batch", "bs"), ("batch_size",)),
    **dict.fromkeys(("image_size", "imgsz", "input_size", "resolution"), ("img_size",)),
    **dict.fromkeys(("j", "num_workers"), ("workers",)),
    **dict.fromkeys(("name", "out", "outdir", "output_dir", "project", "save_dir"), ("output",)),
    **dict.fromkeys(("arch", "backbone"), ("model",)),
    **dict.fromkeys(("checkpoint", "finetune", "weights"), ("init_from", "weights")),
    **dict.fromkeys(("data_dir", "data_path", "dataset"), ("data",)),
    **dict.fromkeys(("exist_ok", "force"), ("overwrite",)),
    **dict.fromkeys(("dynamic",), ("dynamic_size", "dynamic_batch")),
    **dict.fromkeys(("topk", "k"), ("top_k",)),
}
"""Options by other tools' names, dashes as underscores, and those of this package that may be meant."""

COMMANDS = {
    "classify": "train",
    "detect": "train --task detect",
    "fit": "train",
    "infer": "predict",
    "inference": "predict",
    "segment": "train --task segment",
    "test": "evaluate",
    "val": "evaluate",
    "validate": "evaluate",
}
"""Commands by other tools' names, and those of this package."""

VALUES = {
    (
        "format",
        "tensorrt",
    ): "; TensorRT builds its engine from an ONNX file: use onnx, then trtexec (see docs/export.md)",
    ("format", "engine"): "; TensorRT builds its engine from an ONNX file: use onnx, then trtexec (see docs/export.md)",
    ("format", "torchscript"): "; did you mean 'torch-export'?",
}
"""Values by option and other tools' name, and the advice."""


def other_option(name: str, known: Collection[str]) -> str:
    """Return a hint for an option of another tool; empty if there is none.

    Args:
        name: The option without its dashes.
        known: Options of the command.
    """
    found = next((option for option in OPTIONS.get(name, ()) if option in known), None)
    return "" if found is None else f"; did you mean '--{found}'?"


def other_value(option: str, value: str) -> str:
    """Return a hint for a value that other tools know; empty if there is none.

    Args:
        option: The option without its dashes.
        value: What was given.
    """
    return VALUES.get((option, value.lower()), "")
