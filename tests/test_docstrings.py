"""Docstrings of public functions name their parameters, and the shapes of tensors."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import msgformer

PACKAGE = Path(msgformer.__file__).parent
SHAPE = re.compile(r"\[[^\]]*\]")
WITH_SHAPES = ("heads", "models")

Function = ast.FunctionDef | ast.AsyncFunctionDef


def public_functions(path: Path) -> Iterator[tuple[str, Function]]:
    """Functions and methods whose name, and class, begin with no underscore."""
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        for name, function in members(node):
            if not function.name.startswith("_"):
                yield name, function


def members(node: ast.stmt) -> Iterator[tuple[str, Function]]:
    if isinstance(node, Function):
        yield node.name, node
    elif isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
        for inner in node.body:
            if isinstance(inner, Function):
                yield f"{node.name}.{inner.name}", inner


def is_overload(function: Function) -> bool:
    return any("overload" in ast.unparse(decorator) for decorator in function.decorator_list)


def parameters(function: Function) -> list[ast.arg]:
    arguments = function.args
    found = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs]
    found += [one for one in (arguments.vararg, arguments.kwarg) if one is not None]
    return [one for one in found if one.arg not in ("self", "cls") and not one.arg.startswith("_")]


def missing_parameters(function: Function) -> list[str]:
    """Parameters of a function with two or more that its docstring's ``Args:`` doesn't name."""
    names = [one.arg for one in parameters(function)]
    text = ast.get_docstring(function) or ""
    section = text.partition("Args:")[2]
    return [] if len(names) < 2 else [name for name in names if not re.search(rf"^ +\*{{0,2}}{name}:", section, re.M)]


def missing_shapes(function: Function) -> list[str]:
    """Tensor parameters, and a returned tensor, without a shape in brackets in the docstring."""
    text = ast.get_docstring(function) or ""
    tensors = [one.arg for one in parameters(function) if is_tensor(one.annotation)]
    missing = []
    for name in tensors:
        described = re.search(rf"^ +\*{{0,2}}{name}:((?:.*)(?:\n {{8,}}.*)*)", text.partition("Args:")[2], re.M)
        if not SHAPE.search(described[1] if described else text):
            missing.append(name)
    if is_tensor(function.returns) and not SHAPE.search(text):
        missing.append("returned tensor")
    return missing


def is_tensor(annotation: ast.expr | None) -> bool:
    return annotation is not None and ast.unparse(annotation) in ("Tensor", "Tensor | None", "torch.Tensor")


FILES = sorted(path.relative_to(PACKAGE).as_posix() for path in PACKAGE.rglob("*.py"))


@pytest.mark.parametrize("file", FILES)
def test_docstrings_name_all_parameters(file):
    found = {
        name: missing
        for name, function in public_functions(PACKAGE / file)
        if not is_overload(function) and (missing := missing_parameters(function))
    }
    assert not found


@pytest.mark.parametrize("file", [file for file in FILES if file.startswith(WITH_SHAPES)])
def test_docstrings_give_the_shapes_of_tensors(file):
    found = {
        name: missing for name, function in public_functions(PACKAGE / file) if (missing := missing_shapes(function))
    }
    assert not found


def test_missing_entries_are_found():
    function = ast.parse(
        'def f(x: Tensor, y: int) -> Tensor:\n    """Add.\n\n    Args:\n        x: Tokens.\n    """'
    ).body[0]
    assert missing_parameters(function) == ["y"]
    assert missing_shapes(function) == ["x", "returned tensor"]
