"""What the branches of a model see, and what they answer together."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from bidsapp_brainage.errors import DataError, ResourceError
from bidsapp_brainage.model.cards import ModelCard
from bidsapp_brainage.model.inputs.channels import (
    REGION_SETS,
    Channel,
    alone,
    channel_volumes,
    channels,
    input_of,
    is_plain,
    modalities,
)
from bidsapp_brainage.model.networks.branches import Branches
from bidsapp_brainage.model.prediction import channel_table, predict
from bidsapp_brainage.model.weights.loading import load_members
from bidsapp_brainage.segmentation.labels import muse_labels
from tests.model.tiny import SHAPE, card_dict, make_card

NETWORK = {"id": "sfcn", "parameters": {"channels": [4, 4, 4], "n_bins": 37, "dropout": 0.0}}
ZSCORE = {"scaling": "brain_zscore"}
SEEN = [
    {"modality": "T2w", "intensity": ZSCORE},
    {"modality": "T1w"},
    {"modality": "T1w", "region": "cerebellum"},
]
REFERENCE = {
    "features": [{"name": "input_a", "by_age": [0.0] * 3, "sd": 1.0}],
    "covariance": [[1.0]], "age_limits": [0, 1], "threshold": 1.0,
}  # fmt: skip
NAMES = ("T2w", "T1w", "T1wCerebellum")


def spec(seen: list[dict[str, Any]] | None = None, **changes: Any) -> Any:
    own = {} if seen is None else {"channels": seen}
    return {**card_dict()["input"], "segmentation": "muse2mm", **own, **changes}


def branched(folder: Path, **changes: Any) -> ModelCard:
    parts = dict.fromkeys(NAMES, NETWORK)
    return make_card(
        folder,
        **{
            "architecture": {"id": "branches", "parameters": parts},
            "input": spec(SEEN, any_subset=True),
            **changes,
        },
    )


@pytest.fixture(scope="module")
def card(tmp_path_factory: pytest.TempPathFactory) -> ModelCard:
    return branched(tmp_path_factory.mktemp("branched"))


@pytest.fixture(scope="module")
def volumes() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(3)
    return {name: 3 * rng.normal(size=SHAPE).astype(np.float32) for name in NAMES}


def test_a_card_without_channels_sees_the_t1w_alone() -> None:
    plain = spec()
    assert channels(plain) == (Channel(),)
    assert (is_plain(plain), modalities(plain)) == (True, ("T1w",))
    assert alone(plain, Channel()) == plain == input_of(plain, "T1w")


def test_channels_are_named_by_modality_and_part() -> None:
    seen = spec(SEEN)
    assert tuple(channel.name for channel in channels(seen)) == NAMES
    assert modalities(seen) == ("T1w", "T2w")  # others are registered to the T1w
    assert input_of(seen, "T2w")["intensity"] == ZSCORE
    assert input_of(seen, "T1w")["intensity"] == seen["intensity"]
    first, *_ = channels(seen)
    assert alone(seen, first)["channels"] == SEEN[:1]
    assert not is_plain(spec([{"modality": "T1w", "region": "cortex"}]))
    assert is_plain(spec([{"modality": "T2w"}]))


def test_parts_of_the_brain_are_regions_of_the_segmentation_and_do_not_overlap() -> None:
    known = set(muse_labels().indices.tolist())
    found = [set(indices) & known for indices in REGION_SETS.values()]
    assert all(found)
    assert sum(map(len, found)) == len(set.union(*found))
    assert set(REGION_SETS["subcortex"]) <= known


def test_a_channel_shows_its_part_on_background(volumes: dict[str, np.ndarray]) -> None:
    regions = np.zeros(SHAPE, np.int16)
    regions[:5], regions[5:] = 38, 100
    images = {"T1w": volumes["T1w"], "T2w": volumes["T2w"]}
    seen = channel_volumes(spec(SEEN), images, regions)
    assert seen["T1w"] is images["T1w"]
    assert np.array_equal(seen["T1wCerebellum"][:5], images["T1w"][:5])
    assert not seen["T1wCerebellum"][5:].any()
    own = spec([{"modality": "T1w", "region": {"name": "mine", "indices": [100]}}])
    assert not channel_volumes(own, images, regions)["T1wMine"][:5].any()
    with pytest.raises(DataError, match="sees the cerebellum alone"):
        channel_volumes(spec(SEEN), images, np.full(SHAPE, 100))


def test_a_missing_modality_is_an_error_unless_any_will_do(volumes: dict[str, np.ndarray]) -> None:
    two = SEEN[:2]
    image = {"T1w": volumes["T1w"]}
    assert list(channel_volumes(spec(two, any_subset=True), image, None)) == ["T1w"]
    with pytest.raises(DataError, match="The model needs T2w of this session"):
        channel_volumes(spec(two), image, None)
    with pytest.raises(DataError, match="needs T1w and T2w"):
        channel_volumes(spec(two, any_subset=True), {}, None)


def test_the_answer_is_the_mean_of_the_branches(
    card: ModelCard, volumes: dict[str, np.ndarray]
) -> None:
    members = load_members(card)
    assert all(isinstance(member, Branches) for member in members)
    found = predict(members, volumes, card)
    single = {name: predict(members, {name: volumes[name]}, card) for name in NAMES}
    ages = {name: answer.mean for name, answer in single.items()}
    assert found.mean == pytest.approx(np.mean(list(ages.values())), abs=1e-4)
    assert dict(found.channel_ages) == pytest.approx(ages, abs=1e-4)
    means = np.mean([answer.probabilities for answer in single.values()], axis=0)
    assert np.allclose(found.probabilities, means, atol=1e-6)
    assert found.findings.disagreement == pytest.approx(np.std(list(ages.values()), ddof=1), 1e-3)
    raw = members[0](
        {name: torch.from_numpy(volume)[None, None] for name, volume in volumes.items()}
    )
    assert {name: tuple(part.shape) for name, part in raw.items()} == dict.fromkeys(NAMES, (1, 37))


def test_leaving_a_modality_out_gives_the_prediction_without_it(
    card: ModelCard, volumes: dict[str, np.ndarray]
) -> None:
    members = load_members(card)
    two = {name: volumes[name] for name in NAMES[:2]}
    table = channel_table(predict(members, two, card), NAMES).set_index("modality")
    assert table["present"].to_dict() == dict(zip(NAMES, (True, True, False), strict=True))
    alone_t1w = predict(members, {"T1w": volumes["T1w"]}, card).mean
    assert table.loc["T2w", "predicted_age_without"] == pytest.approx(alone_t1w, abs=1e-4)
    assert table.loc["T2w", "delta_age"] == pytest.approx(
        alone_t1w - predict(members, two, card).mean, abs=1e-4
    )
    assert table.loc["T1wCerebellum"].drop("present").isna().all()


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"architecture": NETWORK}, "architecture: several channels go with 'branches'"),
        ({"input": spec(SEEN[1:])}, "an architecture for each of T1w, T1wCerebellum"),
        ({"input": spec([*SEEN, SEEN[0]])}, "two of them show the same part"),
        ({"reference": REFERENCE}, "reference: it describes one image"),
    ],
)  # fmt: skip
def test_cards_that_contradict_themselves(
    tmp_path: Path, changes: dict[str, Any], words: str
) -> None:
    with pytest.raises(ResourceError, match=words):
        branched(tmp_path, **changes)


def test_a_part_of_the_brain_needs_a_segmentation(tmp_path: Path) -> None:
    seen = spec(SEEN)
    del seen["segmentation"]
    with pytest.raises(ResourceError, match="a channel that shows a region needs its name"):
        branched(tmp_path, input=seen)
