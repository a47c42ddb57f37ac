"""MSG-Transformer and SG-Former as timm models, with training, evaluation and prediction.

The package itself is light: each name below is loaded when it is first used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from msgformer.api.average import average as average
    from msgformer.api.benchmark import benchmark as benchmark
    from msgformer.api.check_data import check_data as check_data
    from msgformer.api.convert import convert as convert
    from msgformer.api.embed import embed as embed
    from msgformer.api.evaluate import evaluate as evaluate
    from msgformer.api.explain import explain as explain
    from msgformer.api.export import export as export
    from msgformer.api.init_from import init_from as init_from
    from msgformer.api.predict import iter_predictions as iter_predictions
    from msgformer.api.predict import predict as predict
    from msgformer.api.report import report as report
    from msgformer.api.sample_data import sample_data as sample_data
    from msgformer.api.study import study as study
    from msgformer.api.train import train as train
    from msgformer.catalog import list_models as list_models
    from msgformer.dense import create_detector as create_detector
    from msgformer.dense import create_segmenter as create_segmenter
    from msgformer.deploy.optimize import optimize as optimize
    from msgformer.errors import UserError as UserError
    from msgformer.models import convert_state_dict as convert_state_dict
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
    "benchmark": "msgformer.api.benchmark",
    "average": "msgformer.api.average",
    "check_data": "msgformer.api.check_data",
    "convert": "msgformer.api.convert",
    "convert_state_dict": "msgformer.models",
    "create_detector": "msgformer.dense",
    "create_model": "msgformer.tasks.create_model",
    "create_segmenter": "msgformer.dense",
    "ClassificationResult": "msgformer.tasks.classification.result",
    "Classifier": "msgformer.trained_model",
    "DetectionResult": "msgformer.tasks.detection.result",
    "Detector": "msgformer.trained_model",
    "SegmentationResult": "msgformer.tasks.segmentation.result",
    "Segmenter": "msgformer.trained_model",
    "embed": "msgformer.api.embed",
    "evaluate": "msgformer.api.evaluate",
    "explain": "msgformer.api.explain",
    "export": "msgformer.api.export",
    "iter_predictions": "msgformer.api.predict",
    "init_from": "msgformer.api.init_from",
    "list_models": "msgformer.catalog",
    "load": "msgformer.trained_model",
    "load_plugins": "msgformer.plugins",
    "optimize": "msgformer.deploy.optimize",
    "predict": "msgformer.api.predict",
    "report": "msgformer.api.report",
    "sample_data": "msgformer.api.sample_data",
    "study": "msgformer.api.study",
    "train": "msgformer.api.train",
}

__all__ = ["__version__", *_HOMES]


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
