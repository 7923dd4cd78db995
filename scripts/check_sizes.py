"""Tell which functions, classes and folders of the package are larger than a reader can hold.

Usage: check_sizes.py [FOLDER]   (the limits stand in pyproject.toml, [tool.check_sizes])

Lines count as they stand in the file, comments and blank lines too; the docstring of a function
or class does not, but that of a workflow builder (``init_*_wf``) does. Exit status 1 when
something is above its limit, or when an exception in pyproject.toml is no longer needed.
"""

from __future__ import annotations

import ast
import sys
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

Definition = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef


@dataclass(frozen=True)
class Size:
    """How large something is, and what it is measured against."""

    kind: str
    name: str
    value: int
    place: str


def definitions(tree: ast.AST, prefix: str = "") -> Iterator[tuple[str, Definition]]:
    """Qualified name and node of every function and class, also of those within another."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, Definition):
            yield f"{prefix}{node.name}", node
            yield from definitions(node, f"{prefix}{node.name}.")
        else:
            yield from definitions(node, prefix)


def kind_of(node: Definition) -> str:
    """One of the limits of lines: class, builder or function."""
    if isinstance(node, ast.ClassDef):
        return "class"
    is_builder = node.name.startswith("init_") and node.name.endswith("_wf")
    return "builder" if is_builder else "function"


def count_lines(node: Definition, kind: str) -> int:
    """Lines of a definition; without its docstring unless it builds a workflow."""
    whole = _span(node)
    if kind == "builder" or ast.get_docstring(node) is None:
        return whole
    return whole - _span(node.body[0])


def _span(node: ast.stmt) -> int:
    return (node.end_lineno or node.lineno) - node.lineno + 1


def sizes(package: Path) -> Iterator[Size]:
    """Every definition in lines and every folder in modules (``__init__.py`` not counted)."""
    root = package.parent
    modules: dict[Path, int] = {}
    for path in sorted(package.rglob("*.py")):
        if path.name != "__init__.py":
            modules[path.parent] = modules.get(path.parent, 0) + 1
        dotted = ".".join(path.relative_to(root).with_suffix("").parts)
        for name, node in definitions(ast.parse(path.read_text(encoding="utf-8"))):
            kind = kind_of(node)
            place = f"{path.relative_to(root)}:{node.lineno}"
            yield Size(kind, f"{dotted}.{name}", count_lines(node, kind), place)
    for folder, number in modules.items():
        name = ".".join(folder.relative_to(root).parts)
        yield Size("folder", name, number, str(folder.relative_to(root)))


def complaints(measured: list[Size], config: dict[str, Any]) -> list[str]:
    """One line for each size above its limit, and for each exception that nothing needs.

    Parameters
    ----------
    measured
        What `sizes` yields.
    config
        The limits: ``function``, ``builder`` and ``class`` in lines, ``folder`` in modules;
        ``too_long``: name to the lines that it may have for now; ``large_folders``: name to the
        reason why it may hold more modules.
    """
    too_long, folders = config["too_long"], config["large_folders"]
    told, needed = [], set()
    for size in measured:
        limit = config[size.kind]
        if size.value <= limit:
            continue
        needed.add(size.name)
        allowed = sys.maxsize if size.name in folders else too_long.get(size.name, limit)
        if size.value > allowed:
            unit = "modules" if size.kind == "folder" else "lines"
            told.append(
                f"{size.place}: {size.kind} {size.name} has {size.value} {unit}, "
                f"at most {allowed} are allowed"
            )
    told += [
        f"pyproject.toml: {name} is within its limit or gone: remove it from [tool.check_sizes]"
        for name in (*too_long, *folders)
        if name not in needed
    ]
    return told


def main() -> None:
    """Check the folder on the command line, else this repository's package."""
    root = Path(__file__).resolve().parents[1]
    package = Path(sys.argv[1]) if len(sys.argv) > 1 else root / "bidsapp_brainage"
    project = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))
    told = complaints(list(sizes(package)), project["tool"]["check_sizes"])
    if told:
        sys.exit("\n".join(told))
    print("No function, class or folder is above its limit.")


if __name__ == "__main__":
    main()
