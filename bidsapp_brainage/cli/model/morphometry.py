"""What ``brainage-model {predict-table,train-table}`` do."""

from __future__ import annotations

import argparse
import logging
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from bidsapp_brainage.errors import DataError, ExitCode, NoInputError, UsageError

if TYPE_CHECKING:
    from bidsapp_brainage.bids.collect import Scan
    from bidsapp_brainage.morphometry.tables import Measures


def predict_table(options: argparse.Namespace) -> int:
    """Write the tables of everybody; who cannot be read is named and left out."""
    from bidsapp_brainage.bids.dataset import Origin, write_dataset_files
    from bidsapp_brainage.morphometry.card import find_card
    from bidsapp_brainage.morphometry.prediction import load_predictor
    from bidsapp_brainage.running.freesurfer import write_prediction

    predictor = load_predictor(find_card(options.model))
    measures, failed = _measures(options)
    scans, kept = _scans(options, measures)
    done = []
    for place, scan in zip(kept, scans, strict=True):
        try:
            values, software = measures.values.iloc[place], measures.software[place]
            write_prediction(predictor, values, scan, options.out, software)
            done.append(scan)
        except DataError as error:
            failed.append(f"sub-{scan.subject}: {error}")
    for text in failed:
        print(f"Left out: {text}", file=sys.stderr)
    if not done:
        raise DataError(f"Nobody of {options.inputs[0]} could be predicted; see above.")
    origin = Origin(options.bids_dir or options.inputs[0], options.out, "")
    write_dataset_files(origin, model=predictor.card.name, scans=done)
    print(f"{len(done)} people: {options.out}")
    _say_versions(measures)
    return ExitCode.INCOMPLETE if failed else ExitCode.DONE


def train_table(options: argparse.Namespace) -> int:
    """Leave datasets out, print the errors, and write the model."""
    from bidsapp_brainage.io import write_tsv
    from bidsapp_brainage.training.morphometry.left_out import (
        LINEAR,
        covariance_architecture,
        left_out,
    )
    from bidsapp_brainage.training.morphometry.people import read_people
    from bidsapp_brainage.training.morphometry.publish import About, accuracy, publish

    form = "%(asctime)s %(message)s"
    logging.basicConfig(level=logging.INFO, format=form, datefmt="%H:%M:%S", stream=sys.stderr)
    if options.parts < 0 or options.parts == 1 or options.members < 1:
        raise UsageError("`parts` is 0, 2 or more; `members` is 1 or more.")
    about = About(
        name=options.name,
        licence=options.licence or "not stated",
        cohort=options.cohort_name or options.table.name.partition(".")[0],
        parcellation=options.parcellation,
    )
    people = read_people(options.table, options.scanner_column)
    if people.left_out:
        logging.warning("%d people without age or with measures missing", people.left_out)
    linear = options.architecture == "linear"
    architecture = LINEAR if linear else covariance_architecture(options.members)
    balanced = not options.equal_weights
    predictions = left_out(
        people, architecture, parts=options.parts, balanced=balanced, say=logging.info
    )
    print("Left out:", ", ".join(f"{k} {v:g}" for k, v in accuracy(predictions).items()))
    print(publish(people, architecture, predictions, about, options.out, balanced=balanced))
    write_tsv(options.out / f"{options.name}_leftout.tsv", predictions)
    return ExitCode.DONE


def _measures(options: argparse.Namespace) -> tuple[Measures, list[str]]:
    """Measures of everybody, and why people are left out."""
    from bidsapp_brainage.morphometry.subjects import read_folder
    from bidsapp_brainage.morphometry.tables import read_measures

    folders = [path for path in options.inputs if path.is_dir()]
    if not folders:
        return read_measures(options.inputs), []
    if len(options.inputs) > 1:
        raise UsageError(f"Give one folder ({folders[0]}), or tables of the same people.")
    return read_folder(folders[0], options.parcellation)


def _scans(options: argparse.Namespace, measures: Measures) -> tuple[list[Scan], list[int]]:
    """People with their ages as far as tables tell, and their rows of the measures."""
    from bidsapp_brainage.bids.ages import AgeBook
    from bidsapp_brainage.bids.collect import Scan

    book = AgeBook(
        options.bids_dir or options.inputs[0],
        age_column=options.age_column or "age",
        age_file=options.age_file,
    )
    wanted = [label.removeprefix("sub-") for label in options.participant_label or ()]
    scans, kept = [], []
    for place, (participant, session) in enumerate(measures.people.itertuples(index=False)):
        entities = {"sub": str(participant).removeprefix("sub-")}
        if isinstance(session, str):
            entities["ses"] = session.removeprefix("ses-")
        if wanted and entities["sub"] not in wanted:
            continue
        person = book.person(entities, "")
        found = Scan(Path(), tuple(entities.items()), person.age, person.sex, person.site)
        scans.append(found)
        kept.append(place)
    if not scans:
        raise NoInputError(f"{options.inputs[0]} holds none of {', '.join(wanted)}.")
    return scans, kept


def _say_versions(measures: Measures) -> None:
    """Warn where people were measured by different programs: a site effect of its own."""
    found = sorted(set(measures.software) - {""})
    if len(found) > 1:
        print(
            f"Measured by {', '.join(found)}: regional measures differ between versions; do not "
            "compare people across them without a term for the version.",
            file=sys.stderr,
        )
    kinds = sorted(set(measures.parcellations) - {""})
    if len(kinds) > 1:
        print(f"People have different parcellations: {', '.join(kinds)}.", file=sys.stderr)
