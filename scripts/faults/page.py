"""``docs/faults.md``: which faults are tried, how, and what happened."""

from __future__ import annotations

import csv
from collections.abc import Iterable
from dataclasses import asdict, fields
from pathlib import Path

from scripts.faults.lab import Row

_HERE = Path(__file__).parent
RESULTS = _HERE / "results.tsv"
PAGE = _HERE.parents[1] / "docs" / "faults.md"

#: Fault, what the app does, and the test that provokes it.
TESTED = (
    (
        "Disk or quota full in a step, whatever library writes",
        "ends at once with 74, names the disk",
        "tests/faults/test_full_disk.py",
    ),
    (
        "SIGTERM and Ctrl-C",
        "143 and 130; no worker and no partial file is left",
        "tests/cli/test_run.py::test_signal_ends_workers_and_leaves_no_partial_file",
    ),
    (
        "SIGTERM in the middle of a stage, then the same command",
        "finished stages are kept, bytes are the same",
        "tests/e2e/test_participant.py",
    ),
    (
        "A step wants more memory than there is",
        "failure of the scan, with the remedy",
        "tests/faults/test_full_disk.py::test_want_of_memory_is_told_with_the_remedy",
    ),
    (
        "A worker is killed",
        "failure of its step, the others go on",
        "tests/running/test_plugin.py::test_killed_worker_fails_alone",
    ),
    (
        "A second run over the same scans with the same work folder",
        "2: wait, or give another work folder; a killed run leaves no claim",
        "tests/faults/test_two_runs.py",
    ),
    (
        "Jobs side by side write the participants table",
        "no row is lost",
        "tests/bids/test_dataset.py::test_jobs_side_by_side_lose_no_participant",
    ),
    (
        "An image vanishes, or is a link that was not fetched",
        "failure of its scan alone, with `datalad get` for the link",
        "tests/faults/test_inputs.py",
    ),
    (
        "A header that claims 10^12 voxels, a gzip bomb, a file with a hole of terabytes",
        "refused by name before it is unpacked",
        "tests/faults/test_images.py",
    ),
    (
        "NaN in the affine, voxels of 0 mm, a negative size",
        "failure of the scan with its reason",
        "tests/faults/test_images.py::test_headers_without_a_usable_grid_are_told",
    ),
    (
        "A truncated or damaged image",
        "refused by name",
        "tests/test_io.py::test_damaged_images_are_named",
    ),
    (
        "NaN voxels, zeros, several volumes, thick slices, noise",
        "failure of the scan with its reason; nobody gets an age",
        "tests/e2e/test_bad_input.py",
    ),
    (
        "JSON of 200 MB or nested 10,000 deep",
        "refused by name; among derivatives noted",
        "tests/faults/test_json.py",
    ),
    (
        "A weight file that is empty, a pickle with code, truncated, of other shapes, or NaN",
        "72 with file and remedy; no code is run",
        "tests/faults/test_weights.py",
    ),
    (
        "A model card with `../` in names or a `file://` address",
        "72, the field is named",
        "tests/faults/test_weights.py",
    ),
    (
        "Labels that look like options, in the command or in the dataset",
        "2; an image so called is left out by name",
        "tests/faults/test_surroundings.py",
    ),
    (
        "No home, no /tmp, a long TMPDIR, folders with odd names",
        "the run goes on; no part of a path is told",
        "tests/faults/test_surroundings.py",
    ),
    (
        "A byte-order mark, Windows line ends, formulas, Latin-1, 100,000 rows",
        "read; a formula is no age; Latin-1 is refused with the remedy",
        "tests/faults/test_tables.py",
    ),
    (
        "HTML in free text: page of a person",
        "escaped",
        "tests/reports/test_individual.py::test_escapes_every_free_text",
    ),
    (
        "HTML in free text: page of the group",
        "escaped",
        "tests/reports/test_group.py::test_free_text_of_the_group_tables_is_escaped",
    ),
    ("HTML in free text: page of all scans", "escaped", "tests/reports/test_cohort.py"),
    (
        "HTML in free text: page of runs",
        "escaped",
        "tests/reports/test_runs_page.py::test_free_text_is_escaped",
    ),
    (
        "HTML and links to programs in free text: methods text",
        "escaped; only links to the web are links",
        "tests/bids/test_dataset.py::test_free_text_of_the_methods_is_no_html_and_no_program",
    ),
    (
        "sform and qform that disagree, or are both missing",
        "the sform is used where it is set, then the qform, then voxel sizes alone; the quality "
        "checks warn with both codes and the distance",
        "tests/imaging/test_conform.py"
        "::test_both_orientations_of_the_header_are_told_and_the_sform_is_used",
    ),
    (
        "A run whose clock went back, so that it ends before it begins",
        "no duration is told",
        "tests/reports/test_runs_page.py::test_a_clock_that_went_back_gives_no_duration",
    ),
)

#: What nobody has tried yet.
UNTRIED = (
    "the clock of the whole system set back, that of file systems included: finished stages may be "
    "told as of an earlier run, and of two runs the one with the later date counts as the newer",
    "a memory limit by a cgroup of version 2",
)


def keep(rows: Iterable[Row]) -> None:
    """Add rows to the results; a fault that was tried before is replaced."""
    known = {row.fault: row for row in (*read(), *rows)}
    names = [field.name for field in fields(Row)]
    with RESULTS.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.DictWriter(stream, names, delimiter="\t", lineterminator="\n")
        writer.writeheader()
        writer.writerows(asdict(row) for row in known.values())


def read() -> list[Row]:
    """What the scripts have found."""
    if not RESULTS.is_file():
        return []
    with RESULTS.open(encoding="utf-8", newline="") as stream:
        lines = list(csv.DictReader(stream, delimiter="\t"))
    return [Row(**{**line, "held": line["held"] == "True"}) for line in lines]


def text() -> str:
    """The page."""
    runs = [
        f"| {row.fault} | {row.provoked} | {row.happened} | {row.codes} | {row.message or '–'} | "
        f"{'yes' if row.held else 'no'} |"
        for row in read()
    ]
    tests = [f"| {fault} | {does} | `{test}` |" for fault, does, test in TESTED]
    return "\n".join(
        [
            "# Faults",
            "",
            "What the app does when something goes wrong around it. `python -m scripts.faults` "
            "writes this page.",
            "",
            "## Tried with whole runs",
            "",
            "By `python -m scripts.faults FOLDER` as root on Linux: two synthetic people at 4 mm, "
            "the level `minimal`, registrations from earlier derivatives. Bytes are compared with "
            "those of an undisturbed run, all but pages and logs, which tell of their run.",
            "",
            "| fault | how it was provoked | what happened | exit status | message | held |",
            "|---|---|---|---|---|---|",
            *runs,
            "",
            "When the front process alone is killed, the server of processes ends as soon as its "
            "imports are done; on a busy machine this takes longer than the minute that is waited "
            "for in the row on SIGKILL of everything. Exit code 255 in the row on the control "
            "group means that the system killed this server; since that run the message names the "
            "memory.",
            "",
            "## Tried by tests",
            "",
            "| fault | what the app does | test |",
            "|---|---|---|",
            *tests,
            "",
            "## Not tried",
            "",
            *(f"- {what}" for what in UNTRIED),
            "",
        ]
    )
