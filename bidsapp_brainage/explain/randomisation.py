"""Weight randomisation: an explanation of the model must change when the model is destroyed.

Source: Adebayo et al. 2018, Sanity checks for saliency maps, NeurIPS 31:9505 (cascading
randomisation). An explanation that stays the same shows the image and not what was learned.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import pandas as pd
import torch
from torch import nn

from .agreement import compare
from .attributions import attribution_table, voxel_maps
from .nulls import NullParcels
from .scores import baseline_table

if TYPE_CHECKING:
    from .methods import ExplanationInput

COLUMNS = (
    *("method", "step", "layer", "n_regions"),
    *("spearman", "spearman_abs", "spearman_abs_per_ml"),
)
METHODS = ("occlusion", "lrp", "ig")


def weight_layers(network: nn.Module) -> list[str]:
    """Names of the layers with a weight matrix or kernel, from the output down."""
    return [
        name
        for name, module in reversed(list(network.named_modules()))
        if isinstance(weight := getattr(module, "weight", None), nn.Parameter) and weight.dim() > 1
    ]


def randomised(network: nn.Module, n_layers: int, *, seed: int) -> nn.Module:
    """A copy whose last layers have shuffled weights.

    Shuffling keeps the distribution of the weights, so that activations stay in a range that the
    layers behind can take. With one seed `n_layers` + 1 shuffles the same layers and one more.

    Parameters
    ----------
    network : torch.nn.Module
    n_layers : int
        How many, counted from the output; see :func:`weight_layers`.
    seed : int
    """
    shuffled = copy.deepcopy(network)
    source = torch.Generator().manual_seed(seed)
    for name in weight_layers(network)[:n_layers]:
        weight = shuffled.get_submodule(name).weight
        order = torch.randperm(weight.numel(), generator=source).to(weight.device)
        with torch.no_grad():
            weight.copy_(weight.reshape(-1)[order].reshape(weight.shape))
    return shuffled


def randomisation_table(
    subject: ExplanationInput, methods: Sequence[str], *, seed: int
) -> pd.DataFrame:
    """Agreement of explanations with those of ever more randomised networks.

    Parameters
    ----------
    subject : ExplanationInput
    methods : sequence of str
        Which of ``METHODS`` are checked, with the first baseline.
    seed : int
        Of the shuffling, the same for all members.

    Returns
    -------
    DataFrame
        Columns ``COLUMNS``; step 0 is the trained network, which agrees with itself.
    """
    layers = weight_layers(subject.members[0])
    total = len(methods) * (len(layers) + 1)
    rows = []
    for method in methods:
        trained = None
        for step in range(len(layers) + 1):
            members = tuple(randomised(member, step, seed=seed) for member in subject.members)
            found = _explain(replace(subject, members=members, progress=None), method, seed)
            trained = found if trained is None else trained
            layer = layers[step - 1] if step else None
            rows.append({"method": method, "step": step, "layer": layer, **compare(trained, found)})
            if subject.progress is not None:
                subject.progress(len(rows), total)
    return pd.DataFrame(rows, columns=list(COLUMNS))


def _explain(subject: ExplanationInput, method: str, seed: int) -> pd.DataFrame:
    if method != "occlusion":
        maps = voxel_maps(subject, method, baseline=subject.baseline, seed=seed)  # type: ignore[arg-type]
        return attribution_table(subject, maps, null=NullParcels((), ()), signed=True)
    effects = {subject.baseline: subject.region_effects()}
    table = baseline_table(subject.atlas, effects, voxel_ml=subject.voxel_ml)
    return table.assign(
        importance=table["delta_age"].abs(), importance_per_ml=table["delta_age_per_ml"].abs()
    )
