"""Weight randomisation: an explanation of the model must change when the model is destroyed.

Source: Adebayo et al. 2018, Sanity checks for saliency maps, NeurIPS 31:9505 (cascading
randomisation). An explanation that stays the same shows the image and not what was learned.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence

import pandas as pd
import torch
from torch import nn

from bidsapp_brainage.catalogue.lookup import columns_of
from bidsapp_brainage.catalogue.methods import METHODS
from bidsapp_brainage.explain.methods import find
from bidsapp_brainage.explain.methods.agreement import compare, explanations_of
from bidsapp_brainage.explain.scores import baseline_table
from bidsapp_brainage.explain.session import ExplanationSession, Results

COLUMNS = tuple(columns_of("randomisation"))


def explain(session: ExplanationSession) -> Results:
    """Agreement of the session's explanations with those of ever more randomised networks.

    Returns
    -------
    dict
        ``randomisation``; see :func:`randomisation_table`.
    """
    checked = [card.key for card in METHODS if card.randomised and card.key in session.results]
    return {"randomisation": randomisation_table(session, checked)}


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
        weight = shuffled.get_parameter(f"{name}.weight")
        order = torch.randperm(weight.numel(), generator=source).to(weight.device)
        with torch.no_grad():
            weight.copy_(weight.reshape(-1)[order].reshape(weight.shape))
    return shuffled


def randomisation_table(session: ExplanationSession, methods: Sequence[str]) -> pd.DataFrame:
    """Agreement of explanations with those of ever more randomised networks.

    Parameters
    ----------
    session : ExplanationSession
    methods : sequence of str
        Which are checked, with the first baseline.

    Returns
    -------
    DataFrame
        Columns ``COLUMNS``; step 0 is the trained network, which agrees with itself. The weights
        of all members are shuffled with the seed of the input.
    """
    inputs = session.inputs
    trained_members = inputs.ensemble.members
    layers = weight_layers(trained_members[0])
    total = len(methods) * (len(layers) + 1)
    rows = []
    for method in methods:
        trained = explanation = _trained(session, method)
        for step in range(len(layers) + 1):
            if step:
                members = [randomised(member, step, seed=inputs.seed) for member in trained_members]
                explanation = _explanation(session.with_members(members), method)
            layer = layers[step - 1] if step else None
            agreement = compare(trained, explanation)
            rows.append({"method": method, "step": step, "layer": layer, **agreement})
            if inputs.progress is not None:
                inputs.progress(len(rows), total)
    return pd.DataFrame(rows, columns=list(COLUMNS))


def _trained(session: ExplanationSession, method: str) -> pd.DataFrame:
    """Explanation of the trained network with the first baseline, if possible one made already."""
    if method == "occlusion":
        return _explanation(session, method)
    if method not in session.unrounded:
        return _explanation(session.with_members(session.inputs.ensemble.members), method)
    table = session.unrounded[method][method]
    assert isinstance(table, pd.DataFrame)
    return table[table["baseline"].isna() | (table["baseline"] == session.inputs.baseline)]


def _explanation(session: ExplanationSession, method: str) -> pd.DataFrame:
    """Table of regions as :func:`.agreement.compare` takes it."""
    if method != "occlusion":
        table = find(method)(session, **session.inputs.options.get(method, {}))[method]
        assert isinstance(table, pd.DataFrame)
        return table
    inputs = session.inputs
    effects = {inputs.baseline: session.region_effects()}
    table = baseline_table(inputs.atlas, effects, voxel_ml=inputs.voxel_ml)
    return next(iter(explanations_of(table, []).values()))
