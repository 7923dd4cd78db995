"""Models of regional morphometry compared, datasets left out; coVariance networks across atlases.

``python -m benchmarks.morphometry TABLE``: a wide table of FreeSurfer measures with ages and
datasets. Raw predictions; nothing is tuned on the people asked. ``--given NAME=TSV`` adds
predictions that ``brainage-model train-table`` wrote (``NAME_leftout.tsv``).
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import MappingProxyType

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from benchmarks.measure import markdown
from bidsapp_brainage.io import read_tsv
from bidsapp_brainage.morphometry.features import Feature, Floats, standardise
from bidsapp_brainage.morphometry.models import CovarianceModel, build
from bidsapp_brainage.training import calibration
from bidsapp_brainage.training.crossval import SCANNER
from bidsapp_brainage.training.morphometry.fitting import balancing_weights
from bidsapp_brainage.training.morphometry.left_out import (
    LINEAR,
    Architecture,
    answer,
    covariance_architecture,
    fit,
)
from bidsapp_brainage.training.morphometry.people import People, parts_of, read_people
from bidsapp_brainage.training.morphometry.publish import accuracy, in_parts, over_bins

from .candidates.regressors import boosting

Learner = Callable[[NDArray[np.bool_], NDArray[np.bool_]], Floats]

#: Regions that Desikan has and DKT lacks.
NOT_IN_DKT = ("bankssts", "frontalpole", "temporalpole")
LOBES = MappingProxyType({
    "frontal": "caudalmiddlefrontal lateralorbitofrontal medialorbitofrontal paracentral "
    "parsopercularis parsorbitalis parstriangularis precentral rostralmiddlefrontal "
    "superiorfrontal frontalpole",
    "temporal": "bankssts entorhinal fusiform inferiortemporal middletemporal parahippocampal "
    "superiortemporal temporalpole transversetemporal",
    "parietal": "inferiorparietal postcentral precuneus superiorparietal supramarginal",
    "occipital": "cuneus lateraloccipital lingual pericalcarine",
    "cingulate": "caudalanteriorcingulate isthmuscingulate posteriorcingulate "
    "rostralanteriorcingulate",
    "insula": "insula",
})  # fmt: skip


def main(arguments: list[str] | None = None) -> int:
    """Print errors of all candidates, and those of the ridge regression by age."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("table", type=Path)
    parser.add_argument("--scanner-column", default="dataset")
    parser.add_argument("--parts", type=int, default=5, help="of datasets; 0: each alone")
    parser.add_argument("--members", type=int, default=1, help="coVariance networks of each")
    parser.add_argument("--given", action="append", default=[], metavar="NAME=TSV")
    args = parser.parse_args(arguments)
    people = read_people(args.table, args.scanner_column)
    part = parts_of(people.table[SCANNER].tolist(), args.parts)
    tables = {}
    for name, learner in _candidates(people, args.table, args.members):
        predicted = np.zeros(len(part))
        for number in np.unique(part):
            predicted[part == number] = learner(part != number, part == number)
        tables[name] = people.table.assign(predicted_age=predicted)
        print(name, file=sys.stderr, flush=True)
    for name, _, path in (text.partition("=") for text in args.given):
        tables[name] = read_tsv(Path(path))
    rows = [{"model": name, **_measured(table)} for name, table in tables.items()]
    print(_text(pd.DataFrame(rows)), "", _text(_by_age(tables["ridge"])), sep="\n")
    return 0


def _candidates(people: People, path: Path, members: int) -> Iterator[tuple[str, Learner]]:
    """Names, and what predicts ages of those asked by those learned from (masks of people)."""
    networks = covariance_architecture(members)
    thickness = people.seeing(_kind(people, "thickness"))
    lobes = _lobes(thickness, path)
    yield "mean age", lambda learnt, asked: np.full(asked.sum(), people.ages[learnt].mean())
    yield "ridge", lambda learnt, asked: _fitted(people, LINEAR, learnt, asked)
    yield (
        "ridge, people of equal weight",
        (lambda learnt, asked: _fitted(people, LINEAR, learnt, asked, balanced=False)),
    )
    yield "boosting", lambda learnt, asked: _boosted(people, learnt, asked, balanced=True)
    yield (
        "boosting, people of equal weight",
        (lambda learnt, asked: _boosted(people, learnt, asked, balanced=False)),
    )
    yield (
        "ridge, asked without the regions that DKT lacks",
        (lambda learnt, asked: _fitted(people, LINEAR, learnt, asked, lack=NOT_IN_DKT)),
    )
    yield (
        "ridge, thickness of 68 regions",
        (lambda learnt, asked: _fitted(thickness, LINEAR, learnt, asked)),
    )
    for name, learned, seen in (
        ("68 regions", thickness, thickness),
        ("12 lobes", lobes, lobes),
        ("68 regions, asked on 12 lobes", thickness, lobes),
        ("12 lobes, asked on 68 regions", lobes, thickness),
    ):
        yield (
            f"coVariance network, thickness of {name}",
            (
                lambda learnt, asked, learned=learned, seen=seen: _carried(
                    learned, seen, networks, learnt, asked
                )
            ),
        )
    yield (
        "the same of 68 regions, asked without those that DKT lacks",
        (lambda learnt, asked: _fitted(thickness, networks, learnt, asked, lack=NOT_IN_DKT)),
    )


