"""Plans within their limits, and runs that refuse what does not fit."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from captum.attr import FeatureAblation

from bidsapp_brainage.errors import BrainageError, UsageError
from bidsapp_brainage.explain.engine import OcclusionPlan, Run, trace
from bidsapp_brainage.model.networks.sfcn import SFCN

GRID = (20, 22, 18)
REGIONS = range(1, 13)


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(0)
    return trace(SFCN((4, 8, 8), n_bins=5).eval(), (1, *GRID))


@pytest.fixture(scope="module")
def labels():
    blocks = np.indices(GRID) // np.array([7, 8, 9])[:, None, None, None]
    return (blocks[0] * 6 + blocks[1] * 2 + blocks[2]).astype(np.int32)


@pytest.fixture(scope="module")
def volume():
    return torch.randn((1, *GRID), generator=torch.Generator().manual_seed(1))


def test_plan_of_another_network_is_refused(network, labels, volume):
    other = trace(SFCN((4, 9, 8), n_bins=5).eval(), (1, *GRID))
    with pytest.raises(UsageError, match="another geometry"):
        Run(OcclusionPlan.from_labels(network, labels, REGIONS), other, volume)


def test_tables_go_to_a_device_once(network, labels):
    made = OcclusionPlan.from_labels(network, labels, REGIONS, chunk_regions=5)
    device = torch.device("meta")  # any device that is not the CPU
    first = made.chunk_on(made.groups[0], device)
    assert {table.device.type for table in first.tensors()} == {"meta"}
    assert made.chunk_on(made.groups[0], device) is first
    assert made.chunk_on((0, 3), device) is not made.chunk_on((0, 3), device)
    assert made.chunk_on(made.groups[0], torch.device("cpu")) is made.chunk(made.groups[0])


def test_memory_of_tables_has_a_limit(network, labels, volume):
    whole = OcclusionPlan.from_labels(network, labels, REGIONS, chunk_regions=2).build()
    limit = whole.n_bytes // 3
    small = OcclusionPlan.from_labels(
        network, labels, REGIONS, chunk_regions=2, kept_bytes=limit
    ).build()
    assert 0 < small.n_bytes <= limit
    found, expected = (Run(p, network, volume).occlude(0.0)[0] for p in (small, whole))
    assert torch.equal(found, expected)


def test_regions_of_the_wrong_grid_are_refused(network, labels, volume):
    with pytest.raises(UsageError, match="grid of the network input"):
        OcclusionPlan.from_labels(network, labels[1:], REGIONS)
    with pytest.raises(UsageError, match="grid of the network input"):
        OcclusionPlan.from_masks(network, [labels[1:] == 1])
    with pytest.raises(UsageError, match="input of shape"):
        Run(OcclusionPlan.from_labels(network, labels, REGIONS), network, volume[:, 1:])
    with pytest.raises(UsageError, match="input of shape"):
        Run(OcclusionPlan.from_labels(network, labels, REGIONS), network, volume).occlude(
            volume[:, 1:]
        )


def test_large_regions_take_a_full_pass(network, volume):
    whole = np.ones(GRID, bool)
    made = OcclusionPlan.from_masks(network, [whole])
    assert made.work(0).prefers_dense
    assert not made.chunk((0,)).layers


def test_memory_shortage_halves_the_chunk(network, labels, volume, monkeypatch):
    made = OcclusionPlan.from_labels(network, labels, REGIONS)
    expected = Run(made, network, volume).occlude(0.0)[0]
    honest, sizes = Run._propagate, []

    def short(self, chunk, fill):
        sizes.append(len(chunk.regions))
        if len(chunk.regions) > 3:
            raise torch.OutOfMemoryError("out of memory")
        return honest(self, chunk, fill)

    monkeypatch.setattr(Run, "_propagate", short)
    found = Run(made, network, volume).occlude(0.0)[0]
    assert sizes[0] > 3
    torch.testing.assert_close(found, expected)


def test_hopeless_memory_and_other_errors_are_told_apart(network, labels, volume, monkeypatch):
    run = Run(OcclusionPlan.from_labels(network, labels, REGIONS), network, volume)
    for error, expected in (
        (MemoryError(), BrainageError),
        (RuntimeError("shapes differ"), RuntimeError),
    ):
        monkeypatch.setattr(Run, "_propagate", lambda *_, error=error: (_ for _ in ()).throw(error))
        with pytest.raises(expected):
            run.occlude(0.0)


def test_progress_counts_every_region_once(network, labels, volume):
    seen = []
    made = OcclusionPlan.from_labels(network, labels, [*REGIONS, 99], chunk_regions=4)
    Run(made, network, volume).occlude(0.0, workers=2, progress=lambda *now: seen.append(now))
    assert seen[-1] == (13, 13)
    assert [done for done, _ in seen] == sorted({done for done, _ in seen})


def test_regions_come_in_the_order_asked_for_even_twice(network, labels, volume):
    run = Run(OcclusionPlan.from_labels(network, labels, REGIONS), network, volume)
    everything = run.occlude(0.0)[0]
    asked = [7, 2, 7, 11, 2]
    torch.testing.assert_close(run.occlude(0.0, asked)[0], everything[asked])
    assert run.occlude(0.0, [])[0].shape == (0, 5)


def test_undo_without_commit_is_an_error(network, labels, volume):
    run = Run(OcclusionPlan.from_labels(network, labels, REGIONS), network, volume)
    run.commit(3)
    run.undo()
    with pytest.raises(UsageError, match="Nothing was committed"):
        run.undo()


def test_captum_gives_the_same_effects(labels, volume):
    net = SFCN((4, 8, 8), n_bins=5).double().eval()
    network, wide = trace(net, (1, *GRID)), volume.double()
    made = OcclusionPlan.from_labels(network, labels, REGIONS)
    ours = Run(made, network, wide).occlude(0.0)[0][:, 2]
    features = torch.from_numpy(labels.astype(np.int64))[None, None]
    theirs = FeatureAblation(lambda x: net(x)[:, 2]).attribute(wide[None], feature_mask=features)
    intact = net(wide[None])[0, 2]
    for number, index in enumerate(REGIONS):
        one = theirs[features == index][0]
        assert float(intact - ours[number]) == pytest.approx(float(one), abs=1e-12)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device on this machine")
def test_gpu_and_cpu_agree(labels, volume):
    logits = []
    for device in ("cpu", "cuda"):
        torch.manual_seed(0)
        network = trace(SFCN((4, 8, 8), n_bins=5).eval().to(device), (1, *GRID))
        plan = OcclusionPlan.from_labels(network, labels, REGIONS)
        logits.append(Run(plan, network, volume).occlude(0.0)[0].cpu())
    torch.testing.assert_close(logits[1], logits[0], atol=1e-5, rtol=1e-5)
