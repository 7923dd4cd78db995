"""The engine against full forward passes, on random networks, regions and fills."""

from __future__ import annotations

import os

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from bidsapp_brainage.explain.engine import OcclusionPlan, Run, trace

from .comparison import case, check, worst

RELATIVE = 1e-12
# `make nightly` draws thousands of new networks; the usual run draws the same ones every time.
N_NETWORKS = int(os.environ.get("BRAINAGE_ENGINE_NETWORKS", "300"))
USUAL = "BRAINAGE_ENGINE_NETWORKS" not in os.environ


@pytest.mark.slow
@settings(max_examples=N_NETWORKS, deadline=None, derandomize=USUAL)
@given(st.integers(min_value=0, max_value=1 << 30))
def test_equals_full_passes(seed):
    assert check(seed) < RELATIVE


@settings(max_examples=40, deadline=None, derandomize=True)
@given(st.integers(min_value=0, max_value=1 << 30))
def test_fill_with_the_volume_itself_changes_no_bit(seed):
    builder, net, volume, masks, _ = case(seed)
    network = trace(net, builder.shape)
    run = Run(OcclusionPlan.from_masks(network, masks), network, volume)
    for before, after in zip(run.logits, run.occlude(volume), strict=True):
        assert all(torch.equal(row, before) for row in after)


@settings(max_examples=40, deadline=None, derandomize=True)
@given(st.integers(min_value=0, max_value=1 << 30))
def test_order_of_commits_does_not_matter(seed):
    builder, net, volume, masks, fill = case(seed)
    network = trace(net, builder.shape)
    plan = OcclusionPlan.from_masks(network, masks)
    runs = [Run(plan, network, volume) for _ in range(2)]
    for region in range(len(masks)):
        forth = runs[0].commit(region, fill)
    for region in reversed(range(len(masks))):
        back = runs[1].commit(region, fill)
    scale = max(float(part.abs().max()) for part in forth)
    assert worst(forth, back, scale) < RELATIVE


@pytest.mark.parametrize("workers", [1, 2, 4])
def test_threads_and_repetitions_give_the_same_bits(workers):
    torch.manual_seed(1)
    net = torch.nn.Sequential(
        torch.nn.Conv3d(1, 8, 3, padding=1), torch.nn.MaxPool3d(2), torch.nn.ReLU(),
        torch.nn.Conv3d(8, 16, 3, padding=1), torch.nn.ReLU(),
        torch.nn.AdaptiveAvgPool3d(1), torch.nn.Flatten(), torch.nn.Linear(16, 4),
    ).eval()  # fmt: skip
    labels = np.random.default_rng(0).integers(0, 30, (20, 22, 24))
    network = trace(net, (1, 20, 22, 24))
    volume = torch.randn(1, 20, 22, 24)
    plan = OcclusionPlan.from_labels(network, labels, range(1, 31), chunk_regions=4)
    (reference,) = Run(plan, network, volume).occlude(0.0)
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    try:
        (found,) = Run(plan, network, volume).occlude(0.0, workers=workers)
    finally:
        torch.set_num_threads(before)
    assert torch.equal(found, reference)
