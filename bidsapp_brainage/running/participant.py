"""The participant level: from settings to derivatives, reports and an exit code."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from bidsapp_brainage.bids.input.messages import ManyScans, shorten
from bidsapp_brainage.bids.names import log_dir
from bidsapp_brainage.configuration import private_places
from bidsapp_brainage.errors import NoInputError
from bidsapp_brainage.running.machine import available_memory_gb
from bidsapp_brainage.running.processes.claims import claimed
from bidsapp_brainage.settings import in_flags

if TYPE_CHECKING:
    from bidsapp_brainage.bids.collect import Scan, Wanted
    from bidsapp_brainage.running.outcome import Crash, Failure
    from bidsapp_brainage.settings import Settings
    from bidsapp_brainage.workflows.plan import RunPlan
    from bidsapp_brainage.workflows.precomputed import Precomputed

LOGGER = logging.getLogger("bidsapp_brainage")
#: Options of the command ``predict``, whose images have no tables.
_OF_PREDICT = MappingProxyType({"age": "--age", "people": "--people"})
#: Scans that are wired together: of the first batch of many, and of the others; up to so many
#: times the usual batch all are run in one.
_FIRST_BATCH, _BATCH, _BATCH_PER_PROCESSOR, _LARGEST_BATCH, _ONE_BATCH = 10, 100, 10, 500, 1.5


@dataclass(frozen=True)
class Run:
    """What one invocation knows before anything is computed.

    Attributes
    ----------
    settings : Settings
    scans : sequence of Scan
    plan : RunPlan
    workflow : LiterateWorkflow
        Of one scan of each kind, for texts and pictures; what is run is wired batch by batch, and
        by the workers of ``--cluster``.
    methods : str
        Methods text.
    precomputed : mapping of str to Precomputed
        By scan label.
    home : Path
        TemplateFlow home.
    warnings : sequence of str
        About the input.
    """

    settings: Settings
    scans: Sequence[Scan]
    plan: RunPlan
    workflow: Any
    methods: str
    precomputed: Mapping[str, Precomputed]
    home: Path
    warnings: Sequence[str] = ()

    @property
    def subjects(self) -> list[str]:
        """Participants in their order."""
        return list(self.labels)

    @property
    def labels(self) -> dict[str, list[str]]:
        """Names of the scans of each participant."""
        labels: dict[str, list[str]] = {}
        for scan in self.scans:
            labels.setdefault(scan.subject, []).append(scan.label)
        return labels


def run_participant(settings: Settings, log_level: int) -> int:
    """Process every scan that was asked for.

    Parameters
    ----------
    settings : Settings
    log_level : int
        Of nipype's own messages.

    Returns
    -------
    int
        0 if everything is complete, 1 if a participant failed (a table says which, where, why
        and what to do).

    Raises
    ------
    BrainageError
        Before anything is computed: a selection, model, template, atlas or device that cannot
        be used.
    """
    from bidsapp_brainage.atlas.templates import prepare_home
    from bidsapp_brainage.bids.collect import collect_scans, without_scans
    from bidsapp_brainage.running.execute import run_environment
    from bidsapp_brainage.running.explain_only import run_explain_only
    from bidsapp_brainage.running.freesurfer import find_results, run_without_images
    from bidsapp_brainage.running.pages import rewrite_pages
    from bidsapp_brainage.running.processes.children import prepare_children
    from bidsapp_brainage.workflows.plan import wanted_images

    execution, resources = settings.execution, settings.resources
    if execution.reports_only:
        return rewrite_pages(settings)
    if execution.explain_only:
        home = prepare_home(execution.work_dir)
        with run_environment(settings, home):
            return run_explain_only(settings, home, log_level)
    selection = settings.selection
    if execution.boilerplate_only:  # no image is read
        selection = replace(selection, datalad_get=False)
    wanted = wanted_images(settings)
    try:
        found, messages = collect_scans(settings.bids_dir, selection, wanted)
    except NoInputError:
        if not find_results(selection.derivatives):
            raise
        return run_without_images(settings)
    scans = complete_scans(found)
    messages = [_with_flags(message) for message in messages]
    for message in messages:
        LOGGER.warning("%s", message)
    with claimed(execution.work_dir, [scan.label for scan in scans]):
        if execution.clean_workdir:
            _clean(settings, scans)
        home = prepare_home(execution.work_dir)
        with run_environment(settings, home):
            if not (execution.boilerplate_only or resources.cluster or resources.plugin_file):
                prepare_children()
            run = _prepare(settings, scans, home, messages)
            absent = without_scans(selection.participant_label, found)
            refused = _without_image(absent, wanted) + _lacking(found)
            return _boilerplate_or_run(run, refused, log_level)


def _with_flags(message: str) -> str:
    """A message in which options are called as on the command line."""
    if isinstance(message, ManyScans):
        return ManyScans(in_flags(message.form, **_OF_PREDICT), message.scans)
    return in_flags(message, **_OF_PREDICT)


def _boilerplate_or_run(run: Run, refused: Sequence[Failure], log_level: int) -> int:
    """Do what the options ask for, once everything is prepared."""
    from bidsapp_brainage.bids.citation import write_citation
    from bidsapp_brainage.running.execute import draw_graph
    from bidsapp_brainage.running.freesurfer import predict_freesurfer

    settings = run.settings
    execution = settings.execution
    _write_root_files(run)
    write_citation(
        settings.output_dir / "logs", [run.methods], markdown_only=execution.md_only_boilerplate
    )
    if execution.write_graph:
        LOGGER.info("Workflow graph: %s", draw_graph(run.workflow, settings.output_dir / "logs"))
    if execution.boilerplate_only:
        LOGGER.info("Methods text: %s", settings.output_dir / "logs" / "CITATION.md")
        return 0
    others = [*refused, *predict_freesurfer(settings, run.scans)]
    execute = _execute_on_cluster if settings.resources.cluster else _execute
    return execute(run, others, log_level)


def _prepare(settings: Settings, scans: Sequence[Scan], home: Path, warnings: Sequence[str]) -> Run:
    """Find all resources and wire the workflow."""
    from bidsapp_brainage.bids.collect import target_messages
    from bidsapp_brainage.running.freesurfer import methods_text
    from bidsapp_brainage.workflows.base import examples, init_brainage_wf
    from bidsapp_brainage.workflows.plan import Compute, make_plan

    cluster = settings.resources.cluster
    plan = make_plan(settings, home, Compute() if cluster else None)
    told = target_messages(scans, plan.card.heads)
    for message in told:
        LOGGER.warning("%s", message)
    warnings = [*warnings, *told]
    precomputed = _given(settings, scans, plan.template.name)
    workflow = init_brainage_wf(examples(scans, precomputed), plan, precomputed)
    more = methods_text(settings.selection.derivatives)
    workflow.__postdesc__ = f"{more}{workflow.__postdesc__}"
    return Run(settings, scans, plan, workflow, workflow.visit_desc(), precomputed, home, warnings)


def _given(settings: Settings, scans: Sequence[Scan], template: str) -> dict[str, Precomputed]:
    """What ``--derivatives`` hold for each scan, and what the user should know about it."""
    from bidsapp_brainage.atlas.templates import find_template, joint_transforms
    from bidsapp_brainage.running.freesurfer import find_results
    from bidsapp_brainage.workflows.precomputed import completed

    datasets = settings.selection.derivatives
    found = {scan.label: _collected(scan, datasets, template) for scan in scans}
    given = completed(found, template, find_template, partial(joint_transforms, template))
    if datasets:
        reused = sum(files.is_used for files in given.values())
        level = logging.INFO if reused or find_results(datasets) else logging.WARNING
        LOGGER.log(
            level, "Earlier derivatives (-d) are used for %d of %d scans.", reused, len(scans)
        )
    for software in sorted({files.software for files in given.values() if files.is_foreign}):
        LOGGER.info(
            "Of %s, transforms are used for regions and spaces, and mask and tissue are compared. "
            "The age comes from the app's own image, affine and mask, as without -d.",
            software or "other programs",
        )
    told: dict[str, list[str]] = {}
    for label, files in given.items():
        if files.note:
            told.setdefault(files.note, []).append(label)
    for note, labels in told.items():
        LOGGER.warning("%s: %s", shorten(labels), note)
    return given


def _collected(scan: Scan, datasets: Sequence[tuple[str, Path]], template: str) -> Precomputed:
    """What ``--derivatives`` hold for a scan; all that programs keep is about T1w images."""
    from bidsapp_brainage.model.inputs.channels import T1W
    from bidsapp_brainage.workflows.precomputed import Precomputed, collect_derivatives

    if scan.modality == T1W:
        return collect_derivatives(datasets, scan.entities, template)
    if not datasets:
        return Precomputed()
    return Precomputed().noted(
        f"Earlier derivatives are of T1w images; this is a {scan.modality}, and is computed anew."
    )


def _execute(run: Run, others: Sequence[Failure], log_level: int) -> int:
    """Run the scans batch by batch, write the reports, and say what failed."""
    from bidsapp_brainage.running.outcome import not_reached
    from bidsapp_brainage.running.pages import write_all_pages, write_overviews
    from bidsapp_brainage.running.processes.children import quiet_nipype
    from bidsapp_brainage.running.recording.recorder import Recorder

    quiet_nipype(log_level)
    LOGGER.info("Processing %d scans of %d participants.", len(run.scans), len(run.subjects))
    recorder = Recorder(run.settings, "participant")
    labels_of_all = [scan.label for scan in run.scans]
    recorder.start(labels_of_all)
    failures: list[Failure] = []  # of images; `others` are known before
    for first, batch in batches(run.scans, run.settings.resources.nprocs):
        part = replace(run, scans=batch)
        if failures and run.settings.execution.stop_on_first_crash:
            failures += not_reached((scan.label for scan in batch), "scan")
            continue
        recorder.start_people(part.labels)
        failed = _run_batch(part, first, len(run.scans), log_level)
        recorder.finish_people(part.labels, [*failed, *others], run.warnings)
        failures += failed
    failures += others
    recorder.finish(labels_of_all, failures, run.warnings)
    settings = run.settings
    bad_reports = write_all_pages(settings, run.subjects, run.methods, log_level)
    bad_reports += write_overviews(settings)
    _remove_shared_nodes(run)
    return _conclude(run, failures, bad_reports)


def batches(scans: Sequence[Scan], n_procs: int) -> Iterator[tuple[int, list[Scan]]]:
    """Parts of a run that are wired and run one after the other, with the place of their first.

    A graph of thousands of scans takes minutes and gigabytes before the first of them begins. At
    the end of a batch processors wait for its last scans, so there are few batches, and none is
    smaller than it has to be; only the first of many is, because everybody waits for it.

    Parameters
    ----------
    scans : sequence of Scan
        Of the run; those of a participant follow each other, and stay together.
    n_procs : int
        Processors of the run.
    """
    usual = min(max(_BATCH, _BATCH_PER_PROCESSOR * n_procs), _LARGEST_BATCH)
    size = max(_FIRST_BATCH, 2 * n_procs) if len(scans) > _ONE_BATCH * usual else len(scans)
    first = 1
    batch: list[Scan] = []
    for scan in scans:
        if len(batch) >= size and scan.subject != batch[-1].subject:
            yield first, batch
            first, batch, size = first + len(batch), [], usual
        batch.append(scan)
    yield first, batch


def _run_batch(run: Run, first: int, total: int, log_level: int) -> list[Failure]:
    """Wire and run some of the scans; what is not complete."""
    from bidsapp_brainage.running.execute import (
        configure,
        run_to_debug,
        run_workflow,
        unpickle_crashes,
    )
    from bidsapp_brainage.running.monitor import Monitor
    from bidsapp_brainage.running.outcome import find_failures
    from bidsapp_brainage.workflows.base import init_brainage_wf

    plan, resources, execution = run.plan, run.settings.resources, run.settings.execution
    pickles = execution.work_dir / "crashes" / plan.run_uuid
    workflow = init_brainage_wf(run.scans, plan, run.precomputed)
    configure(
        workflow,
        run.scans,
        output_dir=plan.output_dir,
        run_uuid=plan.run_uuid,
        stop_on_first_crash=execution.stop_on_first_crash,
        keep_everything=execution.debug,
        pickles=pickles if execution.crashfile_format == "pklz" else None,
    )
    monitor = Monitor(run.scans, first=first, total=total, sampled=execution.resource_monitor)
    try:
        if execution.pdb:
            run_to_debug(workflow, monitor)
        else:
            memory_gb = resources.memory_gb or available_memory_gb()
            run_workflow(workflow, resources, monitor, memory_gb=memory_gb, log_level=log_level)
    finally:  # also when the run is interrupted
        for subject in run.subjects:
            monitor.write_timings(plan.output_dir, subject, plan.run_uuid)
        unpickle_crashes(pickles, plan.output_dir, plan.run_uuid, monitor)
        crashes = _collect_crashes(run)
    together = [crash for some in crashes.values() for crash in some]
    return find_failures(workflow, run.scans, monitor, together)


def _execute_on_cluster(run: Run, others: Sequence[Failure], log_level: int) -> int:
    """Let workers process the scans and write the pages, and say what failed."""
    from bidsapp_brainage.running.cluster.level import ClusterLevel
    from bidsapp_brainage.running.monitor import write_timings
    from bidsapp_brainage.running.pages import write_overviews
    from bidsapp_brainage.running.recording.recorder import Recorder

    LOGGER.info("Processing %d scans of %d participants.", len(run.scans), len(run.subjects))
    recorder = Recorder(run.settings, "participant")
    recorder.start_all(run.labels)
    with ClusterLevel(run, log_level) as level:
        try:
            failures = level.process()
        finally:  # also when the run is interrupted
            for subject, labels in run.labels.items():
                done = [level.outcomes[label] for label in labels if label in level.outcomes]
                records = [record for outcome in done for record in outcome.records]
                write_timings(log_dir(run.plan.output_dir, subject, run.plan.run_uuid), records)
            _collect_crashes(run)
        failures += others
        recorder.finish_all(run.labels, failures, run.warnings)
        bad_reports = level.write_pages()
    bad_reports += write_overviews(run.settings)
    _remove_shared_nodes(run)
    return _conclude(run, failures, bad_reports)


def _without_image(labels: Sequence[str], wanted: Wanted) -> list[Failure]:
    """Participants that were asked for in vain."""
    from bidsapp_brainage.running.outcome import Failure

    reason = f"No {wanted.named} image matches the selection."
    return [Failure(f"sub-{label}", "input", reason) for label in labels]


def _lacking(scans: Sequence[Scan]) -> list[Failure]:
    """Scans without an image of a modality that the model needs."""
    from bidsapp_brainage.model.inputs.channels import missing_modalities
    from bidsapp_brainage.running.outcome import Failure

    return [
        Failure(scan.label, "input", missing_modalities(scan.lacking))
        for scan in scans
        if scan.lacking
    ]


def complete_scans(scans: Sequence[Scan]) -> list[Scan]:
    """Scans with all images that the model needs.

    Raises
    ------
    NoInputError
        There is none.
    """
    from bidsapp_brainage.model.inputs.channels import missing_modalities

    complete = [scan for scan in scans if not scan.lacking]
    if not complete:
        raise NoInputError(missing_modalities(scans[0].lacking))
    return complete


def _conclude(run: Run, failures: Sequence[Failure], bad_reports: int) -> int:
    """Say how it went; the exit code."""
    from bidsapp_brainage.running.outcome import exit_code, failure_table

    failed = {failure.scan for failure in failures}
    labels = {scan.label for scan in run.scans}
    asked = labels | {failure.scan for failure in failures if failure.step == "input"}  # no image
    LOGGER.info("%d of %d scans are complete.", len(labels - failed), len(asked))
    if failures:
        LOGGER.error("Not complete:\n%s", failure_table(failures))
        LOGGER.error("Details: sub-*/log/%s/crash-*.txt and the reports.", run.plan.run_uuid)
    return exit_code(failures, bad_reports)


def _collect_crashes(run: Run) -> dict[str, list[Crash]]:
    """Crash files of this run by participant; the key ``""`` holds those of shared steps."""
    from bidsapp_brainage.running.outcome import read_crashes

    output_dir, uuid = run.plan.output_dir, run.plan.run_uuid
    folders = {subject: log_dir(output_dir, subject, uuid) for subject in run.subjects}
    folders[""] = output_dir / "logs" / uuid
    places = private_places(run.settings)
    return {subject: read_crashes(folder, places) for subject, folder in folders.items()}


def _write_root_files(run: Run) -> None:
    """Write what lies at the root of the dataset: description, tables, the atlas."""
    from bidsapp_brainage.bids.dataset import Origin, write_atlas_files, write_dataset_files

    settings, atlas = run.settings, run.plan.atlas
    origin = Origin(
        settings.bids_dir,
        settings.output_dir,
        settings.configuration_hash(),
        settings.selection.derivatives,
    )
    write_dataset_files(
        origin,
        model=run.plan.card.name,
        atlas_facts=None if atlas is None else atlas.description,
        scans=run.scans,
    )
    if atlas is not None:
        write_atlas_files(run.plan.output_dir, atlas)


def _clean(settings: Settings, scans: Sequence[Scan]) -> None:
    """Remove the scratch of these scans only: other jobs may use the same work folder."""
    from bidsapp_brainage.workflows.plan import WORKFLOW_NAME
    from bidsapp_brainage.workflows.scan import scan_workflow_name

    root = settings.execution.work_dir / WORKFLOW_NAME
    for scan in scans:
        shutil.rmtree(root / scan_workflow_name(scan.label), ignore_errors=True)


def _remove_shared_nodes(run: Run) -> None:
    """Remove this run's own folder of the atlas nodes; the warped atlas itself stays."""
    label = "".join(character for character in run.plan.run_uuid if character.isalnum())
    shutil.rmtree(run.plan.work_dir / f"atlas_{label}_wf", ignore_errors=True)
    shutil.rmtree(run.plan.work_dir / "ds_atlas", ignore_errors=True)
