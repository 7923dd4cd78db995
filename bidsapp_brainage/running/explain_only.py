"""``--explain-only``: finished predictions explained again, many scans one after the other.

The workflow of a scan is wired from the same parts as in a full run. It runs as a whole in one of
a few processes that stay, because starting one for every node, and loading in it what the last
one had loaded, takes longer than explaining.
"""

from __future__ import annotations

import contextlib
import logging
import shutil
import time
from collections import Counter, deque
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bidsapp_brainage.configuration import private_places
from bidsapp_brainage.errors import UsageError
from bidsapp_brainage.running.machine import available_memory_gb
from bidsapp_brainage.running.outcome import Failure, Outcome, not_reached
from bidsapp_brainage.running.processes.claims import claimed
from bidsapp_brainage.running.processes.workers import Done, Job, Workers
from bidsapp_brainage.running.recording.recorder import Recorder
from bidsapp_brainage.settings import in_flags

if TYPE_CHECKING:
    from bidsapp_brainage.bids.finished import Finished, FinishedScan
    from bidsapp_brainage.reports.cohort.percentiles import QualityOfAll
    from bidsapp_brainage.settings import Settings
    from bidsapp_brainage.workflows.plan import RunPlan

LOGGER = logging.getLogger("bidsapp_brainage")


@dataclass
class _Progress:
    """Counts scans, and says how fast they go."""

    total: int
    begin: float = field(default_factory=time.monotonic)
    done: int = 0
    kept: int = 0

    def count(self, label: str, outcome: Outcome) -> None:
        self.done += 1
        self.kept += outcome.kept
        place = f"[{self.done}/{self.total}] {label}"
        if outcome.kept:
            LOGGER.info("%s: explained by these choices before", place)
        elif outcome.failures:
            LOGGER.error("%s: failed: %s", place, outcome.failures[0].reason)
        else:
            cost = f"{outcome.wall_s:.1f} s ({outcome.cpu_s:.1f} s of a processor)"
            LOGGER.info("%s: explained in %s; %s", place, cost, self._rate())

    def _rate(self) -> str:
        per_s = (self.done - self.kept) / max(time.monotonic() - self.begin, 1e-3)
        minutes = (self.total - self.done) / per_s / 60
        left = f"{minutes:.0f} min" if minutes >= 1 else "less than a minute"
        return f"{3600 * per_s:.0f} scans per hour, {left} left"


def run_explain_only(settings: Settings, home: Path, log_level: int) -> int:
    """Explain every finished prediction that was asked for.

    Parameters
    ----------
    settings : Settings
    home : Path
        TemplateFlow home, already in ``TEMPLATEFLOW_HOME``.
    log_level : int
        Of nipype's own messages.

    Returns
    -------
    int
        0 if everything is explained, 1 if a scan or a page failed, or was refused.

    Raises
    ------
    BrainageError
        Before anything is computed: no prediction, a model or an atlas that cannot be used.
    """
    from bidsapp_brainage.bids.finished import find_finished
    from bidsapp_brainage.reports.cohort.percentiles import read_quality
    from bidsapp_brainage.workflows.plan import make_plan

    plan = make_plan(settings, home)
    found = find_finished(plan.output_dir, settings.selection, plan.card)
    refused = [Failure(label, "input", in_flags(why)) for label, why in found.refused.items()]
    for failure in refused:
        LOGGER.error("%s: %s", failure.scan, failure.reason)
    recorder = Recorder(settings, "participant")
    if not found.scans:
        return _conclude(0, refused, _finish_run(settings, recorder, [], refused))
    methods = _write_root_files(settings, plan, found)
    recorder.start([each.scan.label for each in found.scans])
    count = _n_workers(settings, plan)
    LOGGER.info("Explaining %d finished scans, %d at a time.", len(found.scans), count)

    def relay(level: int, label: str, text: str) -> None:
        heard = level if level > logging.INFO else logging.DEBUG
        LOGGER.log(heard, "%s: %s", label, text)

    quality = read_quality(plan.output_dir)
    labels = [each.scan.label for each in found.scans]
    with (
        claimed(settings.execution.work_dir, labels),
        Workers(count, log_level=log_level, relay=relay) as workers,
    ):
        level = _Level(settings, plan, methods, workers, recorder, quality)
        return level.run(found.scans, refused)


