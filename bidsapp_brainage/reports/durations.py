"""Seconds, memory and energy in words."""

from __future__ import annotations

from bidsapp_brainage.reports.html import MISSING, as_float, is_missing, number

_MB_PER_GB = 1000.0
_WH = 3600.0


def duration(seconds: object) -> str:
    """Seconds as they are said.

    Examples
    --------
    >>> duration(8.3), duration(95), duration(3725), duration(200000), duration(None)
    ('8 s', '1 min 35 s', '1 h 2 min', '2 d 8 h', 'n/a')
    """
    if is_missing(seconds):
        return MISSING
    total = round(as_float(seconds))
    for large, small, size in (("d", "h", 86400), ("h", "min", 3600), ("min", "s", 60)):
        if total >= size:
            rest = total % size // {"h": 3600, "min": 60, "s": 1}[small]
            return f"{total // size} {large}" + (f" {rest} {small}" if rest else "")
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
    """Energy in Wh.

    Examples
    --------
    >>> watt_hours(36000), watt_hours(None)
    ('10.0 Wh', 'n/a')
    """
    return MISSING if is_missing(joules) else f"{number(as_float(joules) / _WH)} Wh"
