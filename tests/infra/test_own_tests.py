"""What is asked of the tests themselves."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

MODULES = sorted(Path(__file__).parents[1].rglob("*.py"))
CHECKS = ("raises", "warns")


def imported(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            yield from (node.module or "", *(f"{node.module}.{alias.name}" for alias in node.names))
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)


def checks(function: ast.AST) -> bool:
    return any(
        isinstance(node, ast.Assert)
        or (isinstance(node, ast.Attribute) and node.attr.startswith(("assert_", *CHECKS)))
        for node in ast.walk(function)
    )


def powerless(tree: ast.Module) -> Iterator[str]:
    """Tests that assert nothing, neither themselves nor in a function of their module."""
    functions = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)]
    helpers = {function.name for function in functions if checks(function)}
    for function in functions:
        called = {
            node.func.id
            for node in ast.walk(function)
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
        }
        if function.name.startswith("test_") and not {function.name, *called} & helpers:
            yield function.name


def test_no_module_borrows_from_tests_or_fixtures() -> None:
    for path in MODULES:
        names = [name.split(".") for name in imported(ast.parse(path.read_text("utf-8")))]
        ours = [part for parts in names if parts[0] == "tests" for part in parts]
        borrowed = [part for part in ours if part.startswith("test_") or part == "conftest"]
        assert not borrowed, path


def test_every_test_can_fail() -> None:
    for path in MODULES:
        assert not list(powerless(ast.parse(path.read_text("utf-8")))), path
