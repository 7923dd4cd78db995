"""matplotlib figures as SVG for the page, with points to ask, and as files for a paper."""

from __future__ import annotations

import io
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from xml.etree import ElementTree

from bidsapp_brainage.bids.names import derivative_path
from bidsapp_brainage.io import atomic_path, write_text

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from matplotlib.typing import RcKeyType

FOLDER = "figures"  # below the root of the derivatives
DPI = 300
STYLE: dict[RcKeyType, object] = {
    "font.family": "DejaVu Sans",
    "font.size": 9.5,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": "#9ca3af",
    "axes.labelcolor": "#1f2937",
    "xtick.color": "#4b5563",
    "ytick.color": "#4b5563",
    "svg.fonttype": "path",
    "svg.hashsalt": "bidsapp-brainage",
    "text.parse_math": False,  # dollars in names of groups and regions are dollars
}
_SVG, _XLINK = "http://www.w3.org/2000/svg", "http://www.w3.org/1999/xlink"
_MARK = "point:"
_LINK = re.compile(rf'<a xlink:href="{_MARK}\d+"[^>]*>')


@dataclass(frozen=True)
class Point:
    """What a point of a figure tells: text when pointing at it, and the page that a click opens.

    The key is the name of the scan, the same in all figures of the page; `href` may be empty.
    """

    key: str
    text: str
    href: str = ""


def marked_svg(figure: Figure) -> str:
    """SVG of a figure with the marks of its points: same figure, same text.

    The layout is settled with this, so that what is drawn afterwards takes less time.
    """
    import matplotlib as mpl

    text = io.StringIO()
    with mpl.rc_context(STYLE):
        figure.savefig(
            text, format="svg", metadata={"Date": None}, facecolor=figure.get_facecolor()
        )
    figure.set_layout_engine("none")
    content = text.getvalue()
    return content[content.index("<svg") :]


def plain_svg(marked: str) -> str:
    """Remove the marks of points from what :func:`marked_svg` gave."""
    return _LINK.sub("<g>", marked).replace("</a>", "</g>")


def mark(position: int) -> str:
    """Address to give to a point of a matplotlib figure, for :func:`interactive_svg`."""
    return f"{_MARK}{position}"


def interactive_svg(marked: str, points: Sequence[Point], *, identifier: str, label: str) -> str:
    """SVG to stand inside of a page, whose points tell who they are and lead somewhere.

    What :func:`marked_svg` gave has points with the addresses of :func:`mark`, by their position in
    `points`. `identifier` is put before the identifiers within the SVG, which must be unique in the
    page; `label` is for people who cannot see it. Everything that comes from data is escaped.
    """
    ElementTree.register_namespace("", _SVG)
    ElementTree.register_namespace("xlink", _XLINK)
    root = ElementTree.fromstring(marked)
    for metadata in root.findall(f"{{{_SVG}}}metadata"):
        root.remove(metadata)
    for element in root.iter():
        _own_identifiers(element, identifier)
        address = element.get(f"{{{_XLINK}}}href", "")
        if element.tag == f"{{{_SVG}}}a" and address.startswith(_MARK):
            _make_point(element, points[int(address.removeprefix(_MARK))])
    root.set("role", "group")
    root.set("aria-label", label)
    for name in ("width", "height"):
        root.attrib.pop(name, None)
    return ElementTree.tostring(root, encoding="unicode")


def _own_identifiers(element: ElementTree.Element, identifier: str) -> None:
    if "id" in element.attrib:
        element.set("id", f"{identifier}-{element.get('id')}")
    for name, value in element.attrib.items():
        if name == f"{{{_XLINK}}}href" and value.startswith("#"):
            element.set(name, f"#{identifier}-{value[1:]}")
        elif "url(#" in value:
            element.set(name, value.replace("url(#", f"url(#{identifier}-"))


def _make_point(element: ElementTree.Element, point: Point) -> None:
    """Turn matplotlib's link into ours; without a page it becomes a group that tells its name."""
    for name in (f"{{{_XLINK}}}href", "target"):
        element.attrib.pop(name, None)
    if point.href:
        element.set("href", point.href)
    else:
        element.tag = f"{{{_SVG}}}g"
        element.set("role", "img")
    element.set("class", "point")
    element.set("data-key", point.key)
    element.set("data-tip", point.text)
    element.set("aria-label", point.text)


def write_figure(
    output_dir: Path,
    figure: Figure,
    svg: str,
    *,
    kind: str,
    desc: str,
    entities: Mapping[str, str],
) -> dict[str, str]:
    """Write a figure as SVG and PNG (300 dpi) for a paper, into the folder ``figures``.

    `svg` comes from :func:`plain_svg`; `kind` is the suffix of the names, `desc` the label of the
    model, and the entities are those of the atlas, if the figure is about one. Gives the paths
    relative to `output_dir` by format.
    """
    links = {}
    for extension in ("svg", "png"):
        path = derivative_path(
            Path(output_dir) / FOLDER, entities, suffix=kind, extension=f".{extension}",
            datatype="group", desc=desc,
        )  # fmt: skip
        if extension == "svg":
            write_text(path, svg)
        else:
            with atomic_path(path) as temporary:
                figure.savefig(
                    temporary, format="png", dpi=DPI, facecolor=_paper(figure),
                    metadata={"Software": None},
                )  # fmt: skip
        links[extension.upper()] = f"{FOLDER}/{path.name}"
    return links


def _paper(figure: Figure) -> str:
    """White paper under transparent figures; brains stay on black."""
    from matplotlib.colors import to_rgba

    return "white" if to_rgba(figure.get_facecolor())[3] == 0 else "black"
