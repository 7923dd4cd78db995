"""Addresses by which pages lead to each other.

Who comes before and after a person is asked when the link is followed, because later runs add
people, and because it is the order in which the reader looks at them.
"""

from __future__ import annotations

import urllib.parse
from collections.abc import Callable
from pathlib import Path

from bidsapp_brainage.bids.derivatives import Reports
from bidsapp_brainage.bids.names import cohort_path
from bidsapp_brainage.reports.html import Link

#: From the name of a scan, or person, to a relative link, empty if there is no page.
ReportLink = Callable[[str], str]
_ALL = cohort_path(Path()).name


def person_links(name: str, root: str) -> list[Link]:
    """Links of the page of a person or a session (``sub-01``, ``sub-01_ses-1``).

    `root` is what :func:`way_to_root` says of the page.
    """
    return [
        Link("Previous", f"{root}{_ALL}#before={name}", "prev"),
        Link("All scans", f"{root}{_ALL}#scan={name}"),
        Link("Next", f"{root}{_ALL}#after={name}", "next"),
    ]


def way_to_root(page: Path, output_dir: Path) -> str:
    """What links from a page to the root of the derivatives begin with: nothing, ``../`` ..."""
    return "../" * len(page.parent.relative_to(output_dir).parts)


def group_links() -> list[Link]:
    """Links of the page of a group."""
    return [Link("All scans", _ALL)]


def report_links(output_dir: Path) -> ReportLink:
    """Links from the root of the derivatives to the pages that show scans."""
    reports = Reports(output_dir)

    def link(scan: str) -> str:
        page = reports.page(scan)
        return "" if page is None else urllib.parse.quote(page.relative_to(output_dir).as_posix())

    return link
