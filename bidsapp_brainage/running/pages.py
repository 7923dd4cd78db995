"""The pages of participants after a run, and again from what lies in the output folder."""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping, Sequence
from importlib import metadata
from typing import TYPE_CHECKING

from bidsapp_brainage import __version__
from bidsapp_brainage.bids.derivatives import Derivatives
from bidsapp_brainage.bids.names import log_dir
from bidsapp_brainage.configuration import private_places
from bidsapp_brainage.errors import NoInputError
from bidsapp_brainage.running.outcome import Crash, read_crashes

if TYPE_CHECKING:
    from bidsapp_brainage.settings import Settings

LOGGER = logging.getLogger("bidsapp_brainage")
#: What results depend on.
_LIBRARIES = ("nipype", "niworkflows", "nibabel", "numpy", "SimpleITK", "picsl-greedy", "torch")


def write_pages(
    settings: Settings,
    subjects: Sequence[str],
    methods: str,
    crashes: Mapping[str, Sequence[Crash]],
    warnings: Sequence[str] = (),
) -> int:
    """Write the page of every participant.

    Parameters
    ----------
    settings : Settings
    subjects : sequence of str
        Labels.
    methods : str
        Text of the methods section (Markdown).
    crashes : mapping
        Failed nodes by participant; those of shared steps under ``""``.
    warnings : sequence of str
        Those that name a participant go to that page.

    Returns
    -------
    int
        How many pages could not be written.
    """
    from bidsapp_brainage.reports.individual.page import write_individual_report
    from bidsapp_brainage.reports.individual.run_facts import RunFacts

    failed = 0
    versions = {"bidsapp_brainage": __version__, **{name: _version(name) for name in _LIBRARIES}}
    for subject in subjects:
        facts: RunFacts = {
            "command_line": settings.execution.command_line,
            "version": __version__,
            "run_uuid": settings.execution.run_uuid,
            "versions": versions,
            "methods_md": methods,
            "warnings": [text for text in warnings if re.search(rf"\bsub-{subject}\b", text)],
            "errors": [
                {"node": crash.node, "message": crash.reason, "traceback": crash.traceback}
                for crash in (*crashes.get(subject, ()), *crashes.get("", ()))
            ],
        }
        try:
            page = write_individual_report(settings.output_dir, subject, run=facts)
        except Exception as error:  # one broken page must not hide the others
            LOGGER.error("sub-%s: the report could not be written: %s", subject, error)
            failed += 1
        else:
            LOGGER.info("sub-%s: report %s", subject, page.name)
    return failed


def rewrite_pages(settings: Settings) -> int:
    """Write the pages again from what lies in the output folder; needs no raw data.

    Returns
    -------
    int
        1 if a page could not be written, else 0.

    Raises
    ------
    NoInputError
        There are no predictions of the wanted participants.
    """
    output_dir, wanted = settings.output_dir, settings.selection.participant_label
    predictions = Derivatives(output_dir, participants=wanted).select("brainage")
    subjects = sorted({dict(file.scan)["sub"] for file in predictions})
    if not subjects:
        raise NoInputError(
            f"{output_dir} has no predictions of the wanted participants: run the participant "
            "level without --reports-only first."
        )
    crashes = {}
    for subject in subjects:
        logs = sorted(log_dir(output_dir, subject, "run").parent.glob("*/"))
        crashes[subject] = read_crashes(logs[-1], private_places(settings)) if logs else []
    citation = output_dir / "logs" / "CITATION.md"
    methods = citation.read_text("utf-8") if citation.is_file() else ""
    return int(write_pages(settings, subjects, methods, crashes) > 0)


def _version(library: str) -> str:
    try:
        return metadata.version(library)
    except metadata.PackageNotFoundError:
        return "unknown"
