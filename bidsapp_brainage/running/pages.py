"""The pages of participants, always made from what lies in the output folder."""

from __future__ import annotations

import errno
import logging
from collections import deque
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from bidsapp_brainage import io
from bidsapp_brainage.bids.derivatives import Derivatives, Reports, scan_name
from bidsapp_brainage.bids.names import ReportLayout, session_of
from bidsapp_brainage.bids.run_records import (
    RunRecord,
    logged_subjects,
    newest,
    of_scans,
    read_runs,
    run_folder,
)
from bidsapp_brainage.configuration import private_places
from bidsapp_brainage.errors import NoInputError
from bidsapp_brainage.running.machine import available_memory_gb
from bidsapp_brainage.running.processes.workers import Job, Workers

if TYPE_CHECKING:
    from bidsapp_brainage.reports.cohort.percentiles import QualityOfAll
    from bidsapp_brainage.reports.individual.run_facts import RunFacts
    from bidsapp_brainage.running.outcome import Crash
    from bidsapp_brainage.settings import Settings

LOGGER = logging.getLogger("bidsapp_brainage")
#: Pages for which another process is worth its start, pages of a job at most, memory of a process.
_FOR_A_PROCESS, _PER_JOB, _MEMORY_GB = 2, 16, 1.0


def write_pages(
    settings: Settings,
    subjects: Iterable[str],
    methods: str,
    quality: QualityOfAll | None = None,
) -> int:
    """Write the page of every participant.

    Parameters
    ----------
    settings : Settings
    subjects : iterable of str
        Labels.
    methods : str
        Text of the methods section (Markdown).
    quality : mapping, optional
        From :func:`bidsapp_brainage.reports.cohort.percentiles.read_quality`, where it is known.

    Returns
    -------
    int
        How many pages could not be written.
    """
    from bidsapp_brainage.reports.cohort.percentiles import read_quality
    from bidsapp_brainage.reports.cohort.scans import write_subject_thumbnails

    failed = 0
    quality = read_quality(settings.output_dir) if quality is None else quality
    for subject in subjects:
        try:
            write_subject_thumbnails(settings.output_dir, subject)
            # Jobs may work on sessions of one person; the last of them to write knows all.
            with io.folder_lock(settings.output_dir / f"sub-{subject}"):
                pages = _write_person(settings, subject, methods, quality)
        except Exception as error:  # one broken page must not hide the others
            if io.is_disk_full(error):
                raise
            LOGGER.error("sub-%s: the report could not be written: %s", subject, error)
            failed += 1
        else:
            names = (page.relative_to(settings.output_dir).as_posix() for page in pages)
            LOGGER.info("sub-%s: report %s", subject, ", ".join(names))
    return failed


