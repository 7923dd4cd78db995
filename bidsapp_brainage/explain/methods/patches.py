"""An age of every patch and region, of models that give ages of patches."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from bidsapp_brainage.catalogue.lookup import columns_of
from bidsapp_brainage.explain.predictions import members_sd
from bidsapp_brainage.explain.session import ExplanationSession, Results
from bidsapp_brainage.model.networks.patches import PatchLinear, region_means
from bidsapp_brainage.model.specs import PatchFacts


def explain(session: ExplanationSession) -> Results:
    """Ages of regions, beside the errors that the model card tells; for networks of patches.

    Returns
    -------
    dict
        ``patches``, a row for every region, and ``patches_map``, ages (years) of the voxels of the
        brain; 0 elsewhere.
    """
    inputs = session.inputs
    networks = [member for member in inputs.ensemble.members if isinstance(member, PatchLinear)]
    ages = patch_ages(networks, inputs.volume)
    maps = [networks[0].spread_over_voxels(values) for values in ages]
    table = inputs.atlas.reindex(columns=["index", "name", "hemisphere", "lobe", "network"])
    table = table.reset_index(drop=True).assign(n_voxels=session.region_sizes)
    by_member = np.array([_of_regions(values, inputs.labels, inputs.indices) for values in maps])
    table["patch_age"] = by_member.mean(axis=0)
    table["patch_age_sd_members"] = members_sd(by_member)
    age = np.nan if inputs.age is None else inputs.age
    table["patch_gap"] = table["patch_age"] - age
    usual, error = _usual(inputs.patches, networks[0], age)
    table["patch_gap_corrected"] = table["patch_age"] - _of_regions(
        usual, inputs.labels, inputs.indices
    )
    table["patch_mae"] = _of_regions(error, inputs.labels, inputs.indices)
    known = inputs.brain & np.isfinite(maps[0])
    shown = np.where(known, np.mean(maps, axis=0), 0.0).astype(np.float32)
    return {"patches": table[columns_of("patches")], "patches_map": shown}


def patch_ages(networks: Sequence[PatchLinear], volume: NDArray[np.float32]) -> NDArray[np.float64]:
    """Ages of the patches of one volume (D, H, W) by every network, (n_networks, *places)."""
    x = torch.from_numpy(np.ascontiguousarray(volume))[None, None]
    with torch.inference_mode():
        ages = [network.patch_ages(x.to(network.weights.device))[0] for network in networks]
    return np.stack([found.cpu().numpy() for found in ages])


def _usual(
    facts: PatchFacts | None, network: PatchLinear, age: float
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """At every voxel, the age usual for somebody of this age, and the error; NaN if unknown."""
    if facts is None:
        nothing = np.full(network.places, np.nan)
        return network.spread_over_voxels(nothing), network.spread_over_voxels(nothing)
    slope, intercept, error = (
        np.array([np.nan if value is None else value for value in facts[name]], dtype=np.float64)
        for name in ("slope", "intercept", "mae")
    )
    usual = (slope * age + intercept).reshape(network.places)
    return network.spread_over_voxels(usual), network.spread_over_voxels(
        error.reshape(network.places)
    )


def _of_regions(
    values: NDArray[np.floating], labels: NDArray[np.integer], indices: Sequence[int]
) -> NDArray[np.float64]:
    found = region_means(values, labels)
    return np.array([found.get(index, np.nan) for index in indices])
