"""Brain age from regional volumes: candidates, each scanner left out once.

``python -m benchmarks.candidates NAME=DERIVATIVES ... --participants NAME=TSV ... --out FOLDER``:
every folder of the app's derivatives (with ``*_volumes.tsv``) is a scanner. Or a table:
``--wide TSV``, ``--freesurfer TSV``, ``--cat12 TSV``. ``--given net=TSV`` adds out-of-sample
predictions made elsewhere; ``--mix net+ridge:logs`` their mean with others. Nothing is tuned on
people asked.
"""

from __future__ import annotations

import argparse
import itertools
import sys
from pathlib import Path

import pandas as pd

from bidsapp_brainage.io import write_tsv

from .people import People, join, read_cat12, read_derivatives, read_freesurfer, read_wide
from .protocol import FEATURES, few_notes, predictions, splits
from .regressors import LEARNERS
from .results import markdown, mixture, read_given, summary


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__)
    add = parser.add_argument
    add("derivatives", nargs="*", metavar="NAME=FOLDER")
    add("--participants", action="append", default=[], metavar="NAME=TSV",
        help="table with ages; by default participants.tsv in the folder")  # fmt: skip
    add("--wide", type=Path, help="participant_id, cohort, age and a column per MUSE region")
    add("--freesurfer", type=Path)
    add("--cat12", type=Path)
    add("--first-age", type=float, default=0.0, help="leave out younger people (FreeSurfer)")
    add("--learners", nargs="+", choices=tuple(LEARNERS), default=list(LEARNERS))
    add("--features", nargs="+", choices=FEATURES, default=["fractions", "logs-grouped"])
    add("--given", action="append", default=[], metavar="NAME=TSV")
    add("--mix", action="append", default=[], metavar="A+B")
    add("--parts", type=int, default=0, help="leave scanners out in so many parts")
    add("--train-on", default="", help="learn from this scanner alone")
    add("--balanced", action="store_true", help="weights that balance age")
    add("--n-boot", type=int, default=1000)
    add("--out", type=Path)
    return parser


def main(arguments: list[str] | None = None) -> int:
    """Print one table of all candidates, and write their predictions."""
    parser = _parser()
    args = parser.parse_args(arguments)
    people = _people(args, parser)
    found = list(splits(people, args.parts, args.train_on))
    tables = {}
    for learner, feature_set in itertools.product(args.learners, args.features):
        tables[f"{learner}:{feature_set}"] = predictions(
            people, learner, feature_set, found,
            balanced=args.balanced, say=lambda text: print(text, file=sys.stderr),
        )  # fmt: skip
    largest = str(people.table["cohort"].mode()[0])
    for name, place in _named(args.given):
        tables[name] = read_given(Path(place), largest)
    for mix in args.mix:
        unknown = [part for part in mix.split("+") if part not in tables]
        if unknown:
            parser.error(f"--mix {mix}: no candidate {unknown[0]}; there are {', '.join(tables)}")
        tables[mix] = mixture([tables[part] for part in mix.split("+")])
    table = summary(tables, args.n_boot)
    print(markdown(table), *few_notes(found), sep="\n")
    if args.out:
        _write(args.out, table, tables)
    return 0


def _people(args: argparse.Namespace, parser: argparse.ArgumentParser) -> People:
    if args.wide:
        return read_wide(args.wide)
    if args.freesurfer:
        return read_freesurfer(args.freesurfer, args.first_age)
    if args.cat12:
        return read_cat12(args.cat12)
    if not args.derivatives:
        parser.error("give NAME=DERIVATIVES, --wide, --freesurfer or --cat12")
    ages = dict(_named(args.participants))
    return join(
        [
            read_derivatives(name, Path(folder), Path(ages.get(name, f"{folder}/participants.tsv")))
            for name, folder in _named(args.derivatives)
        ]
    )


def _named(texts: list[str]) -> list[tuple[str, str]]:
    parts = [text.partition("=") for text in texts]
    return [(name, place) for name, _, place in parts]


def _write(folder: Path, table: pd.DataFrame, tables: dict[str, pd.DataFrame]) -> None:
    write_tsv(folder / "candidates.tsv", table)
    for name, predicted in tables.items():
        write_tsv(folder / f"{name.replace(':', '_')}_predictions.tsv", predicted)


if __name__ == "__main__":
    sys.exit(main())