def write_all_pages(
    settings: Settings, subjects: Sequence[str], methods: str, log_level: int
) -> int:
    """Write the pages of many participants in several processes, those of a few in this one.

    Parameters
    ----------
    settings : Settings
    subjects : sequence of str
        Labels.
    methods : str
        Text of the methods section (Markdown).
    log_level : int
        Of nipype's own messages.

    Returns
    -------
    int
        How many jobs, of several pages each, or pages failed.

    Raises
    ------
    OSError
        The disk is full.
    """
    from bidsapp_brainage.reports.cohort.percentiles import read_quality

    resources = settings.resources
    room = int((resources.memory_gb or available_memory_gb()) / _MEMORY_GB)
    count = min(resources.nprocs, len(subjects) // _FOR_A_PROCESS, room)
    if count < 2:
        return write_pages(settings, subjects, methods)
    quality = read_quality(settings.output_dir)
    size = min(_PER_JOB, -(-len(subjects) // (2 * count)))
    jobs = deque(
        Job(
            f"pages from sub-{subjects[start]} on",
            write_pages,
            (settings, subjects[start : start + size], methods, quality),
        )
        for start in range(0, len(subjects), size)
    )

    def relay(level: int, _: str, text: str) -> None:
        LOGGER.log(level, "%s", text)

    failed = 0
    with Workers(count, log_level=log_level, relay=relay) as workers:
        for done in workers.run(jobs):
            if io.tells_of_full_disk(done.error):
                raise OSError(errno.ENOSPC, done.error)
            if done.error:
                LOGGER.error("%s: %s", done.job.label, done.error)
            failed += 1 if done.error else done.result
    return failed


def _write_person(
    settings: Settings, subject: str, methods: str, quality: QualityOfAll
) -> list[Path]:
    """Write all pages of a person, and remove those that other choices left elsewhere."""
    from bidsapp_brainage.reports.individual.page import read_person, write_individual_report

    output_dir, places = settings.output_dir, private_places(settings)
    person, runs = read_person(output_dir, subject), read_runs(output_dir, subject)
    written = []
    for session, path in planned_pages(settings, subject, runs).items():
        facts = page_facts(settings, runs, session, places)
        facts |= {"methods_md": methods, "quality": quality}
        written.append(
            write_individual_report(
                output_dir,
                subject,
                run=facts,
                viewer_room=round(settings.execution.viewer_mb * 1e6),
                session=session,
                path=path,
                person=person,
            )
        )
    for page in set(Reports(output_dir).of_person(subject)) - set(written):
        page.unlink(missing_ok=True)
    return written


def planned_pages(
    settings: Settings, subject: str, runs: Iterable[RunRecord]
) -> dict[str | None, Path]:
    """Pages that a person has by these settings, as :meth:`.ReportLayout.pages`.

    All sessions count that left derivatives or a record among the person's `runs`, so that it does
    not matter whether they were processed together.
    """
    execution, output_dir = settings.execution, settings.output_dir
    layout = ReportLayout(execution.aggregate_session_reports, execution.report_output_level)
    files = Derivatives(output_dir, participants=[subject]).files
    scans = {scan_name(file.scan) for file in files}
    scans |= {scan for run in runs for scan in run.scans}
    return layout.pages(output_dir, subject, map(session_of, scans))


def write_overviews(settings: Settings) -> int:
    """Write the page of all scans and that of all runs.

    Returns
    -------
    int
        How many of them could not be written.
    """
    from bidsapp_brainage.reports.cohort.page import write_cohort_page
    from bidsapp_brainage.reports.runs.page import write_runs_page

    failed = 0
    for what, write in (("runs", write_runs_page), ("scans", write_cohort_page)):
        try:
            page = write(settings.output_dir, written=io.now())
        except Exception as error:  # results are complete without it
            if io.is_disk_full(error):
                raise
            LOGGER.error("The page of all %s could not be written: %s", what, error)
            failed += 1
        else:
            LOGGER.info("All %s: %s", what, page)
    return failed


def rewrite_pages(settings: Settings) -> int:
    """Write the pages again from what lies in the output folder; needs no raw data.

    Who failed before there was a prediction has a page, too.

    Returns
    -------
    int
        1 if a page could not be written, or nothing lies there of a wanted participant, else 0.

    Raises
    ------
    NoInputError
        Nothing lies there of any wanted participant.
    """
    output_dir, wanted = settings.output_dir, settings.selection.participant_label
    predictions = Derivatives(output_dir, participants=wanted, outputs=["brainage"]).files
    known = {dict(file.scan)["sub"] for file in predictions} | set(logged_subjects(output_dir))
    subjects = sorted(known & set(wanted) if wanted else known)
    if not subjects:
        raise NoInputError(
            f"{output_dir} has no predictions of the wanted participants: run the participant "
            "level without --reports-only first."
        )
    absent = sorted(set(wanted) - known)
    for subject in absent:
        LOGGER.error("sub-%s: no run has left anything in %s.", subject, output_dir)
    citation = output_dir / "logs" / "CITATION.md"
    methods = citation.read_text("utf-8") if citation.is_file() else ""
    failed = write_all_pages(settings, subjects, methods, logging.WARNING)
    failed += write_overviews(settings)
    return int(failed > 0 or bool(absent))


def page_facts(
    settings: Settings, runs: Sequence[RunRecord], session: str | None, places: Mapping[str, str]
) -> RunFacts:
    """What the log folders tell about the runs of a participant, for a page.

    Parameters
    ----------
    settings : Settings
    runs : sequence of RunRecord
        Of the participant.
    session : str or None
        The page shows this one alone (empty: scans of none); None for all.
    places : mapping of str to str
        Folders of the machine that crash files must not tell -> placeholder.
    """
    known = {scan for run in runs for scan in run.scans}
    if session is not None:
        runs = of_scans(runs, {scan for scan in known if session_of(scan) == session})
    told = newest(runs)
    return {
        "runs": runs,
        "warnings": [text for run, _ in told for text in _warnings(run)],
        "errors": [
            error for run, scans in told for error in _errors(settings, run, scans, known, places)
        ],
        "written": io.now(),
    }


def _warnings(run: RunRecord) -> list[str]:
    """Warnings about the input; that a run did not come to its end is one, too."""
    if run.facts and not run.ended:
        text = "broke off, or is not done yet: what it did not reach is missing on this page."
        return [*run.warnings, f"The run {run.run_uuid} {text}"]
    return list(run.warnings)


def _errors(
    settings: Settings,
    run: RunRecord,
    scans: frozenset[str],
    known: Collection[str],
    places: Mapping[str, str],
) -> list[dict[str, str]]:
    """Failed steps of some known scans: from crash files, and what has none from the record."""
    from bidsapp_brainage.running.outcome import read_crashes

    shared = run_folder(settings.output_dir, run.run_uuid)
    crashes = [
        crash
        for folder in (run.folder, shared)
        for crash in read_crashes(folder, places)
        if _concerns(crash, known, scans)
    ]
    errors = [
        {"node": crash.node, "message": crash.reason, "traceback": crash.traceback}
        for crash in crashes
    ]
    reasons = {crash.reason for crash in crashes}
    errors += [
        {"scan": failed.scan, "node": failed.step, "message": failed.reason}
        for failed in run.failures
        if failed.reason not in reasons and (failed.scan in scans or not scans)
    ]
    return errors


def _concerns(crash: Crash, all_scans: Collection[str], scans: frozenset[str]) -> bool:
    """Whether a crash is about one of these scans, or about what they share."""
    from bidsapp_brainage.workflows.scan import scan_workflow_name

    parts = crash.node.split(".")
    others = {scan_workflow_name(scan) for scan in all_scans if scan not in scans}
    return not (scans and others & set(parts))
