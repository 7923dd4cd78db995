"""Pieces shared by all pages: templates, escaping, tables, numbers, embedded figures.

A page is one file: style and script stand inside it, pictures are ``data:`` URIs, and a content
security policy forbids every request, so that it works from a mail attachment and tells nobody
that it was opened. Jinja escapes everything; only the style sheet and the script, which belong to
this package, go in as they are, and the policy names the script's hash, so that no other can run.
"""

from __future__ import annotations

import base64
import functools
import hashlib
import math
import re
import urllib.parse
from collections.abc import Iterable, Sequence
from dataclasses import astuple, dataclass
from importlib import resources
from typing import TYPE_CHECKING, SupportsFloat

import jinja2
import numpy as np
from markupsafe import Markup, escape

import bidsapp_brainage
from bidsapp_brainage.catalogue.quantity import Quantity

if TYPE_CHECKING:
    import pandas as pd

MISSING = "n/a"
_UNSAFE = re.compile(r"[^A-Za-z0-9_.~ =:/+,;!*()@$?'-]+")  # in the URI of a picture
_PLURALS = {"person": "people"}


@dataclass(frozen=True)
class Assets:
    """What goes into a page beside its text, and which pictures it may load.

    Attributes
    ----------
    scripts, styles : tuple of str
        Files of ``reports/static``, in their order.
    pictures : str
        Sources of pictures, as in a content security policy.
    """

    scripts: tuple[str, ...] = (
        "report.js",
        "volumes.js",
        "painting.js",
        "viewer.js",
        "rating.js",
        "points.js",
    )
    styles: tuple[str, ...] = ("report.css",)
    pictures: str = "data:"


@dataclass(frozen=True)
class Link:
    """A link to a page beside this one; `rel` as in HTML, for example ``next``."""

    text: str
    href: str
    rel: str = ""


#: Pages that need nothing beside them.
SELF_CONTAINED = Assets()


@dataclass(frozen=True)
class Column:
    """Head of a table column.

    Attributes
    ----------
    title : str
    numeric : bool
        Aligned to the right and sorted by value, largest first.
    help : str
        Shown when pointing at the title.
    ascending : bool
        A numeric column that sorts smallest first (a rank).
    sorted : str
        ``ascending`` or ``descending`` if the rows come in this order.
    wrap : bool
        Long text that may take several lines.
    short : bool
        A long title that may take several lines over narrow cells.
    """

    title: str
    numeric: bool = False
    help: str = ""
    ascending: bool = False
    sorted: str = ""
    wrap: bool = False
    short: bool = False


@dataclass(frozen=True)
class Cell:
    """Content of a table cell.

    Attributes
    ----------
    text : str
        What is shown; escaped.
    value : str or None
        What is sorted by; empty for missing, None for the text itself.
    bar : float or None
        From -1 to 1: a bar to the left (negative) or right of a line in the middle.
    level : str
        ``ok``, ``warn`` or ``bad`` shows the text as a badge.
    heat : float or None
        From -1 to 1: the stronger, the more coloured is the cell.
    href : str
        Relative link or fragment that the text leads to.
    striped : bool
        The bar is striped: its direction is not sure.
    """

    text: str
    value: str | None = None
    bar: float | None = None
    level: str = ""
    heat: float | None = None
    href: str = ""
    striped: bool = False

    @property
    def missing(self) -> bool:
        """Whether there is nothing to show."""
        return self.text == MISSING


@dataclass(frozen=True)
class Table:
    """A table for the macro ``table``; ``id`` is unique within the page."""

    id: str
    caption: str
    columns: Sequence[Column]
    rows: Sequence[Sequence[Cell]]
    sortable: bool = True
    searchable: bool = False


def is_missing(value: object) -> bool:
    """Whether a table's value is absent: None, NaN, NA or ``n/a``."""
    if value is None or value is _pandas_na():
        return True
    if isinstance(value, str):
        return value.strip() in {"", MISSING}
    return isinstance(value, (float, np.floating)) and math.isnan(value)


def as_float(value: object) -> float:
    """Value of a table as a number; raises ``TypeError`` or ``ValueError`` when it is none."""
    if isinstance(value, (str, SupportsFloat)):
        return float(value)
    raise TypeError(f"{value!r} is no number")


def number(value: object, digits: int = 1, *, signed: bool = False) -> str:
    """Write a number with fixed decimals and a true minus sign; ``n/a`` when missing.

    Examples
    --------
    >>> number(-3.14159, 2), number(2, signed=True), number(float("nan"))
    ('−3.14', '+2.0', 'n/a')
    """
    if is_missing(value):
        return MISSING
    try:
        known = as_float(value)
    except (TypeError, ValueError):
        return str(value)
    text = f"{known:{'+' if signed else ''}.{digits}f}"
    if float(text) == 0:
        text = f"{0:.{digits}f}"
    return text.replace("-", "\N{MINUS SIGN}")


