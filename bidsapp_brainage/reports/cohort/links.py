"""Addresses by which pages lead to each other.

Who comes before and after a person is asked when the link is followed, because later runs add
people, and because it is the order in which the reader looks at them.
"""

from __future__ import annotations

import urllib.parse
from pathlib import Path

from bidsapp_brainage.bids.names import cohort_path, report_path
from bidsapp_brainage.reports.html import Link

_ALL = cohort_path(Path()).name


def person_links(subject: str) -> list[Link]:
    """Links of the page of a participant (label without ``sub-``)."""
    return [
        Link("Previous", f"{_ALL}#before=sub-{subject}", "prev"),
        Link("All scans", f"{_ALL}#scan=sub-{subject}"),
        Link("Next", f"{_ALL}#after=sub-{subject}", "next"),
    ]


def group_links() -> list[Link]:
    """Links of the page of a group."""
    return [Link("All scans", _ALL)]


def report_link(output_dir: Path, participant: object) -> str:
    """Relative link to the page of a participant (``sub-01``); empty if there is none."""
    page = report_path(output_dir, str(participant).removeprefix("sub-"))
    try:
        there = page.parent == output_dir and page.is_file()
    except (OSError, ValueError):  # a name that no file can have
        return ""
    return urllib.parse.quote(page.name) if there else ""
