"""``index.html``: all scans of the output folder on one page, beside their small pictures."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jinja2.utils import htmlsafe_json_dumps
from markupsafe import Markup

from bidsapp_brainage.bids.dataset import shows_synthetic_people
from bidsapp_brainage.bids.names import cohort_path, parse_name, runs_path
from bidsapp_brainage.imaging.expected import REFERENCE, REFERENCE_PEOPLE
from bidsapp_brainage.io import folder_lock, write_text
from bidsapp_brainage.reports.cohort import thumbnails
from bidsapp_brainage.reports.cohort.columns import columns
from bidsapp_brainage.reports.cohort.scans import CohortScan, read_cohort
from bidsapp_brainage.reports.html import Assets, Link, count, render
from bidsapp_brainage.reports.ratings import rating_bar, rating_form
from bidsapp_brainage.stats.verdicts import LEVELS

SECTIONS = (
    ("summary", "Summary"),
    ("scans", "Scans"),
    ("distributions", "Image quality"),
)
MOST_SCANS = 10_000  # on the page, which stays below 10 MB so
_STRIPS = ("Brain mask", "Segmentation", "Registration", "What the network saw")
_ASSETS = Assets(
    scripts=("report.js", "rating.js", "cohort.js", "distributions.js"),
    styles=("report.css", "cohort.css"),
    # Both are needed: some browsers take a file for a source of its own.
    pictures="data: 'self' file:",
)


def write_cohort_page(output_dir: Path, *, written: str = "") -> Path:
    """Write ``index.html`` from what lies in the output folder now; `written` (UTC) dates it.

    Jobs that end at the same time wait for each other, so that the last page to be written knows
    the scans of all.
    """
    output_dir = Path(output_dir)
    path = cohort_path(output_dir)
    with folder_lock(output_dir / "logs"):
        cohort = read_cohort(output_dir)
        shown = most_doubtful(cohort.scans, MOST_SCANS)
        page = render(
            "cohort.html.jinja",
            title="All scans",
            subtitle=_subtitle(cohort.scans),
            sections=SECTIONS,
            synthetic=shows_synthetic_people(output_dir),
            written=written,
            assets=_ASSETS,
            links=_other_pages(output_dir),
            scans=shown,
            left_out=_left_out(shown, cohort.scans),
            problems=cohort.problems,
            tiles=_tiles(cohort.scans),
            rating_bar=rating_bar(),
            rating_form=rating_form("chosen"),
            strips=_STRIPS,
            reference_people=REFERENCE_PEOPLE,
            data=page_data(shown),
        )
        write_text(path, page)
    return path


def most_doubtful(scans: Sequence[CohortScan], most: int) -> Sequence[CohortScan]:
    """As many scans as a page holds, in their order: the worst verdicts, and some of the others.

    Of a verdict that has more scans than there is room for, they are taken at equal distances.
    """
    if len(scans) <= most:
        return scans
    chosen: list[int] = []
    for level in reversed(LEVELS):
        own = [place for place, scan in enumerate(scans) if scan.values.get("verdict") == level]
        room = most - len(chosen)
        places = np.linspace(0, len(own) - 1, min(room, len(own))).round().astype(int)
        chosen += [own[place] for place in places]
    return [scans[place] for place in sorted(chosen)]


def _left_out(shown: Sequence[CohortScan], scans: Sequence[CohortScan]) -> str:
    """Which scans are not on the page; empty if all are."""
    if len(shown) == len(scans):
        return ""
    there, all_of = (
        Counter(scan.values.get("verdict") for scan in part) for part in (shown, scans)
    )
    parts = [f"{there[level]} of {all_of[level]} {level}" for level in reversed(LEVELS)]
    return (
        f"List, search and figures of image quality hold {len(shown)} of {len(scans)} scans, the "
        f"doubtful ones first ({', '.join(parts)}; of a verdict that is not complete, scans at "
        "equal distances in the order of their names). The numbers above count all. The tables of "
        "the group level (group_*_brainage.tsv, group_*_qc.tsv) have every scan."
    )


def page_data(scans: Sequence[CohortScan]) -> Markup:
    """JSON for the script of the page, which may stand inside of an HTML element.

    Columns that are empty for all scans are left out, except that of ratings, which the reader
    fills.
    """
    filled = {key for scan in scans for key, value in scan.values.items() if value is not None}
    known = [column for column in columns() if column.key in filled | {"rating"}]
    content = {
        "n": len(scans),
        "levels": list(LEVELS),
        "columns": [column.described() for column in known],
        "metrics": [column.key for column in known if column.metric],
        "reference": {
            name: [low, middle, high] for name, (_, low, _, middle, _, high, _) in REFERENCE.items()
        },
        "strip": {
            "width": thumbnails.WIDTH,
            "height": thumbnails.HEIGHT,
            "lead": sum(width for _, _, width in thumbnails.SLICES[:3]),
            "input": len(thumbnails.KINDS),
        },
        "scan": [scan.scan for scan in scans],
        "page": [scan.page for scan in scans],
        "picture": [scan.thumbnails for scan in scans],
        "input": [scan.strip for scan in scans],
        "values": {column.key: [scan.values.get(column.key) for scan in scans] for column in known},
    }
    return htmlsafe_json_dumps(content, ensure_ascii=False, allow_nan=False, separators=(",", ":"))


def _subtitle(scans: Sequence[CohortScan]) -> str:
    people, pictures = len({s.subject for s in scans}), len({s.scan for s in scans})
    told = [count(people, "participant"), count(pictures, "image")]
    runs = {str(scan.values["started"]) for scan in scans if scan.values.get("started")}
    return ", ".join([*told, f"newest run {max(runs)}"] if runs else told)


def _tiles(scans: Sequence[CohortScan]) -> list[tuple[str, str, str]]:
    """How many scans there are, by verdict, failed and rated: title, number, note."""
    verdicts = Counter(scan.values.get("verdict") for scan in scans)
    failed = sum(scan.values.get("step") is not None for scan in scans)
    rated = sum(scan.values.get("rating") is not None for scan in scans)
    return [
        ("Scans", str(len(scans)), "one row per scan and model"),
        *((level.capitalize(), str(verdicts[level]), "") for level in LEVELS),
        ("Failed", str(failed), "not complete in the newest run"),
        ("Rated by people", str(rated), f"of {len(scans)}"),
    ]


def _other_pages(output_dir: Path) -> list[Link]:
    """Pages of the group level and of the runs."""
    paths = sorted(output_dir.glob("group_*_brainage.html"))
    links = [Link(f"Group, {parse_name(path).get('desc', '')}", path.name) for path in paths]
    runs = runs_path(output_dir)
    return [*links, Link("Runs", runs.name)] if runs.is_file() else links
