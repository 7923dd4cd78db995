"""Controls of an occlusion, several baselines, and the agreement of explanations."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from bidsapp_brainage.catalogue.lookup import columns_of
from bidsapp_brainage.errors import UsageError
from bidsapp_brainage.explain import controls
from bidsapp_brainage.explain.baselines import disjoint_layers, make_fill
from bidsapp_brainage.explain.engine.geometry import Patch
from bidsapp_brainage.explain.ensemble import Ensemble
from bidsapp_brainage.explain.methods import agreement
from bidsapp_brainage.explain.methods.agreement import agreement_table, compare, explanations_of
from bidsapp_brainage.explain.nulls import compartment_masks
from bidsapp_brainage.explain.scores import BASELINE_COLUMNS
from bidsapp_brainage.explain.session import ExplanationInput, ExplanationSession
from tests.explain.toy import decode, explain, make_input, tiny_network

BASELINES = ("background", "blur", "mean", "template")


@pytest.fixture
def inputs():
    rng = np.random.default_rng(2)
    volume = rng.normal(1, 0.3, size=(9, 10, 8)).astype(np.float32)
    volume[:, :2] = 0.0
    labels = np.where(volume != 0, rng.integers(0, 5, size=volume.shape), 0)
    template = np.where(volume != 0, 1, 0).astype(np.float32)
    atlas = pd.DataFrame({"index": [1, 2, 3, 4], "name": list("abcd")})
    ensemble = Ensemble((tiny_network(1), tiny_network(2)), decode)
    return ExplanationInput(
        ensemble, volume, labels, atlas, 0.008, baselines=BASELINES, template=template
    )


def age(inputs, image):
    batch = torch.as_tensor(np.asarray(image, np.float32))[None, None]
    with torch.no_grad():
        return np.array([float(decode(net(batch))[1]) for net in inputs.ensemble.members])


def test_every_baseline_is_told_and_the_first_is_that_of_the_main_table(inputs):
    found = explain("occlusion", inputs)
    table = found["baselines"]
    assert list(table) == list(BASELINE_COLUMNS)
    assert table["baseline"].unique().tolist() == list(BASELINES)
    assert (found["table"]["baseline"] == "background").all()
    first = table[table["baseline"] == "background"].reset_index(drop=True)
    shared = [name for name in BASELINE_COLUMNS if name in found["table"]]
    pd.testing.assert_frame_equal(first[shared], found["table"][shared])
    for baseline in BASELINES:
        image = np.where(
            inputs.labels == 3, ExplanationSession(inputs).fill(baseline), inputs.volume
        )
        changes = age(inputs, image) - age(inputs, inputs.volume)
        row = table[(table["baseline"] == baseline) & (table["index"] == 3)].iloc[0]
        assert row["delta_age"] == pytest.approx(changes.mean(), abs=1e-4)
        assert row["delta_age_sd_members"] == pytest.approx(changes.std(ddof=1), abs=1e-4)


def test_controls_are_what_they_say(inputs):
    table = explain("occlusion", inputs)["controls"]
    assert list(table) == list(controls.COLUMNS)
    intact = age(inputs, inputs.volume).mean()
    labelled = inputs.labels > 0
    for baseline in BASELINES:
        rows = table[table["baseline"] == baseline].set_index("control")
        assert rows.loc["outside_brain", "delta_age"] == 0
        everything = np.where(labelled, ExplanationSession(inputs).fill(baseline), inputs.volume)
        expected = age(inputs, everything).mean() - intact
        assert rows.loc["all_regions", "delta_age"] == pytest.approx(expected, abs=1e-4)
    rows = table[table["baseline"] == "background"].set_index("control")
    rest = np.where(inputs.brain & ~labelled, 0, inputs.volume)
    expected = age(inputs, rest).mean() - intact
    assert rows.loc["unlabelled", "delta_age"] == pytest.approx(expected, abs=1e-4)
    assert rows.loc["whole_brain", "n_voxels"] == inputs.brain.sum()
    main = explain("occlusion", inputs)["table"]
    assert rows.loc["sum_of_regions", "delta_age"] == pytest.approx(main["delta_age"].sum())


class Linear(nn.Module):
    """A weighted sum of voxels, so that regions add up."""

    def __init__(self, shape: tuple[int, int, int]) -> None:
        super().__init__()
        self.sum = nn.Linear(int(np.prod(shape)), 1)
        nn.init.normal_(self.sum.weight, std=0.05)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.sum(x.flatten(1))


def number(output):
    return torch.ones_like(output).double(), output[:, 0].double()


@settings(max_examples=6, deadline=None)
@given(st.integers(0, 100))
def test_regions_of_a_linear_network_add_up(seed):
    torch.manual_seed(seed)
    volume = np.random.default_rng(seed).normal(size=(5, 6, 5)).astype(np.float32)
    labels = np.random.default_rng(seed + 1).integers(0, 4, size=volume.shape)
    atlas = pd.DataFrame({"index": [1, 2, 3], "name": list("abc")})
    inputs = ExplanationInput(
        Ensemble((Linear(volume.shape),), number), volume, labels, atlas, 0.008
    )
    rows = explain("occlusion", inputs)["controls"].set_index("control")["delta_age"]
    assert rows["sum_of_regions"] == pytest.approx(rows["all_regions"], abs=1e-4)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 1000), st.floats(0.1, 5))
def test_blur_leaves_a_constant_image_as_it_is(seed, value):
    labels = np.random.default_rng(seed).integers(0, 4, size=(7, 6, 8))
    volume = np.full(labels.shape, value, np.float32)
    fill = make_fill(volume, labels, [1, 2, 3], baseline="blur", background=0.0)
    np.testing.assert_allclose(fill, volume, rtol=1e-5)


def test_blur_blends_in_over_the_rim_of_a_region():
    rng = np.random.default_rng(0)
    volume = rng.uniform(1, 2, size=(9, 9, 9)).astype(np.float32)
    labels = np.zeros(volume.shape, int)
    labels[2:7, 2:7, 2:7] = 1
    plain = make_fill(volume, np.zeros_like(labels), [], baseline="blur")
    fill = make_fill(volume, labels, [1], baseline="blur")
    np.testing.assert_allclose(fill[4, 4, 4], plain[4, 4, 4], rtol=1e-6)
    np.testing.assert_allclose(fill[2, 4, 4], (plain[2, 4, 4] + volume[2, 4, 4]) / 2, rtol=1e-6)


def test_template_baseline_needs_a_template_on_the_grid():
    volume = np.ones((4, 4, 4), np.float32)
    labels = np.ones(volume.shape, int)
    with pytest.raises(UsageError, match="needs the template"):
        make_fill(volume, labels, [1], baseline="template")
    with pytest.raises(UsageError, match="template image has shape"):
        make_fill(volume, labels, [1], baseline="template", template=np.ones((2, 2, 2)))


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 1000), st.integers(0, 12))
def test_layers_hold_every_patch_once_and_none_overlap(seed, n_patches):
    rng = np.random.default_rng(seed)
    patches = [
        Patch(tuple(rng.integers(0, 4, 3).tolist()), np.ones(rng.integers(1, 4, 3), bool))
        for _ in range(n_patches)
    ]
    seen = []
    for labels, numbers in disjoint_layers(patches, (7, 7, 7)):
        seen += numbers
        for k in numbers:
            np.testing.assert_array_equal(labels == k + 1, patches[k].within((0, 0, 0), (7, 7, 7)))
    assert sorted(seen) == list(range(n_patches))


@pytest.mark.parametrize("baseline", ["mean", "blur"])
def test_overlapping_pieces_are_filled_as_regions_would_be(inputs, baseline):
    patches = [Patch((3, 4, 2), np.ones((3, 3, 3), bool)), None,
               Patch((4, 5, 3), np.ones((3, 3, 3), bool))]  # fmt: skip
    session = ExplanationSession(inputs)
    found = session.occlude_pieces(session.open(patches), patches, baseline=baseline)
    for k in (0, 2):
        where = patches[k].within((0, 0, 0), inputs.volume.shape)
        fill = make_fill(inputs.volume, where.astype(int), [1], baseline=baseline)
        expected = age(inputs, np.where(where, fill, inputs.volume)).mean()
        assert found.ages[k] == pytest.approx(expected, abs=1e-4)
    assert found.ages[1] == pytest.approx(age(inputs, inputs.volume).mean(), abs=1e-4)


def test_parcels_stay_in_the_compartment_unless_it_is_too_small():
    labels = np.zeros((6, 6, 6), int)
    labels[:3] = np.arange(1, 7)[None, :, None]
    labels[3:5] = 7
    atlas = pd.DataFrame({"index": range(1, 8), "name": [*"abcdef", "Ventricle"]})
    brain = np.ones(labels.shape, bool)
    masks = compartment_masks(labels, atlas, brain)
    np.testing.assert_array_equal(masks[1], (labels > 0) & (labels < 7))
    assert masks[1] is masks[6]
    assert masks[7] is brain


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 1000))
def test_an_explanation_agrees_with_itself_and_not_with_its_opposite(seed):
    values = np.random.default_rng(seed).normal(size=12)
    frame = pd.DataFrame(
        {"index": range(12), "delta_age": values, "importance": np.abs(values)}
    ).assign(importance_per_ml=lambda table: table["importance"] / 2)
    same = compare(frame, frame)
    assert [same["spearman"], same["spearman_abs"]] == pytest.approx([1, 1])
    opposite = compare(frame, frame.assign(delta_age=-values))
    assert [opposite["spearman"], opposite["spearman_abs"]] == pytest.approx([-1, 1])
    assert same["n_regions"] == 12


def test_identical_baselines_agree_perfectly_and_methods_without_sign_have_no_signed_number():
    inputs = make_input(tiny_network(1), baselines=("background", "template"))
    same = ExplanationInput(**{**vars(inputs), "template": np.zeros_like(inputs.volume)})
    found = explain("occlusion", same)["baselines"]
    attribution = pd.DataFrame(index=range(5), columns=columns_of("lrp")).assign(
        method="noise", index=[1, 2, 3, 4, 9], importance=[1.0, 2, 3, 5, np.nan],
        importance_per_ml=[1.0, 2, 3, 5, np.nan],
    )  # fmt: skip
    table = agreement_table(explanations_of(found, [attribution]))
    assert list(table) == list(agreement.COLUMNS)
    pairs = table.set_index(["explanation_a", "explanation_b"])
    equal = pairs.loc[("occlusion_background", "occlusion_template")]
    assert equal[["spearman", "spearman_abs", "spearman_abs_per_ml"]].tolist() == [1, 1, 1]
    unsigned = pairs.loc[("occlusion_background", "noise")]
    assert np.isnan(unsigned["spearman"])
    assert -1 <= unsigned["spearman_abs"] <= 1
    assert unsigned["n_regions"] == 4


def test_two_regions_are_too_few_for_a_rank_correlation():
    frame = pd.DataFrame(
        {"index": [1, 2], "delta_age": [1.0, 2], "importance": [1.0, 2], "importance_per_ml": 1.0}
    )
    assert np.isnan(compare(frame, frame)["spearman"])
