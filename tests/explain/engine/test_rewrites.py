"""Networks written anew answer as before, intact and occluded."""

from __future__ import annotations

import copy

import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from torch import nn

from bidsapp_brainage.explain.engine import OcclusionPlan, Run, trace
from bidsapp_brainage.explain.engine.graph import Kind
from bidsapp_brainage.explain.engine.rewrites.stacking import stack, stacks

from .additive import AdditiveBuilder, additive_case
from .comparison import full_logits, occluded, worst
from .random_networks import Builder

RELATIVE = 1e-12
SEEDS = st.integers(min_value=0, max_value=1 << 30)


def kinds(network):
    return [layer.kind for layer in network.layers]


@settings(max_examples=150, deadline=None, derandomize=True)
@given(SEEDS)
def test_sums_over_voxels_equal_full_passes(seed):
    builder, net, volume = additive_case(seed)
    network = trace(net, builder.shape)
    masks, fill, other = builder.masks(), builder.fill(torch.float64), builder.fill(torch.float64)
    plan = OcclusionPlan.from_masks(network, masks, chunk_regions=builder.rng.choice([1, 3, 16]))
    run = Run(plan, network, volume)
    scale = max(float(part.abs().max()) for part in full_logits(net, volume))

    def error(found, image):
        return worst(found, full_logits(net, image), scale)

    first = run.occlude(fill)
    assert error(run.logits, volume) < RELATIVE
    for k, mask in enumerate(masks):
        assert error([part[k] for part in first], occluded(volume, mask, fill)) < RELATIVE
    one = occluded(volume, masks[0], fill)
    both = occluded(one, masks[1], other)
    assert error(run.commit(0, fill), one) < RELATIVE
    assert error(run.commit(1, other), both) < RELATIVE
    for k, mask in enumerate(masks):  # with the fill of the first commit after the second
        found = run.occlude(fill, [k])
        assert error([part[0] for part in found], occluded(both, mask, fill)) < RELATIVE
    run.undo()
    found = run.occlude(fill, [2])
    assert error([part[0] for part in found], occluded(one, masks[2], fill)) < RELATIVE
    run.undo()
    assert all(torch.equal(a, b) for a, b in zip(first, run.occlude(fill), strict=True))


@settings(max_examples=40, deadline=None, derandomize=True)
@given(SEEDS)
def test_a_fill_with_the_volume_itself_changes_no_bit_of_a_sum(seed):
    builder, net, volume = additive_case(seed)
    network = trace(net, builder.shape)
    run = Run(OcclusionPlan.from_masks(network, builder.masks()), network, volume)
    for before, after in zip(run.logits, run.occlude(volume), strict=True):
        assert all(torch.equal(row, before) for row in after)


def test_a_sum_is_found_wherever_it_reaches_the_whole_grid():
    conv = nn.Conv3d(1, 4, 1)
    net = nn.Sequential(
        conv, nn.ReLU(), nn.Conv3d(4, 2, 1), nn.AvgPool3d(2), nn.Flatten(), nn.Linear(2 * 512, 1)
    )
    network = trace(net.eval(), (1, 16, 16, 16))
    assert kinds(network) == [Kind.INPUT, Kind.SUM]
    assert network.layers[1].products == 2  # features after the second convolution
    assert network.multiply_adds() == 2 * 16**3


@pytest.mark.parametrize(
    "layers",
    [
        [nn.Conv3d(1, 2, 3, padding=1), nn.ReLU()],  # reads neighbours
        [nn.Conv3d(1, 2, 1), nn.AvgPool3d(3, 1, 1), nn.ReLU()],  # bends sums of voxels
        [nn.Conv3d(1, 2, 1), nn.MaxPool3d(3, 1, 1)],
    ],
)
def test_what_does_not_add_up_is_left_alone(layers):
    net = nn.Sequential(*layers, nn.Flatten(), nn.Linear(2 * 12**3, 1))
    assert Kind.SUM not in kinds(trace(net.eval(), (1, 12, 12, 12)))


def members_of(builder_of, seed, n=3):
    """Networks of one geometry with weights of their own, with and without common functions."""
    first = builder_of(seed).network().double()
    members = [first, *(copy.deepcopy(first) for _ in range(n - 1))]
    for k, member in enumerate(members[1:]):
        torch.manual_seed(seed + k)
        for parameter in member.parameters():
            parameter.data += 0.3 * torch.randn_like(parameter)
    return members


@pytest.mark.parametrize("builder_of", [Builder, AdditiveBuilder])
@settings(max_examples=60, deadline=None, derandomize=True)
@given(seed=SEEDS)
def test_a_stack_gives_what_its_members_give(builder_of, seed):
    members = members_of(builder_of, seed)
    builder = builder_of(seed)
    builder.network()
    networks = [trace(member, builder.shape) for member in members]
    assume(stacks(networks))  # not where something else than weights reads the input
    network, masks, fill = stack(networks), builder.masks(), builder.fill(torch.float64)
    volume = torch.randn(builder.shape, dtype=torch.float64)
    plan = OcclusionPlan.from_masks(
        network,
        masks,
        block_bytes=builder.rng.choice([8, 8 << 20]),
        form=builder.rng.choice([None, "tiles", "boxes"]),
        small_grid=builder.rng.choice([0, 40, 1 << 14]),
    )
    run = Run(plan, network, volume)
    first = run.occlude(fill)
    assert sum(each.multiply_adds() for each in networks) == network.multiply_adds()
    one = occluded(volume, masks[0], fill)
    heads = run.commit(0, fill)
    run.undo()
    for k, member in enumerate(members):
        intact = full_logits(member, volume)
        scale = max(float(part.abs().max()) for part in intact)
        assert worst([part[k] for part in run.logits], intact, scale) < RELATIVE
        assert worst([part[k] for part in heads], full_logits(member, one), scale) < RELATIVE
        for region, mask in enumerate(masks):
            expected = full_logits(member, occluded(volume, mask, fill))
            assert worst([part[region, k] for part in first], expected, scale) < RELATIVE
    assert all(torch.equal(a, b) for a, b in zip(first, run.occlude(fill), strict=True))


def test_networks_of_different_geometry_are_not_stacked():
    small, large = (
        trace(nn.Sequential(nn.Conv3d(1, n, 3), nn.ReLU(), nn.Conv3d(n, 2, 3)).eval(), (1, 8, 8, 8))
        for n in (2, 3)
    )
    bent = trace(nn.Sequential(nn.Conv3d(1, 2, 3), nn.Conv3d(2, 2, 3)).eval(), (1, 8, 8, 8))
    assert not stacks([small, large])
    assert not stacks([small, bent])
    assert stacks([small, small])
