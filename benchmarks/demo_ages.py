"""Fit how much atrophy a synthetic head shows at each age, to the model that is shipped.

Heads of two people are made with several amounts of atrophy, the whole app predicts their ages, and
the amounts at which it predicts the ages of `AGES` are read off. Put the printed line into
`bidsapp_brainage/demo/head.py`, run `--check`, and record the self-test anew
(`brainage-model selftest --record`), because its heads change, too.

    python -m benchmarks.demo_ages              fit: eight images of 2 mm, some five minutes
    python -m benchmarks.demo_ages --check      the people of the demo: made-up and predicted ages
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd

from bidsapp_brainage.bids.derivatives import Derivatives
from bidsapp_brainage.cli.run import main as run_app
from bidsapp_brainage.demo.sample import PEOPLE, Person, Scan, write_sample

AGES = (25.0, 45.0, 60.0, 75.0)  # years
AMOUNTS = (0.0, 0.6, 1.1, 1.6)  # of atrophy; more looks like no living person
VOXEL = (2.0, 2.0, 2.0)  # mm


def heads() -> tuple[Person, ...]:
    """Two people with every amount; the label's first digit is the amount, its last the person."""
    return tuple(
        Person(f"{place}{number}", sex, (Scan(50.0, 50, VOXEL, "RAS", atrophy=amount),))
        for place, amount in enumerate(AMOUNTS, start=1)
        for number, sex in ((1, "F"), (2, "M"))
    )


def predicted_ages(people: tuple[Person, ...], folder: Path, options: list[str]) -> pd.DataFrame:
    """Rows of ``brainage`` tables of a run without explanation."""
    write_sample(folder / "bids", people=people)
    output = folder / "out"
    arguments = [str(folder / "bids"), str(output), "participant", "-w", str(folder / "work")]
    run_app([*arguments, "--level", "minimal", "--skip-bids-validation", *options])
    found = Derivatives(output)
    rows = [found.rows(file) for file in found.select("brainage")]
    return pd.concat([row for row in rows if row is not None], ignore_index=True)


def fitted(table: pd.DataFrame) -> list[tuple[float, float]]:
    """Age and amount, for the ages of `AGES`; bounded by the amounts that were tried."""
    place = table["participant_id"].str.removeprefix("sub-").str[0].astype(int)
    means = table["predicted_age"].groupby(place).mean().to_numpy()
    rising = np.maximum.accumulate(means)
    return [(age, round(float(np.interp(age, rising, AMOUNTS)), 2)) for age in AGES]


def strictly_rising(points: list[tuple[float, float]]) -> list[tuple[float, float]]:
    """The same with every amount at least 0.05 above the one before, so that age always shows."""
    rising: list[tuple[float, float]] = []
    for age, amount in points:
        least = rising[-1][1] + 0.05 if rising else 0.0
        rising.append((age, round(max(amount, least), 2)))
    return rising


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="the people of the demo instead")
    parser.add_argument("options", nargs="*", help="of the app, after --")
    arguments = parser.parse_args()
    people = PEOPLE if arguments.check else heads()
    with tempfile.TemporaryDirectory() as scratch:
        table = predicted_ages(people, Path(scratch), arguments.options)
    columns = ["participant_id", "session_id", "chronological_age", "predicted_age"]
    columns += ["ci95_lower", "ci95_upper", "gap_z"]
    print(table[columns].to_string(index=False))
    if not arguments.check:
        points = strictly_rising(fitted(table))
        print("ATROPHY =", tuple(points))
        if points[-1][1] >= AMOUNTS[-1]:
            print(f"The model predicts no {AGES[-1]:g} years even with atrophy {AMOUNTS[-1]}.")


if __name__ == "__main__":
    main()
