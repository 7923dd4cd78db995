"""Draw docs/figures/*.svg: the house from pyproject.toml, the workflow from the workflow itself.

Usage: draw.py [--check]. With --check nothing is written and the status is 1 if a figure is not
what the code says; counts of modules and lines may then differ by a quarter. The test suite does
that, so the figures cannot go stale. No network, no other program.
"""

from __future__ import annotations

import argparse
import ast
import re
import sys
import tempfile
import textwrap
import tomllib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

import networkx as nx

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "bidsapp_brainage"
FIGURES = ROOT / "docs" / "figures"
BROAD = 5  # boxes in a row
SLACK = 0.25  # of a count, before a figure is stale
GAP, PAD, LINE, LETTER = 18, 8, 14, 6.1  # pixels
_COUNT = re.compile(r'class="count">([^<]*)<')
_STYLE = """
text { font: 11px "DejaVu Sans", Verdana, sans-serif; fill: #1b2430 }
.title { font-weight: bold; font-size: 12px }
.count, .note { fill: #5a6675; font-size: 10px }
rect { stroke: #5a6675; rx: 5px }
path { fill: none; stroke: #8a94a1 }
"""
#: Colour and meaning of the boxes of the house, by how many contracts forbid them something.
_COLOURS = (
    ("#f3e3cf", "the shell: knows nipype or the command line"),
    ("#dcebf7", "the core: neither nipype nor argparse"),
    ("#d9f0dc", "computation and its cards: no BIDS either"),
)
_PLAIN = "#eef2f6"


@dataclass(frozen=True)
class Box:
    """Title, further lines (count first, if there is one) and colour."""

    title: str
    lines: tuple[str, ...] = ()
    count: str = ""
    colour: str = _PLAIN

    def height(self) -> int:
        """Pixels."""
        return 2 * PAD + LINE * (1 + bool(self.count) + len(self.lines))


def house() -> str:
    """Packages by layer: each may import what lies below it, and nothing else of ours."""
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    contracts = contracts["tool"]["importlinter"]["contracts"]
    layers = next(c["layers"] for c in contracts if c["type"] == "layers")
    forbidden = [c["source_modules"] for c in contracts if c["type"] == "forbidden"]
    width, y, parts = 1080, GAP, []
    for layer in layers:
        names = [name.strip(" ()") for name in layer.split(":")]
        if names == ["__main__"]:
            continue
        wide = (width - GAP * (len(names) - 1)) / len(names)
        boxes = [_package(name, forbidden, wide) for name in names]
        tall = max(box.height() for box in boxes)
        for place, box in enumerate(boxes):
            parts += _box(box, GAP + place * (wide + GAP), y, wide, tall)
        y += tall + GAP // 2
    for colour, text in _COLOURS:
        y += LINE + 4
        parts.append(f'<rect x="{GAP}" y="{y - 10}" width="14" height="12" fill="{colour}"/>')
        parts.append(f'<text class="note" x="{GAP + 22}" y="{y}">{escape(text)}</text>')
    note = "A package may import those below it, never one above or beside it."
    parts.append(f'<text class="note" x="{width / 2}" y="{y}">{note}</text>')
    return _svg(width + 2 * GAP, y + GAP, parts)


def _package(name: str, forbidden: Sequence[Sequence[str]], width: float) -> Box:
    folder, module = PACKAGE / name, PACKAGE / f"{name}.py"
    files = sorted(folder.rglob("*.py")) if folder.is_dir() else [module]
    first = folder / "__init__.py" if folder.is_dir() else module
    doc = (ast.get_docstring(ast.parse(first.read_text("utf-8"))) or "").split("\n")[0]
    lines = sum(len(file.read_text("utf-8").splitlines()) for file in files)
    count = f"{len(files)} modules, {lines} lines" if folder.is_dir() else f"{lines} lines"
    level = sum(f"{PACKAGE.name}.{name}" in modules for modules in forbidden)
    words = textwrap.wrap(doc, int((width - 2 * PAD) / LETTER))
    return Box(name, tuple(words), count, _COLOURS[level][0])