def count(n: object, what: str) -> str:
    """A number with its noun.

    Examples
    --------
    >>> count(1, "scan"), count(3, "person")
    ('1 scan', '3 people')
    """
    if n == 1:
        return f"1 {what}"
    return f"{n} {_PLURALS.get(what, what + 's')}"


def slug(*parts: str) -> str:
    """HTML identifier made of labels."""
    kept = "-".join(parts).lower()
    return "".join(letter if letter.isalnum() else "-" for letter in kept)


def largest(values: pd.Series) -> float | None:
    """Largest magnitude of a column; None if it has no value but zeros."""
    return float(values.abs().max()) or None if values.notna().any() else None


def decimals(most: float | None) -> int:
    """Decimals that show values of up to `most` with about three digits, from 2 to 6."""
    if not most:
        return 2
    return min(max(2 - math.floor(math.log10(abs(most))), 2), 6)


def significant(value: object, digits: int = 4) -> str:
    """Write a number with significant digits, booleans as words, text as it is."""
    if is_missing(value):
        return MISSING
    if isinstance(value, str):
        return value
    if isinstance(value, (bool, np.bool_)):
        return "yes" if value else "no"
    return f"{as_float(value):.{digits}g}".replace("-", "\N{MINUS SIGN}")


def text_cell(value: object, *, level: str = "") -> Cell:
    """Give a cell with text, ``n/a`` when missing."""
    if is_missing(value):
        return Cell(MISSING, value="")
    return Cell(str(value), level=level)


def number_cell(
    value: object, digits: int = 1, *, signed: bool = False, most: float | None = None
) -> Cell:
    """Give a cell with a number that sorts by its full value; `most` is what fills a bar."""
    if is_missing(value):
        return Cell(MISSING, value="")
    known = as_float(value)
    bar = None if not most else max(-1.0, min(1.0, known / most))
    return Cell(number(known, digits, signed=signed), value=f"{known:.6g}", bar=bar)


@functools.lru_cache(maxsize=1)
def environment() -> jinja2.Environment:
    """Jinja environment of the package's templates, with escaping of everything."""
    folder = resources.files("bidsapp_brainage").joinpath("reports/templates")
    made = jinja2.Environment(
        loader=jinja2.FileSystemLoader(str(folder)),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
        keep_trailing_newline=True,
    )
    made.filters.update(number=number, significant=significant, about=_about)
    return made


def _about(text: str, quantity: Quantity) -> Markup:
    """A part of a page that speaks of the predicted age, for what was predicted; escaped."""
    escaped = Quantity(*(str(escape(word)) for word in astuple(quantity)))
    return Markup(escaped.worded(str(text)))


def render(
    template: str,
    *,
    title: str,
    subtitle: str = "",
    sections: Iterable[tuple[str, str]] = (),
    synthetic: bool = False,
    written: str = "",
    assets: Assets = SELF_CONTAINED,
    links: Iterable[Link] = (),
    **context: object,
) -> str:
    """Fill a template of ``reports/templates`` that extends ``base.html.jinja``.

    The title also names the window, sections (id, text) are the navigation, and the context is for
    the template's blocks. A page about `synthetic` people says so under its title, and `written`
    (UTC, ``2026-01-31T12:00:00Z``) dates it; links lead to pages beside it.
    Everything is escaped, except ``Markup``; same input, same text.
    """
    script = "".join(map(_static, assets.scripts))
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    return (
        environment()
        .get_template(template)
        .render(
            title=title,
            subtitle=subtitle,
            sections=list(sections),
            synthetic=synthetic,
            written=moment(written),
            version=bidsapp_brainage.__version__,
            css=Markup("".join(map(_static, assets.styles))),
            pictures=assets.pictures,
            links=list(links),
            js=Markup(script),
            script_hash=Markup(f"'sha256-{digest}'"),
            **context,
        )
    )


def moment(time: str) -> str:
    """Point in time as it is read; ``n/a`` when empty.

    Examples
    --------
    >>> moment("2026-01-31T12:00:00Z"), moment("2026-01-31T12:00:00")
    ('2026-01-31 12:00 UTC', '2026-01-31 12:00')
    """
    if not time:
        return MISSING
    day, _, clock = time.partition("T")
    return f"{day} {clock[:5]}{' UTC' if time.endswith('Z') else ''}".strip()


def svg_uri(text: str) -> str:
    """``data:`` URI of SVG text; needs ``xmlns`` on its root element, as matplotlib writes it.

    An SVG shown by ``<img>`` runs no script and loads nothing, whatever is inside. It is quoted
    instead of coded in base64, because the pictures inside it are base64 already.
    """
    start = max(text.find("<svg"), 0)
    # Most of it need not be quoted, and `quote` looks at every letter.
    quoted = _UNSAFE.sub(lambda letters: urllib.parse.quote(letters[0], safe=""), text[start:])
    return f"data:image/svg+xml,{quoted}"


def _static(name: str) -> str:
    folder = resources.files("bidsapp_brainage").joinpath("reports/static")
    return folder.joinpath(name).read_text("utf-8")


def _pandas_na() -> object:
    import pandas as pd

    return pd.NA
