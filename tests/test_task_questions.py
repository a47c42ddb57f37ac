"""Code outside `msgformer.tasks` does not check the task."""

import ast
from pathlib import Path

import pytest

import msgformer
from msgformer.tasks import TASKS, all_tasks

PACKAGE = Path(msgformer.__file__).parent

TYPES = {
    "Classifier",
    "Detector",
    "Segmenter",
    "ClassificationResult",
    "DetectionResult",
    "SegmentationResult",
    "EvaluateResult",
    "DenseEvaluateResult",
    "DetectionEvaluateResult",
    "SegmentationEvaluateResult",
    "Prediction",
    "DetectionPrediction",
    "SegmentationPrediction",
    "Classification",
    "Detection",
    "Segmentation",
    "DenseTask",
    "ClassificationTraining",
    "DetectionTraining",
    "SegmentationTraining",
}
"""Types that determine the task."""

BOTH_DETECTORS = {"RCNN", "RetinaNet"}
"""Types that determine the task together; one alone determines the type of detector."""

NOUNS = {task.noun for task in all_tasks()}
WORDS = {*TASKS, *NOUNS}

ALLOWED: dict[str, int] = {}
"""Allowed task checks, by file."""


class Questions(ast.NodeVisitor):
    """Collects the lines that check the task: comparisons, matches, lookups and type tests."""

    def __init__(self):
        self.lines = []

    def visit_Compare(self, node):
        if any(map(tells_task, [node.left, *node.comparators])):
            self.lines.append(node.lineno)
        self.generic_visit(node)

    def visit_Match(self, node):
        words = {one.value for case in node.cases for one in ast.walk(case.pattern) if isinstance(one, ast.Constant)}
        types = {one.cls for case in node.cases for one in ast.walk(case.pattern) if isinstance(one, ast.MatchClass)}
        if tells_task(node.subject) or words & WORDS or any(map(is_task_type, types)):
            self.lines.append(node.lineno)
        self.generic_visit(node)

    def visit_Subscript(self, node):
        if is_task(node.slice) or (isinstance(node.slice, ast.Constant) and node.slice.value in TASKS):
            self.lines.append(node.lineno)
        self.generic_visit(node)

    def visit_Call(self, node):
        name = getattr(node.func, "id", getattr(node.func, "attr", ""))
        if name in ("isinstance", "issubclass") and len(node.args) == 2 and is_task_type(node.args[1]):
            self.lines.append(node.lineno)
        if name in ("get", "index", "pop", "startswith", "endswith") and any(map(tells_task, node.args[:1])):
            self.lines.append(node.lineno)
        self.generic_visit(node)


def is_task(node):
    """Return whether an expression is the name of a task: `task`, or an attribute `.task` or `.noun`."""
    if isinstance(node, ast.Attribute):
        return node.attr in ("task", "noun") or (node.attr == "name" and is_task(node.value))
    return isinstance(node, ast.Name) and node.id in ("task", "noun")


def tells_task(node):
    """Return whether an operand is a task name or holds one, possibly in a list."""
    if isinstance(node, ast.Tuple | ast.List | ast.Set):
        return any(map(tells_task, node.elts))
    return is_task(node) or (isinstance(node, ast.Constant) and node.value in WORDS)


def is_task_type(node):
    """Return whether an operand of isinstance, or a class in a pattern, is a type of only one task."""
    names = {getattr(one, "id", getattr(one, "attr", "")) for one in ast.walk(node)}
    return bool(names & TYPES) or names >= BOTH_DETECTORS


def questions(code):
    visitor = Questions()
    visitor.visit(ast.parse(code))
    return visitor.lines


def test_only_the_tasks_package_checks_the_task():
    found = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        place = path.relative_to(PACKAGE)
        if place.parts[0] != "tasks" and (lines := questions(path.read_text(encoding="utf-8"))):
            found[str(place)] = lines
    counts = {place: len(lines) for place, lines in found.items()}
    assert counts == ALLOWED, found


@pytest.mark.parametrize(
    "code",
    [
        "if card.task == 'x': pass",
        "if self.card.task in names: pass",
        "if task != other: pass",
        "if task is None: pass",
        "x = 1 if kind == 'detect' else 2",
        "if kind not in ('classify', 'segment'): pass",
        "if 'segment' in kinds: pass",
        "match card.task:\n    case 'x': pass",
        "match kind:\n    case 'detect' | 'segment': pass",
        "match result:\n    case DetectionResult(): pass",
        "WRITERS[settings.task](folder)",
        "WRITERS[task]",
        "WRITERS['detect']",
        "WRITERS.get(card.task)",
        "isinstance(model, Detector)",
        "isinstance(model, dense.RCNN | dense.RetinaNet)",
        "isinstance(model, (nn.Module, Segmenter))",
        "issubclass(cls, DenseTask)",
        "if model.opened.task.noun == 'detector': pass",
        "if task.name == 'x': pass",
    ],
)
def test_task_checks_are_detected(code):
    assert questions(code)


@pytest.mark.parametrize(
    "code",
    [
        "get_task(card.task).evaluate(model)",
        "def train(task: TaskName = 'classify'): pass",
        "Literal['classify', 'detect', 'segment']",
        "isinstance(model, nn.Module)",
        "print(f'{card.task}')",
        "task = progress.add_task(what)",
        "task = given.get('task', 'classify')",
        "isinstance(detector, RetinaNet)",
    ],
)
def test_other_code_is_not_detected(code):
    assert questions(code) == []
