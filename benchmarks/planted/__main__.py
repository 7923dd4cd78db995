"""Contributions of regions against a known truth, in one command that can be stopped and resumed.

``python -m benchmarks.planted FOLDER [--people DERIVATIVES ...]``: plants ageing in deformed
copies of the template and in phantoms (made at run time), and in the people of DERIVATIVES where
given; trains small networks, explains held-out people by every method of the app and by candidates,
and prints how well the planted regions are found. With DERIVATIVES the embedded network is also
asked what it answers when regions of ``--response`` real people shrink, swell or thin. All that is
finished is kept in FOLDER. Needs the extra ``xai``.
"""

from __future__ import annotations

import argparse
import itertools
import sys
from collections.abc import Sequence
from pathlib import Path

import pandas as pd
import torch

from bidsapp_brainage import io

from . import explaining, response, training
from .anatomies import Anatomy, phantom_anatomy, real_anatomy, template_anatomy
from .networks import NETWORKS
from .plants import NOTHING, PLANTS
from .scores import SCORES, cell_scores, false_alarms
from .tables import accuracy_table, alarm_table, plant_table, planted_table, response_table
from .training import Cell

LEARNED_R = 0.5  # of predicted and planted age of held-out people; networks below are left out


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__)
    add = parser.add_argument
    add("folder", type=Path, help="where results are kept")
    add("--people", type=Path, nargs="+", default=[], help="folders of derivatives of the app")
    add("--seeds", type=int, default=2, help="people and networks drawn anew so many times")
    add("--response", type=int, default=20, help="real people whose regions are changed")
    add("--only-tables", action="store_true", help="print what is finished")
    return parser


def main(arguments: list[str] | None = None) -> int:
    """Run what is missing and print the tables."""
    args = _parser().parse_args(arguments)
    torch.set_num_threads(1)
    cells = _cells(args.people, args.seeds)
    if not args.only_tables:
        for cell in cells:
            training.train(cell, args.folder / cell.name)
            explaining.explain(cell, args.folder / cell.name)
        if args.people and args.response:
            _respond(args.people, args.response, args.folder)
    for title, table in tables(cells, args.folder).items():
        print(f"\n{title}\n\n{table}")
    return 0


def _cells(people: Sequence[Path], seeds: int) -> list[Cell]:
    anatomies: list[Anatomy] = [template_anatomy(), phantom_anatomy()]
    anatomies += [real_anatomy(people)] if people else []
    return [
        Cell(anatomy, plant, seed)
        for seed in range(seeds)
        for anatomy in anatomies
        for plant in PLANTS[anatomy.name]
    ]


def tables(cells: Sequence[Cell], folder: Path) -> dict[str, str]:
    """Markdown tables, by title, of the cells and people that are finished."""
    accuracy, scores, alarms = [], [], []
    for cell, name in itertools.product(cells, NETWORKS):
        if not explaining.finished(folder / cell.name, name):
            continue
        table = explaining.read(folder / cell.name, name)
        facts = {"network": name, "plant": cell.plant.name, "anatomy": cell.anatomy.name}
        facts["cell"] = f"{cell.name} {name}"
        learned = training.accuracy(folder / cell.name, name)
        if cell.plant is NOTHING:
            alarms.append(false_alarms(table, explaining.NULL_PARCELS).assign(**facts))
            continue
        accuracy.append({**facts, **learned})
        if learned["r"] >= LEARNED_R:
            found = cell_scores(table, cell.plant, cell.anatomy.regions)
            scores.append(found.assign(**facts))
    made = {"What the networks learned": accuracy_table(accuracy)} if accuracy else {}
    made |= _planted_tables(scores) if scores else {}
    if alarms:
        rows = pd.concat(alarms, ignore_index=True)
        made["False alarms where nothing was planted"] = alarm_table(rows)
    answered = sorted((folder / "response").glob("*.tsv"))
    if answered:
        people = [io.read_tsv(path) for path in answered]
        made[f"Response of the embedded network, {len(people)} people"] = response_table(people)
    return made


def _planted_tables(scores: Sequence[pd.DataFrame]) -> dict[str, str]:
    columns = ["explanation", "person", "cell", "network", "plant", "anatomy", *SCORES]
    rows = pd.concat(scores, ignore_index=True).reindex(columns=columns)
    made = {}
    for name in NETWORKS:
        own = rows[rows["network"] == name]
        if len(own):
            made[f"Planted regions, {name} network"] = planted_table(own)
            made[f"Area under the curve by plant, {name} network"] = plant_table(own)
    return made


def _respond(folders: Sequence[Path], n_people: int, folder: Path) -> None:
    """Ask the embedded network about people spread over all folders."""
    images = response.find_people(folders)
    chosen = images[:: max(1, len(images) // n_people)][:n_people]
    step = training.progress("response of the embedded network: people")
    for number, image in enumerate(chosen):
        target = folder / "response" / f"{image.name.split('_space-')[0]}.tsv"
        if not target.is_file():
            io.write_tsv(target, response.respond(response.read_person(image)))
        step(number + 1, len(chosen))


if __name__ == "__main__":
    sys.exit(main())
