"""Imports of a prediction, an evaluation and an export, each in a new process."""

import subprocess
import sys

import pytest

from tasks.tiny_runs import TASK_NAMES, make_tiny_run

PROBE = """
import sys
from msgformer.cli.main import main
status = main(sys.argv[1:])
print("IMPORTED:", *sorted({name.partition(".")[0] for name in sys.modules}), file=sys.stderr)
sys.exit(status)
"""

TRAINING = {"lightning", "lightning_fabric", "tensorboard", "transformers", "datasets", "mindspore"}
PLOTTING = {"matplotlib", "plotly", "cv2", "jinja2", "IPython"}
TABLES = {"pandas", "pyarrow", "rich", "sklearn", "scipy"}
SCORES = {"torchmetrics", "faster_coco_eval", "pycocotools"}
EXPORT = {"onnx", "onnxscript", "onnxruntime", "openvino", "nncf", "executorch"}
OTHER = {"aiohttp", "av"}
HEAVY = TRAINING | PLOTTING | TABLES | SCORES | EXPORT | OTHER

SCORING = {
    "classify": HEAVY - EXPORT - {"lightning", "lightning_fabric", "tensorboard", "datasets", "mindspore"},
    "detect": {"faster_coco_eval", "matplotlib"},
    "segment": HEAVY - EXPORT - {"lightning", "lightning_fabric", "tensorboard", "datasets", "mindspore"},
}
"""Packages that metrics may import: torchmetrics imports optional packages, faster_coco_eval its plots."""


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    folder, made = tmp_path_factory.mktemp("runs"), {}

    def get(task):
        if task not in made:
            made[task] = make_tiny_run(task, folder)
        return made[task]

    return get


@pytest.fixture
def imported(tmp_path):
    """Run ``msgformer`` in a fresh process and return the packages that it imported."""

    def run(*words):
        command = [sys.executable, "-c", PROBE, *map(str, words)]
        done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, timeout=240)
        assert done.returncode == 0, done.stderr
        found = set(done.stderr.partition("IMPORTED:")[2].split())
        assert "torch" in found
        return found & HEAVY

    return run


@pytest.mark.parametrize("task", TASK_NAMES)
def test_a_prediction_imports_only_what_it_needs(task, runs, imported):
    run = runs(task)
    assert imported("predict", run.folder, run.images[0], "--device", "cpu") == set()


def test_predictions_in_a_file_import_nothing_more(runs, imported, tmp_path):
    run = runs("detect")
    assert imported("predict", run.folder, run.images[0], "--output", tmp_path / "out.csv") == set()
    assert imported("embed", run.folder, run.images[0], "--output", tmp_path / "out.npy") == set()


@pytest.mark.parametrize("task", TASK_NAMES)
def test_an_evaluation_imports_only_its_metrics(task, runs, imported):
    words = ("--device", "cpu", "--workers", "0", "--progress", "none")
    assert imported("evaluate", runs(task).folder, *words) <= SCORING[task]


def test_an_export_imports_its_format(runs, imported, tmp_path):
    run = runs("classify")
    assert imported("export", run.folder, "--format", "torch-export", "--output", tmp_path / "out.pt2") == set()


@pytest.mark.slow
def test_an_export_to_onnx_imports_what_writes_and_checks_it(runs, imported, tmp_path):
    pytest.importorskip("onnxruntime")
    run = runs("classify")
    found = imported("export", run.folder, "--format", "onnx", "--output", tmp_path / "out.onnx")
    assert found <= {"onnx", "onnxscript", "onnxruntime"}
