"""``--dry-run``: what would be done, without doing it."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from bidsapp_brainage.settings import in_flags

if TYPE_CHECKING:
    from bidsapp_brainage.bids.collect import Scan
    from bidsapp_brainage.settings import Settings
    from bidsapp_brainage.workflows.plan import RunPlan

LOGGER = logging.getLogger("bidsapp_brainage")


def list_work(settings: Settings, level: str) -> int:
    """Print the images (or, for the group level, the tables) that a run would process.

    Raises
    ------
    BrainageError
        What would end the run before anything is computed: a selection, model, template, atlas or
        device that cannot be used.
    """
    if level == "group":
        return _list_tables(settings)
    return (_list_finished if settings.execution.explain_only else _list_scans)(settings)


@contextmanager
def _planned(settings: Settings) -> Iterator[RunPlan]:
    """Plan of the run, made and checked as in the run itself; nothing is written elsewhere."""
    from bidsapp_brainage.atlas.templates import prepare_home
    from bidsapp_brainage.running.execute import run_environment
    from bidsapp_brainage.workflows.plan import make_plan

    with TemporaryDirectory() as folder:
        work_dir = Path(folder)
        elsewhere = replace(settings, execution=replace(settings.execution, work_dir=work_dir))
        home = prepare_home(work_dir)
        with run_environment(elsewhere, home):
            yield make_plan(elsewhere, home)


def _list_scans(settings: Settings) -> int:
    from bidsapp_brainage.bids.collect import collect_scans, target_messages, without_scans
    from bidsapp_brainage.errors import NoInputError
    from bidsapp_brainage.running.freesurfer import find_results
    from bidsapp_brainage.workflows.plan import wanted_images

    as_it_is = replace(settings.selection, datalad_get=False)
    wanted = wanted_images(settings)
    surfaces = find_results(settings.selection.derivatives)
    for root, subjects in surfaces:
        print(f"{len(subjects)} people or sessions have FreeSurfer results in {root}.")
    try:
        scans, warnings = collect_scans(settings.bids_dir, as_it_is, wanted)
    except NoInputError as error:
        if not surfaces:
            raise
        print(f"{error} Only FreeSurfer results would be read.")
        return 0
    for warning in warnings:
        LOGGER.warning("%s", in_flags(warning))
    with _planned(settings) as plan:
        model, atlas = plan.card.name, plan.atlas
    for warning in target_messages(scans, plan.card.heads):
        LOGGER.warning("%s", warning)
    lacking = [scan for scan in scans if scan.lacking]
    count = len(scans) - len(lacking)
    images = f"{count} {wanted.named} image{'' if count == 1 else 's'}"
    print(f"{images} would be processed with model {model}", end="")
    print(":" if atlas is None else f" and explained with atlas {settings.processing.atlas}:")
    more = "\tother_images\tlacking" if len(wanted.modalities) > 1 else ""
    print(f"image\tage\tage_source\talready_done\tfile{more}")
    for scan in scans:
        cells = _row(scan, settings.output_dir, model)
        print("\t".join(cells + (_companions(scan) if more else [])))
    absent = without_scans(settings.selection.participant_label, scans)
    return 1 if absent or lacking else 0


def _companions(scan: Scan) -> list[str]:
    """Images of other modalities that the model would see, and modalities that it misses."""
    others = [other.relative_path for other in scan.others]
    return [" ".join(names) or "n/a" for names in (others, scan.lacking)]


def _list_finished(settings: Settings) -> int:
    """List the predictions that ``--explain-only`` finds; 1 if one cannot be explained."""
    from bidsapp_brainage.bids.finished import find_finished
    from bidsapp_brainage.workflows.finished import init_finished_wf, is_explained

    with _planned(settings) as plan:
        assert plan.atlas is not None
        found = find_finished(plan.output_dir, settings.selection, plan.card)
        count, model, atlas = len(found.scans), plan.card.name, plan.atlas.name
        print(f"{count} predictions of model {model} would be explained with atlas {atlas}:")
        print("image\tpredicted\talready_done\tproblem")
        for each in found.scans:
            workflow = init_finished_wf(each, plan, plan.atlas.dseg)
            done = "yes" if is_explained(workflow, each.predicted) else "no"
            print(f"{each.scan.label}\t{each.predicted:g}\t{done}\tn/a")
    for label, reason in found.refused.items():
        print(f"{label}\tn/a\tno\t{in_flags(reason)}")
    return 1 if found.refused else 0


def _row(scan: Scan, output_dir: Path, model: str) -> list[str]:
    from bidsapp_brainage.bids.names import output_path

    done = output_path(output_dir, "brainage", scan.entities, model=model).is_file()
    age = "n/a" if scan.age.value is None else f"{scan.age.value:g}"
    return [scan.label, age, scan.age.source, "yes" if done else "no", scan.relative_path]


def _list_tables(settings: Settings) -> int:
    from bidsapp_brainage.bids.derivatives import Derivatives
    from bidsapp_brainage.errors import NoInputError

    output_dir, selection = settings.output_dir, settings.selection
    tables = Derivatives(
        output_dir,
        participants=selection.participant_label,
        sessions=selection.session_label,
        runs=selection.run_label,
    ).select("brainage")
    first = "participant" in settings.analysis_level
    if not tables and not first:
        raise NoInputError(
            f"{output_dir} has no predictions of the selection: run the participant level first."
        )
    more = ", beside those that the participant level makes" if first else ""
    print(f"{len(tables)} predictions that are there would be summarised{more}:")
    for file in tables:
        print(file.path.relative_to(output_dir).as_posix())
    return 0