@dataclass
class _Level:
    """The jobs of a run: the atlas, then every scan, and a page when a person's scans are done."""

    settings: Settings
    plan: RunPlan
    methods: str
    workers: Workers
    recorder: Recorder
    quality: QualityOfAll

    def run(self, scans: Sequence[FinishedScan], refused: Sequence[Failure]) -> int:
        (atlas,) = self.workers.run(deque([Job("atlas", prepare_atlas, (self._for_atlas(),))]))
        if atlas.error:
            LOGGER.debug("%s", atlas.traceback)
            failures = [Failure(each.scan.label, "atlas", atlas.error) for each in scans]
            failures += refused
            return _conclude(
                0, failures, _finish_run(self.settings, self.recorder, scans, failures)
            )
        return self._explain(scans, Path(atlas.result), refused)

    def _for_atlas(self) -> RunPlan:
        """The plan with all processors for what is done once."""
        threads = self.settings.resources.nprocs
        return replace(self.plan, compute=replace(self.plan.compute, n_threads=threads))

    def _explain(
        self, scans: Sequence[FinishedScan], labels: Path, refused: Sequence[Failure]
    ) -> int:
        jobs = deque(self._jobs(scans, labels))
        waiting = Counter(each.scan.subject for each in scans)
        outcomes: dict[str, dict[str, Outcome]] = {subject: {} for subject in waiting}
        subjects = {each.scan.label: each.scan.subject for each in scans}
        progress, bad_pages = _Progress(len(scans)), 0
        for done in self.workers.run(jobs):
            label = done.job.label
            if label not in subjects:
                bad_pages += _page_failed(done)
                continue
            outcome, subject = _outcome_of(done), subjects[label]
            progress.count(label, outcome)
            outcomes[subject][label] = outcome
            waiting[subject] -= 1
            if outcome.failures and self.settings.execution.stop_on_first_crash:
                jobs.clear()
            if not waiting[subject]:
                jobs.extendleft(self._finish(subject, outcomes[subject]))
        return self._sum_up(scans, outcomes, refused, bad_pages)

    def _jobs(self, scans: Sequence[FinishedScan], labels: Path) -> list[Job]:
        places = private_places(self.settings)
        jobs = []
        for place, each in enumerate(scans):
            plan = replace(self.plan, compute=self.plan.compute.for_scan(place))
            jobs.append(Job(each.scan.label, explain_scan, (each, plan, labels, places)))
        return jobs

    def _finish(self, subject: str, outcomes: dict[str, Outcome]) -> list[Job]:
        """Keep what the scans of a person cost; the job of the page, unless all is as it was."""
        from bidsapp_brainage.bids.names import log_dir
        from bidsapp_brainage.bids.run_records import read_runs
        from bidsapp_brainage.running.monitor import write_timings
        from bidsapp_brainage.running.pages import planned_pages

        runs = read_runs(self.plan.output_dir, subject)
        pages = planned_pages(self.settings, subject, runs).values()
        shown = min(page.stat().st_mtime if page.is_file() else 0.0 for page in pages)
        if all(outcome.kept and outcome.newest <= shown for outcome in outcomes.values()):
            return []
        done = {label: outcome for label, outcome in outcomes.items() if not outcome.kept}
        if done:
            failures = [failure for each in done.values() for failure in each.failures]
            self.recorder.start(list(done), subject)
            self.recorder.finish(list(done), failures, subject=subject)
            folder = log_dir(self.plan.output_dir, subject, self.plan.run_uuid)
            write_timings(folder, [record for each in done.values() for record in each.records])
        arguments = (self.settings, [subject], self.methods, self.quality)
        return [Job(f"sub-{subject} (page)", write_page, arguments)]

    def _sum_up(
        self,
        scans: Sequence[FinishedScan],
        outcomes: dict[str, dict[str, Outcome]],
        refused: Sequence[Failure],
        bad_pages: int,
    ) -> int:
        by_label = {label: each for some in outcomes.values() for label, each in some.items()}
        failures = [failure for each in by_label.values() for failure in each.failures]
        labels = [each.scan.label for each in scans]
        failures += not_reached(labels, "explanation", done=by_label)
        failures += refused
        bad_pages += _finish_run(self.settings, self.recorder, scans, failures)
        complete = sum(not outcome.failures for outcome in by_label.values())
        return _conclude(complete, failures, bad_pages)


