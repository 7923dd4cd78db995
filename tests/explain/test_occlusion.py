"""Occlusion against the obvious loop, and its invariances."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from bidsapp_brainage.errors import BrainageError, UsageError
from bidsapp_brainage.explain import ensemble
from bidsapp_brainage.explain.ensemble import Ensemble
from bidsapp_brainage.explain.occlusion import occlude
from bidsapp_brainage.model.prediction import decoder, predict
from bidsapp_brainage.model.weights.loading import load_members
from tests.explain.toy import N_BINS, decode, tiny_network
from tests.model.tiny import make_card


def loop(networks, volume, labels, indices, fill):
    """One full pass per region, nothing shared: the definition."""

    def answer(image):
        batch = torch.as_tensor(image)[None, None]
        parts = [torch.softmax(net(batch), 1)[0].detach().numpy() for net in networks]
        p = np.mean(parts, axis=0)
        return p, float(p @ (14.0 + 2.0 * (np.arange(N_BINS) + 0.5)))

    p0, age0 = answer(volume)
    rows = []
    for index in indices:
        p, age = answer(np.where(labels == index, fill, volume))
        m = (p + p0) / 2
        js = 0.5 * np.sum(p * np.log(p / m)) + 0.5 * np.sum(p0 * np.log(p0 / m))
        rows.append((age - age0, -np.sum(p * np.log(p)) + np.sum(p0 * np.log(p0)), js))
    return age0, np.array(rows)


@settings(max_examples=40, deadline=None)
@given(
    shape=st.tuples(*[st.integers(2, 7)] * 3),
    seed=st.integers(0, 2**16),
    n_members=st.integers(1, 3),
    batch_size=st.integers(1, 6),
    tensor_fill=st.booleans(),
    engine=st.sampled_from(["incremental", "loop"]),
)
def test_matches_one_pass_per_region_in_float64(
    shape, seed, n_members, batch_size, tensor_fill, engine
):
    rng = np.random.default_rng(seed)
    volume = rng.normal(size=shape)
    labels = rng.integers(0, 5, size=shape)
    present = [int(i) for i in rng.permutation(np.unique(labels[labels > 0]))]
    networks = [tiny_network(seed + k).double() for k in range(n_members)]
    fill = rng.normal(size=shape).astype(np.float32) if tensor_fill else np.full(shape, -1.5)
    got = occlude(
        Ensemble(tuple(networks), decode, engine=engine, batch_size=batch_size),
        volume,
        labels,
        present,
        baseline=fill if tensor_fill else "background",
        background=-1.5,
    )
    age, expected = loop(networks, volume, labels, present, fill.astype(np.float64))
    assert got.attrs["intact_age"] == pytest.approx(age, abs=1e-10)
    if present:
        columns = ["delta_age", "delta_entropy", "js_divergence"]
        np.testing.assert_allclose(got[columns].to_numpy(), expected, atol=1e-9)
    assert got["index"].tolist() == present
    assert got["n_voxels"].tolist() == [int((labels == i).sum()) for i in present]


@pytest.fixture
def case():
    rng = np.random.default_rng(3)
    volume = rng.normal(size=(8, 9, 7)).astype(np.float32)
    labels = rng.integers(0, 12, size=volume.shape)
    return (tiny_network(1, inplace=True), tiny_network(2)), volume, labels


def test_batch_size_does_not_change_the_answer(case):
    networks, volume, labels = case
    results = [
        occlude(Ensemble(networks, decode, batch_size=size), volume, labels, range(1, 12))
        for size in (1, 3, 11, None)
    ]
    for other in results[1:]:
        difference = (other["delta_age"] - results[0]["delta_age"]).abs().max()
        assert difference < 1e-4


def test_same_call_gives_same_bits_and_leaves_the_input_alone(case):
    networks, volume, labels = case
    before = volume.copy()
    first = occlude(Ensemble(networks, decode), volume, labels, [1, 2])
    second = occlude(Ensemble(networks, decode), volume, labels, [1, 2])
    assert first.equals(second)
    np.testing.assert_array_equal(volume, before)


def test_fill_equal_to_input_changes_nothing(case):
    networks, volume, labels = case
    got = occlude(Ensemble(networks, decode), volume, labels, [1, 2, 3], baseline=volume)
    assert (got[["delta_age", "delta_entropy", "js_divergence"]] == 0).all(axis=None)


def test_empty_region_has_a_row_without_numbers(case):
    networks, volume, labels = case
    got = occlude(Ensemble(networks, decode), volume, labels, [99, 1])
    assert got["n_voxels"].tolist()[0] == 0
    assert got.loc[0, ["delta_age", "delta_entropy", "js_divergence"]].isna().all()
    assert got.loc[1].notna().all()
    assert occlude(Ensemble(networks, decode), volume, labels, []).empty


def test_whole_volume_occluded_is_the_answer_to_the_fill(case):
    networks, volume, _labels = case
    everything = np.ones(volume.shape, dtype=int)
    got = occlude(Ensemble(networks, decode), volume, everything, [1], background=0.5)
    age, _ = loop(networks, np.full(volume.shape, 0.5, np.float32), everything, [], None)
    assert got.attrs["intact_age"] + got["delta_age"][0] == pytest.approx(age, abs=1e-4)


@pytest.mark.parametrize("error", [MemoryError(), torch.OutOfMemoryError("out of memory")])
def test_memory_shortage_halves_the_batch_and_goes_on(case, monkeypatch, error):
    networks, volume, labels = case
    whole = occlude(Ensemble(networks, decode), volume, labels, range(1, 12))
    sizes = []
    honest = ensemble.FullPasses._pass

    def short(self, regions, fill):
        sizes.append(len(regions))
        if len(regions) > 2:
            raise error
        return honest(self, regions, fill)

    monkeypatch.setattr(ensemble.FullPasses, "_pass", short)
    eight = Ensemble(networks, decode, batch_size=8, engine="loop")
    got = occlude(eight, volume, labels, range(1, 12))
    assert sizes[:3] == [8, 4, 2]
    np.testing.assert_allclose(got["delta_age"], whole["delta_age"], atol=1e-4)


def test_hopeless_memory_and_other_errors_are_told_apart(case, monkeypatch):
    networks, volume, labels = case

    def fail(error):
        def raise_it(self, regions, fill):
            raise error

        monkeypatch.setattr(ensemble.FullPasses, "_pass", raise_it)

    fail(RuntimeError("DefaultCPUAllocator: can't allocate memory"))
    with pytest.raises(BrainageError, match="memory"):
        occlude(Ensemble(networks, decode, engine="loop"), volume, labels, [1])
    fail(RuntimeError("shape mismatch"))
    with pytest.raises(RuntimeError, match="shape mismatch"):
        occlude(Ensemble(networks, decode, engine="loop"), volume, labels, [1])


def test_progress_ends_with_all_regions(case):
    networks, volume, labels = case
    seen = []
    occlude(
        Ensemble(networks, decode, batch_size=4),
        volume,
        labels,
        range(1, 12),
        progress=lambda done, total: seen.append((done, total)),
    )
    assert seen[-1] == (11, 11)
    assert seen == sorted(seen)


def test_impossible_requests_say_what_is_wrong(case):
    networks, volume, labels = case
    with pytest.raises(UsageError, match="batch size"):
        Ensemble(networks, decode, batch_size=0)
    with pytest.raises(UsageError, match="shape"):
        occlude(Ensemble(networks, decode), volume, labels[1:], [1])
    with pytest.raises(UsageError, match="network"):
        Ensemble((), decode)
    with pytest.raises(UsageError, match="background, mean, closed"):
        occlude(Ensemble(networks, decode), volume, labels, [1], baseline="nothing")


def test_intact_age_is_the_prediction_of_the_ensemble(tmp_path):
    card = make_card(tmp_path, members=3)
    members = load_members(card)
    volume = np.random.default_rng(0).normal(size=card.shape).astype(np.float32)
    found = predict(members, volume, card)
    got = occlude(Ensemble(tuple(members), decoder(card)), volume, np.zeros(card.shape, int), [])
    assert got.attrs["intact_age"] == pytest.approx(found.mean, abs=1e-4)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device on this machine")
def test_gpu_and_cpu_agree(case):
    networks, volume, labels = case
    cpu = occlude(Ensemble(networks, decode), volume, labels, range(1, 12))
    gpu = occlude(Ensemble(networks, decode, device="cuda"), volume, labels, range(1, 12))
    np.testing.assert_allclose(gpu["delta_age"], cpu["delta_age"], atol=1e-3)
