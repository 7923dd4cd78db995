"""Addresses by which the page of a person or of a group leads to the page of all scans.

Who comes before and after a person is asked when the link is followed, because later runs add
people, and because it is the order in which the reader looks at them.
"""

from __future__ import annotations

from pathlib import Path

from bidsapp_brainage.bids.names import cohort_path
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