def prepare_atlas(plan: RunPlan) -> str:
    """Bring the atlas to the model's template and keep it; path of the labels there."""
    from niworkflows.engine.workflows import LiterateWorkflow as Workflow

    from bidsapp_brainage.running.execute import nipype_options
    from bidsapp_brainage.workflows.base import init_shared_atlas
    from bidsapp_brainage.workflows.plan import WORKFLOW_NAME

    workflow = Workflow(name=WORKFLOW_NAME, base_dir=str(plan.work_dir.parent))
    workflow.config["execution"] = nipype_options(plan.output_dir / "logs" / plan.run_uuid)
    atlas_wf = init_shared_atlas(workflow, plan)
    assert atlas_wf is not None
    assert plan.atlas is not None
    graph = workflow.run(plugin="Linear")
    shutil.rmtree(Path(workflow.base_dir) / workflow.name / "ds_atlas", ignore_errors=True)
    matched = [node.result.outputs.out_file for node in graph.nodes() if node.name == "match"]
    return str(matched[0] if matched else plan.atlas.dseg)


def explain_scan(
    finished: FinishedScan, plan: RunPlan, labels: Path, places: dict[str, str]
) -> Outcome:
    """Explain one finished prediction, unless this was done by the same choices before.

    Parameters
    ----------
    finished : FinishedScan
    plan : RunPlan
        Resources and choices of the run.
    labels : Path
        Atlas labels in the model's template.
    places : dict of str to str
        Folders of the machine that crash files must not tell -> placeholder.
    """
    from bidsapp_brainage.bids.names import log_dir
    from bidsapp_brainage.running.execute import configure, run_in_process
    from bidsapp_brainage.running.monitor import Monitor
    from bidsapp_brainage.running.outcome import find_failures, read_crashes
    from bidsapp_brainage.workflows import finished as explained

    begin, begin_cpu, scan = time.monotonic(), time.process_time(), finished.scan
    workflow = explained.init_finished_wf(finished, plan, labels)
    if explained.is_explained(workflow, finished.predicted):
        newest = max(path.stat().st_mtime for path in explained.kept_files(workflow))
        return Outcome(kept=True, newest=newest)
    for figure in explained.drawn_files(workflow):
        figure.unlink(missing_ok=True)
    configure(
        workflow,
        [scan],
        output_dir=plan.output_dir,
        run_uuid=plan.run_uuid,
        hash_method="timestamp",  # its folders are gone soon: nobody asks whether files are copies
    )
    monitor = Monitor([scan], quiet=True)
    run_in_process(workflow, monitor)
    folder = log_dir(plan.output_dir, scan.subject, plan.run_uuid)
    crashes = read_crashes(folder, places, of=scan.label)
    failures = find_failures(workflow, [scan], monitor, crashes)
    if not failures:
        _remove(explained.other_explanations(finished, plan))
        shutil.rmtree(explained.scratch_of(workflow, scan.label), ignore_errors=True)
    return Outcome(
        tuple(failures),
        tuple(monitor.records),
        wall_s=time.monotonic() - begin,
        cpu_s=time.process_time() - begin_cpu,
    )


def _remove(paths: Sequence[Path]) -> None:
    for path in paths:
        path.unlink(missing_ok=True)
    tables = [path.name for path in paths if path.suffix == ".tsv"]
    if tables:
        LOGGER.warning("removed, because other choices made them: %s", ", ".join(tables))


def write_page(
    settings: Settings, subjects: Sequence[str], methods: str, quality: QualityOfAll
) -> int:
    """Write the page of a person; how many could not be written."""
    from bidsapp_brainage.running.pages import write_pages

    return write_pages(settings, subjects, methods, quality)


