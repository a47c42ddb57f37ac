"""MSG-Transformer and SG-Former as timm models, with training, evaluation and prediction.

The package itself is light: each name below is loaded when it is first used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from msgformer.utils import renamed_modules

if TYPE_CHECKING:
    from msgformer.commands.average import average as average
    from msgformer.commands.benchmark import benchmark as benchmark
    from msgformer.commands.check_data import check_data as check_data
    from msgformer.commands.convert import convert as convert
    from msgformer.commands.embed import embed as embed
    from msgformer.commands.evaluate import evaluate as evaluate
    from msgformer.commands.explain import explain as explain
    from msgformer.commands.export import export as export
    from msgformer.commands.init_from import init_from as init_from
    from msgformer.commands.predict import iter_predictions as iter_predictions
    from msgformer.commands.predict import predict as predict
    from msgformer.commands.report import report as report
    from msgformer.commands.sample_data import sample_data as sample_data
    from msgformer.commands.study import study as study
    from msgformer.commands.train import train as train
    from msgformer.errors import UserError as UserError
    from msgformer.heads import create_detector as create_detector
    from msgformer.heads import create_segmenter as create_segmenter
    from msgformer.model_names import list_models as list_models
    from msgformer.models import convert_state_dict as convert_state_dict
    from msgformer.optimized.optimize import optimize as optimize
    from msgformer.plugins import load_plugins as load_plugins
    from msgformer.tasks.classification.result import ClassificationResult as ClassificationResult
    from msgformer.tasks.create_model import create_model as create_model
    from msgformer.tasks.detection.result import DetectionResult as DetectionResult
    from msgformer.tasks.segmentation.result import SegmentationResult as SegmentationResult
    from msgformer.trained_model import Classifier as Classifier
    from msgformer.trained_model import Detector as Detector
    from msgformer.trained_model import Segmenter as Segmenter
    from msgformer.trained_model import load as load

    __version__: str

_HOMES = {
    "UserError": "msgformer.errors",
    "benchmark": "msgformer.commands.benchmark",
    "average": "msgformer.commands.average",
    "check_data": "msgformer.commands.check_data",
    "convert": "msgformer.commands.convert",
    "convert_state_dict": "msgformer.models",
    "create_detector": "msgformer.heads",
    "create_model": "msgformer.tasks.create_model",
    "create_segmenter": "msgformer.heads",
    "ClassificationResult": "msgformer.tasks.classification.result",
    "Classifier": "msgformer.trained_model",
    "DetectionResult": "msgformer.tasks.detection.result",
    "Detector": "msgformer.trained_model",
    "SegmentationResult": "msgformer.tasks.segmentation.result",
    "Segmenter": "msgformer.trained_model",
    "embed": "msgformer.commands.embed",
    "evaluate": "msgformer.commands.evaluate",
    "explain": "msgformer.commands.explain",
    "export": "msgformer.commands.export",
    "iter_predictions": "msgformer.commands.predict",
    "init_from": "msgformer.commands.init_from",
    "list_models": "msgformer.model_names",
    "load": "msgformer.trained_model",
    "load_plugins": "msgformer.plugins",
    "optimize": "msgformer.optimized.optimize",
    "predict": "msgformer.commands.predict",
    "report": "msgformer.commands.report",
    "sample_data": "msgformer.commands.sample_data",
    "study": "msgformer.commands.study",
    "train": "msgformer.commands.train",
}

__all__ = ["__version__", *_HOMES]

renamed_modules.install()


def __getattr__(name: str) -> Any:
    """Load a public name from the module that holds it (PEP 562)."""
    if name == "__version__":
        from importlib.metadata import version

        return version("msgformer")
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
