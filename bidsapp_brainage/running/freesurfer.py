"""Brain age from FreeSurfer results among ``--derivatives``, beside that from images or alone."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from bidsapp_brainage.errors import DataError, NoInputError
from bidsapp_brainage.morphometry.names import EMBEDDED

if TYPE_CHECKING:
    import pandas as pd

    from bidsapp_brainage.bids.ages import AgeBook
    from bidsapp_brainage.bids.collect import Scan
    from bidsapp_brainage.morphometry.card import MorphometryCard
    from bidsapp_brainage.morphometry.prediction import Predictor
    from bidsapp_brainage.morphometry.subjects import Subject
    from bidsapp_brainage.running.outcome import Failure
    from bidsapp_brainage.settings import Settings

LOGGER = logging.getLogger("bidsapp_brainage")
#: Name of a dataset, as in ``--derivatives freesurfer=PATH``, that must have such results.
_NAME = "freesurfer"
_STEP = "FreeSurfer"


def find_results(datasets: Iterable[tuple[str, Path]]) -> list[tuple[Path, list[Subject]]]:
    """Folders of derivatives that hold results of FreeSurfer or FastSurfer, with the people there.

    Parameters
    ----------
    datasets : iterable of (str, Path)
        Name and folder of each, as in ``--derivatives``. One called ``freesurfer`` must have some;
        in others, as of fMRIPrep, they are used if they are there.

    Raises
    ------
    NoInputError
        There is none in a dataset called ``freesurfer``.
    DataError
        Two folders are of the same person.
    """
    from bidsapp_brainage.morphometry.subjects import find_subjects

    found = []
    for name, root in datasets:
        try:
            found.append((root, find_subjects(root)))
        except NoInputError:
            if name == _NAME:
                raise
    return found


def predict_freesurfer(settings: Settings, scans: Sequence[Scan]) -> list[Failure]:
    """Write brain age and contributions of regions of everybody who has results.

    Where a person (or session) has one scan, they lie beside those of the scan; else the names of
    the files have the labels of person and session alone.

    Parameters
    ----------
    settings : Settings
    scans : sequence of Scan
        Images of the run; none if it has none, then everybody with results is wanted.

    Returns
    -------
    list of Failure
        Who has no results, or broken ones.
    """
    results = find_results(settings.selection.derivatives)
    if not results:
        return []
    from bidsapp_brainage.bids.dataset import Origin, write_dataset_files
    from bidsapp_brainage.morphometry.card import find_card
    from bidsapp_brainage.morphometry.prediction import load_predictor
    from bidsapp_brainage.morphometry.subjects import read_morphometry
    from bidsapp_brainage.running.outcome import Failure

    predictor = load_predictor(find_card(EMBEDDED))
    chosen, failures = _chosen(settings, results, scans)
    done = []
    for subject, scan in chosen:
        try:
            measured = read_morphometry(subject)
            write_prediction(
                predictor, measured.values, scan, settings.output_dir, measured.software
            )
            done.append(scan)
        except DataError as error:
            failures.append(Failure(scan.label, _STEP, str(error), DataError.__name__))
    origin = Origin(
        settings.bids_dir,
        settings.output_dir,
        settings.configuration_hash(),
        settings.selection.derivatives,
    )
    write_dataset_files(origin, model=predictor.card.name, scans=done)
    LOGGER.info(
        "Brain age from FreeSurfer results (%s): %d people or sessions.",
        predictor.card.name,
        len(done),
    )
    return failures


def write_prediction(
    predictor: Predictor,
    values: Mapping[str, float] | pd.Series,
    scan: Scan,
    output_dir: Path,
    software: str = "",
) -> None:
    """Predict one person and write the tables.

    Parameters
    ----------
    predictor : Predictor
    values : mapping of str to float, or Series
        Measures by their names.
    scan : Scan
        Labels and age of the person.
    output_dir : Path
        Root of the derivatives.
    software : str
        What measured the regions.

    Raises
    ------
    DataError
        Too few of the measures are there.
    """
    import pandas as pd

    from bidsapp_brainage.bids.morphometry import write_answer
    from bidsapp_brainage.bids.names import identity
    from bidsapp_brainage.model.prediction import prediction_row
    from bidsapp_brainage.model.provenance import model_facts
    from bidsapp_brainage.morphometry.prediction import predict

    card = predictor.card
    answer = predict(predictor, pd.Series(dict(values), dtype=float))
    row = prediction_row(
        answer.prediction,
        card,
        identity=identity(scan.entities),
        chronological_age=scan.age.value,
        age_source=scan.age.source,
        bias_correction=card.bias_correction,
        qc_flag="n/a",
    )
    tables = {"brainage": pd.DataFrame([row]), "morphometry": answer.regions}
    write_answer(output_dir, scan, model_facts(card), tables, software)


def methods_text(datasets: Iterable[tuple[str, Path]]) -> str:
    """Sentences for the methods section; empty where there are no results."""
    from bidsapp_brainage.morphometry.card import find_card

    return _text(find_card(EMBEDDED)) if find_results(datasets) else ""


def _text(card: MorphometryCard) -> str:
    people = card.training
    return f"""\
