"""The tests mirror the source tree: which module a test file is about, and which modules have none."""

import ast
from pathlib import Path

import msgformer

PACKAGE = Path(msgformer.__file__).parent
TESTS = Path(__file__).parent

MIN_STATEMENTS = 20
"""A module with fewer statements in functions needs no test file of its own."""

WHOLE_PROGRAM = {
    "test_architecture.py",
    "test_bad_inputs.py",
    "test_benchmark_scripts.py",
    "test_docstrings.py",
    "test_layout.py",
    "test_packaging.py",
    "test_readme.py",
    "test_real_data.py",
    "test_startup.py",
    "test_task_questions.py",
    "commands/test_option_names.py",  # the signatures of all commands
    "commands/test_overwrite.py",  # outputs of all commands
    "checkpoints/test_old_runs.py",  # a run folder of an earlier version
    "heads/test_integrations.py",  # backbones in other libraries
    # Every model, against the authors' code, the papers or other libraries
    "models/test_construction.py",
    "models/test_golden.py",
    "models/test_graphs.py",
    "models/test_inputs.py",
    "models/test_onnx.py",
    "models/test_sizes.py",
    "models/test_timm.py",
    "models/test_tracing.py",
    # Every model of this backend, against the PyTorch models; needs an environment of its own
    "mindspore/test_backend.py",
    "mindspore/test_convert.py",
    "mindspore/test_imports.py",
    "mindspore/test_mindir.py",
    "mindspore/test_parity.py",
    "mindspore/test_sizes.py",
    "mindspore/test_training.py",
}
"""Test files about more than one module or folder."""

TESTED_BY = {
    "explanations/arrays.py": "commands/test_explain.py",
    "explanations/builder.py": "commands/test_explain.py",
    "exporters/formats/openvino.py": "exporters/test_formats.py",
    "heads/segmentation/upernet.py": "heads/segmentation/test_segmenter.py",
    "mindspore/conv_layers.py": "mindspore/test_parity.py",
    "mindspore/exchange.py": "mindspore/test_parity.py",
    "mindspore/guided_attention.py": "mindspore/test_parity.py",
    "mindspore/layers.py": "mindspore/test_parity.py",
    "mindspore/msg_transformer.py": "mindspore/test_parity.py",
    "mindspore/reallocation.py": "mindspore/test_parity.py",
    "mindspore/sg_former.py": "mindspore/test_parity.py",
    "mindspore/weights.py": "mindspore/test_convert.py",
    "mindspore/window.py": "mindspore/test_sizes.py",
    "models/backbone.py": "models/test_timm.py",
    "models/guided_attention.py": "models/test_golden.py",
    "models/msg_transformer.py": "models/test_golden.py",
    "models/sg_former.py": "models/test_golden.py",
    "optimized/msg_transformer.py": "optimized/test_optimize.py",
    "optimized/sg_former.py": "optimized/test_optimize.py",
    "profiling/timing_run.py": "commands/test_benchmark.py",
    "runs/report.py": "commands/test_report.py",
    "tasks/classification/evaluation.py": "commands/test_evaluate.py",
    "tasks/classification/task.py": "test_trained_model.py",
    "tasks/classification/training_setup.py": "commands/test_train_options.py",
    "tasks/detection/evaluation.py": "tasks/dense/test_evaluation.py",
    "tasks/detection/results_file.py": "commands/test_evaluate_predict_dense.py",
    "tasks/detection/task.py": "test_trained_model.py",
    "tasks/loaded_model.py": "commands/test_export.py",
    "tasks/opened_model.py": "test_trained_model.py",
    "tasks/prediction/predictor.py": "test_trained_model.py",
    "tasks/prediction/stream.py": "commands/test_predict.py",
    "tasks/segmentation/evaluation.py": "tasks/dense/test_evaluation.py",
    "tasks/segmentation/task.py": "test_trained_model.py",
    "training/run.py": "commands/test_train.py",
    "training/run_files.py": "commands/test_train_resume.py",
    "training/tracking.py": "commands/test_train_options.py",
}
"""Modules without a test file of their name, and the test file of the command or model that they are a part of."""


def relative(folder, pattern):
    return {path.relative_to(folder).as_posix(): path for path in folder.rglob(pattern)}


def mirrored(module):
    """Return the path of the test file of a module."""
    path = Path(module)
    return path.with_name(f"test_{path.name}").as_posix()


def count_logic(path):
    """Count the statements in the functions of a module, without docstrings."""
    functions = (node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.FunctionDef))
    statements = {
        node
        for function in functions
        for statement in function.body
        for node in ast.walk(statement)
        if isinstance(node, ast.stmt) and not (isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant))
    }
    return len(statements)


def test_modules_have_a_test_file_of_their_name():
    tests = relative(TESTS, "test_*.py")
    modules = {name: path for name, path in relative(PACKAGE, "*.py").items() if path.name != "__init__.py"}
    missing = {
        mirrored(name)
        for name, path in modules.items()
        if mirrored(name) not in tests and name not in TESTED_BY and count_logic(path) >= MIN_STATEMENTS
    }
    assert not missing
    assert not {*TESTED_BY.values()} - {*tests}
    superfluous = {name for name in TESTED_BY if name not in modules or mirrored(name) in tests}
    assert not superfluous, "remove them from TESTED_BY"


def is_mirror(test):
    """Return whether a test file is named after a module or folder, or after one and an aspect: test_train_resume."""
    path = Path(test)
    words = path.stem.removeprefix("test_").split("_")
    starts = (PACKAGE / path.parent / "_".join(words[:count]) for count in range(1, len(words) + 1))
    return any(start.is_dir() or start.with_suffix(".py").is_file() for start in starts)


def test_test_files_are_named_after_a_module_or_folder():
    tests = relative(TESTS, "test_*.py")
    assert not [name for name in tests if name not in WHOLE_PROGRAM and not is_mirror(name)]
    superfluous = {name for name in WHOLE_PROGRAM if name not in tests or is_mirror(name)}
    assert not superfluous, "remove them from WHOLE_PROGRAM"