def _text(table: pd.DataFrame) -> str:
    cells = ([f"{x:.3g}" if isinstance(x, float) else x for x in row] for row in table.to_numpy())
    return markdown(list(map(str, table.columns)), cells)


def _kind(people: People, kind: str) -> NDArray[np.bool_]:
    return np.array([feature.kind == kind for feature in people.features])


def _fitted(
    people: People,
    architecture: Architecture,
    learnt: NDArray[np.bool_],
    asked: NDArray[np.bool_],
    *,
    balanced: bool = True,
    lack: tuple[str, ...] = (),
) -> Floats:
    tensors = fit(people.part(learnt), architecture, balanced=balanced)
    x = people.x[asked].copy()
    x[:, [any(f"_{name}_" in f.name for name in lack) for f in people.features]] = np.nan
    return answer(tensors, architecture, x)


def _boosted(
    people: People, learnt: NDArray[np.bool_], asked: NDArray[np.bool_], *, balanced: bool
) -> Floats:
    ages = people.ages[learnt]
    weights = balancing_weights(ages) if balanced else np.ones(len(ages))
    return boosting(people.x[learnt], ages, weights)(people.x[asked])[0]


def _carried(
    learned: People,
    seen: People,
    architecture: Architecture,
    learnt: NDArray[np.bool_],
    asked: NDArray[np.bool_],
) -> Floats:
    """Networks of one parcellation with the covariance of another; ages of the latter unseen."""
    model = build(architecture, fit(learned.part(learnt), architecture))
    known = seen.x[learnt]
    center, scale = known.mean(axis=0), known.std(axis=0)
    covariance = np.cov(standardise(known, center, scale), rowvar=False)
    carried = CovarianceModel(model.networks, covariance, np.zeros(len(center)))
    return carried.ages(standardise(seen.x[asked], center, scale)).mean(axis=0)


def _lobes(thickness: People, path: Path) -> People:
    """Mean thickness of lobes, weighted by the area of their regions."""
    table = pd.read_csv(path, sep="\t", na_values=["n/a"], low_memory=False)
    columns, names = [], []
    for side in ("lh", "rh"):
        for lobe, regions in LOBES.items():
            own = [f"{side}_{region}" for region in regions.split()]
            area = table[[f"{name}_area" for name in own]].to_numpy(dtype=float)
            thick = table[[f"{name}_thickness" for name in own]].to_numpy(dtype=float)
            columns.append((area * thick).sum(axis=1) / area.sum(axis=1))
            names.append(Feature(f"{side}_{lobe}_thickness", "thickness"))
    return People(thickness.table, np.stack(columns, axis=1), tuple(names))


def _measured(table: pd.DataFrame) -> dict[str, object]:
    """Errors, and the coverage of intervals of one width calibrated without the dataset."""
    people = calibration.check(in_parts(table.assign(predicted_age_sd=0.0, training_distance=1.0)))
    bounds = calibration.nested(people, "constant").drop_duplicates("person")
    ages = people["age"].to_numpy()
    inside = (bounds["lower"] <= ages) & (ages <= bounds["upper"])
    half = (bounds["upper"] - bounds["lower"]).mean() / 2
    return {**accuracy(table), "coverage": inside.mean(), "half width": half}


def _by_age(table: pd.DataFrame) -> pd.DataFrame:
    ages, errors = table["age"].to_numpy(), (table["predicted_age"] - table["age"]).to_numpy()
    found = {
        "n": over_bins(errors, ages, "size"),
        "mae": over_bins(np.abs(errors), ages),
        "bias": over_bins(errors, ages),
    }
    return pd.DataFrame(found).rename_axis("age from").reset_index()


if __name__ == "__main__":
    raise SystemExit(main())