def workflow(run: Any) -> str:
    """Parts of the workflow of one scan, as they are wired."""
    scan = next(part for part in run._graph.nodes if part.name.startswith("sub_"))
    parts = {part.name: part for part in (*scan._graph.nodes, *run._graph.nodes) if part != scan}
    boxes = {name: _part(part) for name, part in parts.items()}
    edges = [(a.name, b.name) for graph in (scan._graph, run._graph) for a, b in graph.edges]
    ends = {b.name: a.name for a, b in run._graph.edges if b == scan}
    edges = [(a, b) for a, b in edges if b in parts and a in parts]
    edges += [(a, "explanation_wf") for a in ends.values()]
    return _layered(boxes, edges)


def explanation(run: Any) -> str:
    """Steps inside of the explanation of one scan."""
    scan = next(part for part in run._graph.nodes if part.name.startswith("sub_"))
    inner = scan.get_node("explanation_wf")._graph
    shown = {node.name: node for node in inner.nodes if not _is_plumbing(node)}
    boxes = {
        name: Box(name, (getattr(node.interface, "stage", "") or type(node.interface).__name__,))
        for name, node in shown.items()
    }
    edges = [
        (node.name, name) for node in shown.values() for name in _next_steps(inner, node, shown)
    ]
    return _layered(boxes, edges)


def _next_steps(graph: Any, node: Any, shown: Mapping[str, Any]) -> Iterator[str]:
    """Steps that a step leads to, through nodes that only pass things on."""
    for follower in graph.successors(node):
        if follower.name in shown:
            yield follower.name
        else:
            yield from _next_steps(graph, follower, shown)


def _is_plumbing(node: Any) -> bool:
    return type(node.interface).__name__ in ("IdentityInterface", "Merge")


def _part(part: Any) -> Box:
    """What a sub-workflow does, in the words of its stages, and how many files it keeps."""
    inside = getattr(part, "list_node_names", list)()
    nodes = [part.get_node(name) for name in inside] or [part]
    names = [type(node.interface).__name__ for node in nodes]
    stages = dict.fromkeys(
        getattr(node.interface, "stage", "") or name
        for node, name in zip(nodes, names, strict=True)
        if not _is_plumbing(node) and name != "DerivativeSink"
    )
    kept = sum(len(getattr(node.interface.inputs, "outputs", ())) for node in nodes)
    lines = [line for stage in stages for line in textwrap.wrap(stage, 26)]
    lines += [f"keeps {kept} file{'s' * (kept > 1)}"] if kept else []
    title = re.sub(r"^atlas_.*_wf$", "atlas_wf", part.name)
    return Box(title, tuple(lines), colour="#f6f1dd" if not stages else _PLAIN)


def _layered(boxes: Mapping[str, Box], edges: Iterable[tuple[str, str]]) -> str:
    """Boxes in rows, each below all that it needs, near the middle of what it needs.

    An arrow that others say already is left out (the transitive reduction is drawn).
    """
    graph = nx.DiGraph(edges)
    graph.add_nodes_from(boxes)
    known = sorted(nx.transitive_reduction(graph).edges)
    rows = _rows(graph)
    wide = 190
    width = max(len(row) for row in rows) * (wide + GAP) - GAP
    middle: dict[str, float] = {}
    top: dict[str, float] = {}
    bottom: dict[str, float] = {}
    y, drawn = float(GAP), []
    for row in rows:
        wanted = {
            name: sum(before) / len(before) if before else width / 2
            for name in row
            for before in [[middle[a] for a, b in known if b == name]]
        }
        ordered = sorted(row, key=lambda name: (wanted[name], name))
        left = GAP + (width - len(row) * (wide + GAP) + GAP) / 2
        tall = max(boxes[name].height() for name in row)
        for place, name in enumerate(ordered):
            x = left + place * (wide + GAP)
            middle[name], top[name] = x + wide / 2, y
            bottom[name] = y + boxes[name].height()
            drawn += _box(boxes[name], x, y, wide, boxes[name].height())
        y += tall + 2 * GAP
    lines = []
    for a, b in known:
        (x1, y1), (x2, y2) = (middle[a], bottom[a]), (middle[b], top[b])
        bend = (y2 - y1) / 2
        lines.append(
            f'<path marker-end="url(#arrow)" d="M{x1:.0f} {y1:.0f} C{x1:.0f} {y1 + bend:.0f} '
            f'{x2:.0f} {y2 - bend:.0f} {x2:.0f} {y2 - 4:.0f}"/>'
        )
    return _svg(width + 2 * GAP, y - GAP, [*lines, *drawn])