Brain age was also predicted without the image, from regional measures of FreeSurfer or FastSurfer
(thickness of the cortex, volumes), with the model *{card.name}* (version {card.version}), trained
on {people["n_people"]} people of {people["n_scanners"]} datasets.
"""


def _chosen(
    settings: Settings, results: Sequence[tuple[Path, Sequence[Subject]]], scans: Sequence[Scan]
) -> tuple[list[tuple[Subject, Scan]], list[Failure]]:
    """Who is predicted, under which labels, and who is wanted but has no results."""
    from bidsapp_brainage.bids.ages import AgeBook
    from bidsapp_brainage.running.outcome import Failure

    selection = settings.selection
    book = AgeBook(settings.bids_dir, age_column=selection.age_column, age_file=selection.age_file)
    own: dict[str, list[Scan]] = {}
    for scan in scans:
        own.setdefault(scan.subject, []).append(scan)
    wanted = set(own) or set(selection.participant_label)
    found: dict[tuple[str, str], Subject] = {}
    for _, subjects in results:
        for one in subjects:
            named = not wanted or one.participant in wanted
            sessions = {scan.session for scan in own.get(one.participant, ())}
            if named and (not one.session or not scans or one.session in sessions):
                found.setdefault((one.participant, one.session), one)
    absent = wanted - {participant for participant, _ in found}
    required = any(name == _NAME for name, _ in selection.derivatives)
    failures = []
    for label in sorted(absent):
        reason = (
            f"{', '.join(root.name for root, _ in results)} has no folder with stats of this "
            f"participant: run recon-all or FastSurfer for it (folder sub-{label})."
        )
        if required:
            failures.append(Failure(f"sub-{label}", _STEP, reason, DataError.__name__))
        else:
            LOGGER.warning("sub-%s: no brain age from FreeSurfer: %s", label, reason)
    places = [_scan_of(one, own.get(one.participant, ()), book) for one in found.values()]
    return list(zip(found.values(), places, strict=True)), failures


def _scan_of(subject: Subject, scans: Sequence[Scan], book: AgeBook) -> Scan:
    """The one of a person's scans, or of a session's, else a place for tables of no image."""
    from bidsapp_brainage.bids.collect import Scan

    own = [scan for scan in scans if subject.session in ("", scan.session)]
    if len(own) == 1:
        return own[0]
    entities = {"sub": subject.participant}
    if subject.session:
        entities["ses"] = subject.session
    person = book.person(entities, "")
    return Scan(Path(), tuple(entities.items()), person.age, person.sex, person.site)


def run_without_images(settings: Settings) -> int:
    """Do the participant level where the dataset has no T1w image, from FreeSurfer results alone.

    Returns
    -------
    int
        0 if everything is complete, 1 if somebody's results are missing or broken.

    Raises
    ------
    NoInputError
        Nobody could be predicted.
    """
    from bidsapp_brainage.bids.citation import write_citation
    from bidsapp_brainage.bids.derivatives import Derivatives
    from bidsapp_brainage.running.outcome import exit_code, failure_table
    from bidsapp_brainage.running.pages import write_overviews, write_pages

    execution = settings.execution
    methods = methods_text(settings.selection.derivatives)
    write_citation(
        settings.output_dir / "logs", [methods], markdown_only=execution.md_only_boilerplate
    )
    if execution.boilerplate_only:
        return 0
    LOGGER.warning("There is no T1w image: brain age is predicted from FreeSurfer results alone.")
    failures = predict_freesurfer(settings, [])
    found = Derivatives(settings.output_dir, outputs=["brainage"]).select(
        "brainage", model=EMBEDDED
    )
    subjects = sorted({dict(file.scan)["sub"] for file in found})
    if not subjects:
        raise NoInputError(f"Nobody could be predicted.\n{failure_table(failures)}")
    if failures:
        LOGGER.error("Not complete:\n%s", failure_table(failures))
    bad_pages = write_pages(settings, subjects, methods) + write_overviews(settings)
    return exit_code(failures, bad_pages)
