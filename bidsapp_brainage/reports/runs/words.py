"""What a run did and came to, its seconds, memory and energy, in words."""

from __future__ import annotations

from collections.abc import Mapping

from bidsapp_brainage import __version__
from bidsapp_brainage.bids.run_records import RunRecord
from bidsapp_brainage.reports.html import MISSING, Cell, as_float, is_missing, moment, number

_MB_PER_GB = 1000.0
_WH = 3600.0
_ROUGH = 10  # so many of a unit are told without the next smaller one
NOT_MEASURED = "not measured"


def about_run(run: RunRecord) -> list[tuple[str, str]]:
    """When, by which run and by which command results were computed."""
    what = "Explained" if run.explain_only else "Computed"
    version = f", bidsapp_brainage {run.version}" if run.version else ""
    return [
        (what, f"{moment(run.started)}{version}"),
        ("Run", run.run_uuid),
        ("Command line", run.command_line or MISSING),
    ]


def about_page(written: str) -> list[tuple[str, str]]:
    """When and by which version a page was written; nothing where nobody says so."""
    return [("Page written", f"{moment(written)}, bidsapp_brainage {__version__}")] * bool(written)


def kind(run: RunRecord) -> str:
    """What a run did."""
    if run.level == "group":
        return "group"
    return "explanation of finished predictions" if run.explain_only else "participant"


def versions(run: RunRecord) -> list[tuple[str, str]]:
    """Software of a run and its versions, by name; nothing where the run did not note them."""
    known = run.facts.get("Versions")
    if not isinstance(known, Mapping):
        return []
    return sorted((str(name), str(version)) for name, version in known.items())


def outcome(run: object) -> Cell:
    """Badge of what a run (a ``RunRecord``) came to."""
    assert isinstance(run, RunRecord)
    failed = len({each.scan for each in run.failures})
    if failed:
        return Cell(f"{failed} failed", level="bad")
    if not run.facts:
        return Cell("not recorded")
    return Cell("complete", level="ok") if run.ended else Cell("broke off", level="warn")


def duration(seconds: object) -> str:
    """Seconds as they are said.

    Examples
    --------
    >>> duration(8.3), duration(95), duration(1104), duration(3725), duration(200000)
    ('8 s', '1 min 35 s', '18 min', '1 h 2 min', '2 d 7 h')
    >>> duration(None)
    'n/a'
    """
    if is_missing(seconds):
        return MISSING
    total = round(as_float(seconds))
    for large, small, size in (("d", "h", 86400), ("h", "min", 3600), ("min", "s", 60)):
        if total >= size:
            whole, rest = total // size, total % size // {"h": 3600, "min": 60, "s": 1}[small]
            return f"{whole} {large}" + (f" {rest} {small}" if rest and whole < _ROUGH else "")
    return f"{total} s"


def gigabytes(megabytes: object) -> str:
    """Memory in GB (10^9 bytes).

    Examples
    --------
    >>> gigabytes(1157.3), gigabytes(None)
    ('1.2 GB', 'n/a')
    """
    return MISSING if is_missing(megabytes) else f"{number(as_float(megabytes) / _MB_PER_GB)} GB"


def watt_hours(joules: object) -> str:
    """Energy in Wh; says so where no counter could be read.

    Examples
    --------
    >>> watt_hours(36000), watt_hours(None)
    ('10.0 Wh', 'not measured')
    """
    return NOT_MEASURED if is_missing(joules) else f"{number(as_float(joules) / _WH)} Wh"