def _rows(graph: nx.DiGraph) -> list[list[str]]:
    """Boxes by the longest way from one that needs nothing, in rows that fit on a page."""
    levels = [sorted(level) for level in nx.topological_generations(graph)]
    return [
        level[start : start + BROAD] for level in levels for start in range(0, len(level), BROAD)
    ]


def _box(box: Box, x: float, y: float, width: float, height: float) -> list[str]:
    parts = [
        f'<rect x="{x:.0f}" y="{y:.0f}" width="{width:.0f}" height="{height:.0f}" '
        f'fill="{box.colour}"/>'
    ]
    rows = [("title", box.title), *([("count", box.count)] if box.count else [])]
    for place, (kind, text) in enumerate([*rows, *(("line", line) for line in box.lines)]):
        at = y + PAD + LINE * (place + 0.8)
        where = f'x="{x + PAD:.0f}" y="{at:.0f}"'
        parts.append(f'<text {where} class="{kind}">{escape(text)}</text>')
    return parts


def _svg(width: float, height: float, parts: Sequence[str]) -> str:
    arrow = (
        '<defs><marker id="arrow" markerWidth="7" markerHeight="6" refX="5" refY="3" orient="auto">'
        '<polygon points="0 0, 7 3, 0 6" fill="#8a94a1"/></marker></defs>'
    )
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:.0f} {height:.0f}" '
        f'width="{width:.0f}" height="{height:.0f}">'
    )
    back = f'<rect width="{width:.0f}" height="{height:.0f}" fill="white" style="stroke: none"/>'
    note = "<!-- made by scripts/draw.py; do not edit -->"
    return "\n".join([head, note, f"<style>{_STYLE}</style>", arrow, back, *parts, "</svg>", ""])


def one_scan() -> Any:
    """The workflow of one scan with the embedded model and atlas and all methods."""
    from bidsapp_brainage.atlas.templates import prepare_home
    from bidsapp_brainage.bids.ages import Age
    from bidsapp_brainage.bids.collect import Scan
    from bidsapp_brainage.catalogue.methods import METHODS
    from bidsapp_brainage.running.execute import environment
    from bidsapp_brainage.settings import build_settings
    from bidsapp_brainage.workflows.base import init_brainage_wf
    from bidsapp_brainage.workflows.plan import make_plan

    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        methods = tuple(
            card.key for card in METHODS if card.chosen == "option" and not card.architecture
        )
        settings = build_settings(
            place / "bids",
            place / "out",
            ("participant",),
            {"work_dir": place / "work", "explain": methods, "device": "cpu"},
        )
        home = prepare_home(place / "work")
        with environment(TEMPLATEFLOW_HOME=str(home)):
            plan = make_plan(settings, home)
        image = Path("sub-01/anat/sub-01_T1w.nii.gz")
        scan = Scan(place / image, (("sub", "01"),), Age(50.0, "participants.tsv"), str(image))
        return init_brainage_wf([scan], plan)


def is_current(made: str, path: Path) -> bool:
    """Whether a figure is that of the code; its counts may lag a little behind."""
    there = path.read_text("utf-8") if path.is_file() else ""
    if _COUNT.sub("", there) != _COUNT.sub("", made):
        return False
    pairs = zip(_numbers(there), _numbers(made), strict=True)
    return all(abs(old - new) <= max(4, SLACK * new) for old, new in pairs)


def _numbers(figure: str) -> list[int]:
    return [int(number) for text in _COUNT.findall(figure) for number in re.findall(r"\d+", text)]


def main() -> int:
    """Write or compare the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="compare, write nothing")
    check = parser.parse_args().check
    run = one_scan()
    made = {"house": house(), "workflow": workflow(run), "explanation": explanation(run)}
    paths = {FIGURES / f"{name}.svg": text for name, text in made.items()}
    stale = [path for path, text in paths.items() if not is_current(text, path)]
    for path in stale:
        if not check:
            path.parent.mkdir(exist_ok=True)
            path.write_text(paths[path], encoding="utf-8")
        print(f"{'stale' if check else 'written'}: {path.name}")
    return int(check and bool(stale))


if __name__ == "__main__":
    sys.exit(main())
