"""Occlusion in models that see several images, or a part of the brain."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

from bidsapp_brainage.explain.engine.planning.plan import label_patches
from bidsapp_brainage.explain.ensemble import Ensemble, Incremental, Together
from bidsapp_brainage.explain.methods.modalities import explain
from bidsapp_brainage.explain.session import ChannelInput, ExplanationInput, ExplanationSession

SHAPE = (10, 12, 10)
NAMES = ("T1w", "T2w", "T1wHalf")


def decode(raw: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    probabilities = torch.softmax(raw.double(), dim=1)
    return probabilities, probabilities @ torch.arange(20.0, 80.0, 10.0, dtype=torch.float64)


def network(seed: int) -> nn.Module:
    torch.manual_seed(seed)
    return nn.Sequential(
        nn.Conv3d(1, 3, 3, padding=1), nn.ReLU(), nn.MaxPool3d(2), nn.Conv3d(3, 4, 3, padding=1),
        nn.ReLU(), nn.AdaptiveAvgPool3d(1), nn.Flatten(1), nn.Linear(4, 6),
    ).eval()  # fmt: skip


@pytest.fixture(scope="module")
def session() -> ExplanationSession:
    rng = np.random.default_rng(0)
    labels = np.zeros(SHAPE, int)
    labels[1:4, 2:6, 2:6], labels[6:9, 2:6, 2:6], labels[2:8, 7:10, 3:8] = 1, 2, 3
    shown = np.zeros(SHAPE, bool)
    shown[:5] = True
    volumes = [3 * rng.normal(size=SHAPE).astype(np.float32) for _ in range(2)]
    volumes.append(np.where(shown, volumes[0], 0).astype(np.float32))
    channels = tuple(
        ChannelInput(
            name, Ensemble((network(2 * k), network(2 * k + 1)), decode), volume,
            shown if name == "T1wHalf" else None,
        )
        for k, (name, volume) in enumerate(zip(NAMES, volumes, strict=True))
    )  # fmt: skip
    inputs = ExplanationInput(
        ensemble=channels[0].ensemble, volume=volumes[0], labels=labels,
        atlas=pd.DataFrame({"index": [1, 2, 3], "name": ["a", "b", "c"]}),
        voxel_ml=1.0, baselines=("mean", "background"), channels=channels,
    )  # fmt: skip
    return ExplanationSession(inputs)


def age_of(session: ExplanationSession, change: Callable[[str, np.ndarray], np.ndarray]) -> float:
    """The model's age by its definition: mean over channels and members, one pass each."""
    with torch.inference_mode():
        ages = [
            float(decode(member(torch.from_numpy(change(one.name, one.volume))[None, None]))[1][0])
            for one in session.inputs.channels
            for member in one.ensemble.members
        ]
    return float(np.mean(ages))


def test_branches_use_the_engine_and_their_mean_is_the_answer(session: ExplanationSession) -> None:
    occluder = session.occluder
    assert isinstance(occluder, Together)
    assert all(isinstance(part, Incremental) for part in occluder._parts.values())
    assert occluder.intact.ages[0] == pytest.approx(age_of(session, lambda _, v: v), abs=1e-4)


@pytest.mark.parametrize("baseline", ["background", "mean"])
def test_occlusion_in_all_channels_is_exact(session: ExplanationSession, baseline: str) -> None:
    fill = session.fill(baseline)
    effects = session.region_effects(baseline).set_index("index")["delta_age"]
    for region in (1, 2, 3):
        where = session.inputs.labels == region

        def hidden(name: str, volume: np.ndarray, where: np.ndarray = where) -> np.ndarray:
            own = fill[NAMES.index(name)] if isinstance(fill, np.ndarray) else fill
            return np.where(where, own, volume).astype(np.float32)

        expected = age_of(session, hidden) - age_of(session, lambda _, v: v)
        assert effects[region] == pytest.approx(expected, abs=1e-4)


def test_contributions_of_modalities_add_up(session: ExplanationSession) -> None:
    table = explain(session)["modality_table"]
    assert isinstance(table, pd.DataFrame)
    assert table["modality"].unique().tolist() == [*NAMES, "all"]
    wide = table.pivot(index="index", columns="modality", values="delta_age")
    assert np.allclose(wide[list(NAMES)].sum(axis=1), wide["all"], atol=1e-4)
    assert (wide["T2w"].abs() > 1e-3).all()
    assert wide.loc[2, "T1wHalf"] == 0  # the second region lies in the half that is not shown


def test_a_part_of_the_brain_stays_on_background_whatever_fills_regions(
    session: ExplanationSession,
) -> None:
    fill = session.fill("mean")
    assert isinstance(fill, np.ndarray)
    shown = session.inputs.channels[2].shown
    assert not fill[2][~shown].any()
    assert fill[0][session.inputs.labels == 2].any()


def test_committed_regions_stay_occluded_in_all_channels(session: ExplanationSession) -> None:
    patches = label_patches(session.inputs.labels, [1, 2])
    occluder, fill = session.open(patches), session.fill("background")
    before = occluder.intact.ages[0]
    first = occluder.commit(0, fill).ages[0]
    both = occluder.occlude(fill, [1]).ages[0]
    occluder.undo()
    assert occluder.intact.ages[0] == pytest.approx(before)
    assert first == pytest.approx(occluder.occlude(fill, [0]).ages[0], abs=1e-5)

    def hidden(_: str, volume: np.ndarray) -> np.ndarray:
        return np.where(np.isin(session.inputs.labels, [1, 2]), 0, volume).astype(np.float32)

    assert both == pytest.approx(age_of(session, hidden), abs=1e-4)


def test_a_region_is_committed_in_all_channels_or_in_none(session: ExplanationSession) -> None:
    patches = label_patches(session.inputs.labels, [1, 2])
    occluder, fill = session.open(patches), session.fill("background")
    assert isinstance(occluder, Together)
    first, *others = occluder._parts.values()

    class Failing:
        def commit(self, region: int, fill: object) -> None:
            raise MemoryError

    before = first.intact.ages[0]
    partly = Together(dict(enumerate([first, Failing(), *others])))  # type: ignore[arg-type, list-item]
    with pytest.raises(MemoryError):
        partly.commit(0, fill)
    assert first.intact.ages[0] == pytest.approx(before)
