"""The public names of the library: few, and each documented with its parameters, their shapes and units, its errors and its source."""

from __future__ import annotations

import ast
import inspect
import re
import textwrap
from collections.abc import Callable, Iterator
from dataclasses import fields, is_dataclass
from itertools import pairwise
from typing import Any

import pytest

import magcache
from magcache import errors

MOST_NAMES = 15
UNIT = re.compile(
    r"one a step|steps?\b|0-based|fraction|Δσ|sigmas?\b|γ|δ|relative|CFG scale|evaluations|path|JSON|name|ratio|window|speed-up|curve|"
    r"residual|branch|guidance|file|object|gap|‖",
    re.IGNORECASE,
)
"""What says in which unit or shape a number or a sequence is."""
SOURCE = re.compile(r"arXiv:\d{4}\.\d{5}|docs/\w+\.md")
ERRORS = {name for name, value in vars(errors).items() if isinstance(value, type) and issubclass(value, magcache.MagCacheError)}


def public() -> dict[str, Any]:
    return {name: value for name, value in vars(magcache).items() if not name.startswith("_") and not inspect.ismodule(value)}


NAMES = public()
FUNCTIONS = {name: value for name, value in NAMES.items() if inspect.isfunction(value)}
CLASSES = {name: value for name, value in NAMES.items() if inspect.isclass(value)}


def methods(kind: type) -> Iterator[tuple[str, Callable[..., Any]]]:
    for name, value in vars(kind).items():
        function = value.__func__ if isinstance(value, classmethod) else value.fget if isinstance(value, property) else value
        if not name.startswith("_") and inspect.isfunction(function):
            yield f"{kind.__name__}.{name}", function


CALLABLES = FUNCTIONS | {name: function for kind in CLASSES.values() for name, function in methods(kind)}


def parsed(function: Callable[..., Any]) -> ast.FunctionDef:
    tree = ast.parse(textwrap.dedent(inspect.getsource(function))).body[0]
    assert isinstance(tree, ast.FunctionDef)
    return tree


def raised(function: Callable[..., Any], depth: int = 3) -> set[str]:
    """Names of our errors that the function raises, itself or in a function of its own module that it calls."""
    found: set[str] = set()
    for node in ast.walk(parsed(function)):
        if isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call) and isinstance(node.exc.func, ast.Name):
            found |= {node.exc.func.id} & ERRORS
        if depth and isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            called = inspect.getmodule(function).__dict__.get(node.func.id)  # type: ignore[union-attr]
            if inspect.isfunction(called):
                found |= raised(called, depth - 1)
    return found


def attribute_docs(kind: type) -> dict[str, str]:
    """The strings below the fields of a class."""
    body = ast.parse(textwrap.dedent(inspect.getsource(kind))).body[0].body  # type: ignore[attr-defined]
    return {
        field.target.id: text.value.value
        for field, text in pairwise(body)
        if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name)
        and isinstance(text, ast.Expr) and isinstance(text.value, ast.Constant)
    }  # fmt: skip


def test_they_are_few_and_the_module_shows_how_they_go_together():
    assert 0 < len(NAMES) <= MOST_NAMES
    assert ">>>" in (magcache.__doc__ or "") and len(re.findall(r"^ *>>>", magcache.__doc__ or "", re.MULTILINE)) <= 5


@pytest.mark.parametrize("name", CALLABLES)
def test_a_function_explains_what_it_takes_and_in_which_unit(name: str):
    text = inspect.getdoc(CALLABLES[name])
    assert text, f"{name} has no docstring"
    parameters = [each for each in inspect.signature(CALLABLES[name]).parameters.values() if each.name not in ("self", "cls")]
    missing = [each.name for each in parameters if f"`{each.name}`" not in text]
    if "arguments are those of" not in text:
        assert not missing, f"{name} does not explain {missing}"
    assert UNIT.search(text), f"{name} names no unit or shape: {text}"


@pytest.mark.parametrize("name", CALLABLES)
def test_a_function_names_the_errors_that_it_raises(name: str):
    text = inspect.getdoc(CALLABLES[name]) or ""
    assert {error for error in raised(CALLABLES[name]) if error not in text} == set()


@pytest.mark.parametrize("name", [name for name, function in FUNCTIONS.items() if function.__module__.startswith("magcache.planning")])
def test_a_function_of_the_method_names_its_source(name: str):
    assert SOURCE.search(inspect.getdoc(FUNCTIONS[name]) or "")


@pytest.mark.parametrize("name", CLASSES)
def test_a_class_and_each_of_its_fields_is_explained(name: str):
    kind = CLASSES[name]
    assert inspect.getdoc(kind)
    if is_dataclass(kind):
        explained = attribute_docs(kind)
        assert [field.name for field in fields(kind) if field.name not in explained] == []
        numbers = {field.name for field in fields(kind) if re.search(r"float|int", str(field.type))}
        assert {field: text for field, text in explained.items() if field in numbers and not UNIT.search(text)} == {}


@pytest.mark.parametrize("name", [name for name, kind in CLASSES.items() if is_dataclass(kind)])
def test_a_class_that_checks_its_fields_names_the_error(name: str):
    kind = CLASSES[name]
    check = vars(kind).get("__post_init__")
    assert check is not None
    own = {node.exc.func.id for node in ast.walk(ast.parse(textwrap.dedent(inspect.getsource(kind)))) if isinstance(node, ast.Raise)
           and isinstance(node.exc, ast.Call) and isinstance(node.exc.func, ast.Name)}  # fmt: skip
    assert own & ERRORS and any(error in (inspect.getdoc(kind) or "") for error in own & ERRORS)