def _page_failed(done: Done) -> int:
    if done.error:
        LOGGER.error("%s: %s", done.job.label, done.error)
    return int(bool(done.error)) or int(done.result)


def _outcome_of(done: Done) -> Outcome:
    """Result of a job; one that broke off is a failure of its scan."""
    if not done.error:
        return done.result
    LOGGER.debug("%s", done.traceback)
    return Outcome(failures=(Failure(done.job.label, "explanation", done.error),))


def _write_root_files(settings: Settings, plan: RunPlan, found: Finished) -> str:
    """Write what is about no single participant; the methods text."""
    from bidsapp_brainage.bids.citation import write_citation
    from bidsapp_brainage.bids.dataset import Origin, add_explanation, write_atlas_files

    assert plan.atlas is not None
    origin = Origin(settings.bids_dir, plan.output_dir, settings.configuration_hash())
    add_explanation(origin, model=plan.card.name, atlas_facts=plan.atlas.description)
    write_atlas_files(plan.output_dir, plan.atlas)
    text = _methods_text(settings, plan, found.scans[0])
    markdown_only = settings.execution.md_only_boilerplate
    write_citation(plan.output_dir / "logs", [text], markdown_only=markdown_only)
    return text


def _methods_text(settings: Settings, plan: RunPlan, example: FinishedScan) -> str:
    """What was done to a scan: before, as its log tells, and now."""
    from bidsapp_brainage.workflows.base import init_brainage_wf
    from bidsapp_brainage.workflows.precomputed import Precomputed

    given = example.t1w if example.reused_t1w else None
    warp = example.inverse if example.reused_warp else None
    then = _recorded(settings, example.scan.subject)
    plan = replace(plan, skull_strip=then.get("skull_strip", plan.skull_strip))
    affine = given if warp else None  # all are of an earlier run then
    files = Precomputed(t1w=given, mask=given, affine=affine, forward=warp, inverse=warp)
    before = {example.scan.label: files}
    return str(init_brainage_wf([example.scan], plan, before).visit_desc())


def _recorded(settings: Settings, subject: str) -> dict[str, Any]:
    """Options of the newest run that predicted the age of a person; none if no log tells."""
    from bidsapp_brainage.bids.names import log_dir
    from bidsapp_brainage.configuration import read_toml

    folders = {"bids_dir": settings.bids_dir, "output_dir": settings.output_dir}
    logs = log_dir(settings.output_dir, subject, "run").parent
    for path in sorted(logs.glob("*/app.toml"), reverse=True):
        with contextlib.suppress(UsageError):
            options = read_toml(path, **folders)
            if not options.get("explain_only"):
                return options
    return {}


def _finish_run(
    settings: Settings,
    recorder: Recorder,
    scans: Sequence[FinishedScan],
    failures: Sequence[Failure],
) -> int:
    """Record what the run came to and write the pages that show it; how many of them failed."""
    from bidsapp_brainage.running.pages import write_overviews

    recorder.finish([each.scan.label for each in scans], failures)
    return write_overviews(settings)


def _conclude(complete: int, failures: Sequence[Failure], bad_pages: int) -> int:
    """Say how it went; the exit code."""
    from bidsapp_brainage.running.outcome import exit_code, failure_table

    total = complete + len({failure.scan for failure in failures})
    LOGGER.info("%d of %d scans are explained.", complete, total)
    if failures:
        LOGGER.error("Not explained:\n%s", failure_table(failures))
    return exit_code(failures, bad_pages)


def _n_workers(settings: Settings, plan: RunPlan) -> int:
    """As many scans at a time as processors, memory and GPUs allow."""
    from bidsapp_brainage.workflows.explanation import EXPLAIN_MEMORY_GB

    resources = settings.resources
    memory = resources.memory_gb or available_memory_gb()
    counts = [resources.nprocs // resources.omp_nthreads, int(memory / EXPLAIN_MEMORY_GB)]
    if plan.compute.use_gpu:
        counts.append(plan.compute.n_gpus)
    return max(1, min(counts))
