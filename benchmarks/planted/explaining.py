"""Every explanation that the app has, and candidates, for people of one cell."""

from __future__ import annotations

import copy
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from torch import nn

from bidsapp_brainage import io
from bidsapp_brainage.catalogue.baselines import BASELINES
from bidsapp_brainage.errors import BrainageError
from bidsapp_brainage.explain.ensemble import Ensemble
from bidsapp_brainage.explain.methods import find
from bidsapp_brainage.explain.occlusion import occlude
from bidsapp_brainage.explain.session import ExplanationInput, ExplanationSession

from .anatomies import VOXEL_MM
from .answers import Change, age_changes
from .fills import CANDIDATES, Person, Reference
from .networks import NETWORKS, decode, predicted
from .training import Cell, load, progress
from .warps import shrinking

N_EXPLAINED = 4
NULL_PARCELS = 10
PERMUTATIONS = 4
LOST = 0.1  # of each region's volume, for the network's own response
VOXEL_ML = VOXEL_MM**3 / 1000
RESPONSE = "response"
_SIGNED = {"": "delta_age", ", per ml": "delta_age_per_ml", ", z": "z_null"}
_UNSIGNED = {"": "importance", ", per ml": "importance_per_ml"}
Scores = dict[str, NDArray[np.float64]]


def explain(cell: Cell, folder: Path) -> None:
    """Write ``NETWORK.tsv``: one row for each person and region, one column for each score."""
    todo = [name for name in NETWORKS if not finished(folder, name)]
    if not todo:
        return
    learners, people = cell.learners(), cell.held_out()
    known = Reference.of(learners)
    for name in todo:
        network = load(folder, name)
        ages = predicted(network, people)
        step = progress(f"{cell.name}: explaining the {name} network")
        rows = []
        for k in range(N_EXPLAINED):
            one = Person(people.volumes[k].astype(np.float32), people.labels[k],
                         list(cell.anatomy.regions["index"]), float(ages[k]))  # fmt: skip
            scores = explanations(network, one, known, cell.anatomy.regions)
            table = pd.DataFrame(scores)
            table.insert(0, "person", k)
            table.insert(1, "age", people.ages[k])
            table.insert(2, "index", one.indices)
            table.insert(3, "n_voxels", [int((one.labels == i).sum()) for i in one.indices])
            rows.append(table)
            step(k + 1, N_EXPLAINED)
        io.write_tsv(_table(folder, name), pd.concat(rows, ignore_index=True))


def read(folder: Path, name: str) -> pd.DataFrame:
    """What :func:`explain` wrote."""
    return io.read_tsv(_table(folder, name))


def finished(folder: Path, name: str) -> bool:
    """Whether :func:`explain` wrote the table of a network."""
    return _table(folder, name).is_file()


def explanations(
    network: nn.Module, person: Person, known: Reference, regions: pd.DataFrame
) -> Scores:
    """Scores of all regions by the name of the explanation; years lost with the region."""
    ensemble = Ensemble((network,), decode)
    scores: Scores = {RESPONSE: response(ensemble, person)}
    first = _session(ensemble, person, known, regions, BASELINES[0].key)
    for card in BASELINES:
        session = _with_baseline(first, card.key)
        table = find("occlusion")(session)["table"]
        scores |= {f"occlusion, {card.key}{after}": table[column].to_numpy()
                   for after, column in _SIGNED.items()}  # fmt: skip
        scores |= _voxelwise(session, "ig", f"integrated gradients, {card.key}")
    scores |= _voxelwise(first, "lrp", "relevance propagation")
    scores |= _voxelwise(first, "noise", "learned noise")
    shapley = find("shapley")(first, shapley_permutations=PERMUTATIONS)["shapley"]
    values = shapley.set_index("index")["shapley_age"]
    scores["Shapley values, background"] = values.reindex(person.indices).to_numpy()
    for name, make in CANDIDATES.items():
        changes = [
            occlude(ensemble, person.volume, person.labels, person.indices, baseline=fill)
            for fill in make(person, known)
        ]
        scores[f"occlusion, {name}"] = np.mean([table["delta_age"] for table in changes], axis=0)
    return scores


def response(ensemble: Ensemble, person: Person, share: float = LOST) -> NDArray[np.float64]:
    """Change of the age when each region shrinks by a share of its volume."""
    changes = {
        k: _shrunk(person, index, share)
        for k, index in enumerate(person.indices)
        if (person.labels == index).any()
    }
    found = age_changes(ensemble, person.volume, changes)
    return np.array([found.get(k, np.nan) for k in range(len(person.indices))])


def _shrunk(person: Person, index: int, share: float) -> Change:
    field = shrinking(person.labels == index, share)
    return field.box, field.pull(person.volume)


def _session(
    ensemble: Ensemble, person: Person, known: Reference, regions: pd.DataFrame, baseline: str
) -> ExplanationSession:
    return ExplanationSession(ExplanationInput(
        ensemble=ensemble, volume=person.volume, labels=person.labels.astype(np.int32),
        atlas=regions, voxel_ml=VOXEL_ML, baselines=(baseline,), template=known.mean,
        mask=person.labels > 0, null_parcels=NULL_PARCELS,
    ))  # fmt: skip


def _with_baseline(first: ExplanationSession, baseline: str) -> ExplanationSession:
    """Another baseline for the same pieces, which are made once."""
    other = copy.copy(first)
    _ = first.blocks, first.nulls, first.occluder
    other.__dict__ |= {name: first.__dict__[name] for name in ("blocks", "nulls", "occluder")}
    other.inputs = replace(first.inputs, baselines=(baseline,))
    other.results, other.unrounded, other._effects = {}, {}, {}
    return other


def _voxelwise(session: ExplanationSession, method: str, name: str) -> Scores:
    """Sums of a method's map; nothing where it does not know the network."""
    try:
        table = find(method)(session)[method]
    except BrainageError:
        return {}
    signed = table["delta_age"].notna().any()
    columns = _SIGNED if signed else _UNSIGNED
    return {f"{name}{after}": table[column].to_numpy() for after, column in columns.items()}


def _table(folder: Path, name: str) -> Path:
    return folder / f"{name}.tsv"
