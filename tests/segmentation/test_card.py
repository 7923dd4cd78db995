"""Cards of segmentations: what is read, and what is said when something is broken."""

from __future__ import annotations

import json

import pytest
import torch

from bidsapp_brainage.errors import ResourceError
from bidsapp_brainage.segmentation.card import (
    SegmentationCard,
    find_segmentation,
    load_network,
    load_segmentation_card,
)
from tests.segmentation.tiny import SHAPE, make_segmentation


@pytest.fixture
def card(tmp_path) -> SegmentationCard:
    """One of its own for every test, to be broken."""
    return make_segmentation(tmp_path / "segmentation")


def test_the_weights_are_halved_on_disk_and_whole_in_memory(card) -> None:
    network = load_network(find_segmentation("tiny", card.path.parent))
    assert {value.dtype for value in network.state_dict().values()} == {torch.float32}
    assert not any(value.requires_grad for value in network.parameters())
    where = torch.ones(SHAPE, dtype=torch.bool)
    logits, units = network(torch.zeros(1, 1, *SHAPE), where)
    assert logits.shape == (where.sum(), card.labels.n_classes)
    assert units.shape == (where.sum(),)


def test_an_unknown_segmentation_names_those_that_are_there(card) -> None:
    with pytest.raises(ResourceError, match=r"'muse9mm' is missing.*known here: tiny.*`model`"):
        find_segmentation("muse9mm", card.path.parent)


def test_missing_weights_say_how_to_get_them(card) -> None:
    card.weights[0].path.unlink()
    with pytest.raises(ResourceError, match=r"tiny\.safetensors.*Reinstall"):
        find_segmentation("tiny", card.path.parent)


def test_altered_weights_are_refused(card) -> None:
    path = card.weights[0].path
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    with pytest.raises(ResourceError, match="sha256"):
        find_segmentation("tiny", card.path.parent)


def test_weights_of_another_architecture_are_refused(tmp_path) -> None:
    other = {"n_classes": 6, "channels": [4, 3], "hidden": 4}
    card = make_segmentation(tmp_path, architecture=other)
    with pytest.raises(ResourceError, match=r"do not fit.*card tiny.*Reinstall"):
        load_network(card)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"licence": ""}, "licence"),
        ({"weights": {"file": "a.pt", "sha256": "0" * 64, "size": 1}}, r"weights\.file"),
        ({"architecture": {"n_classes": 9}}, r"n_classes is 9.*5 regions"),
        ({"classes": "absent.tsv"}, r"absent\.tsv"),
    ],
)
def test_a_broken_card_names_what_is_broken(tmp_path, changes, words) -> None:
    with pytest.raises(ResourceError, match=words):
        make_segmentation(tmp_path, **changes)


def test_a_card_that_is_no_json(tmp_path) -> None:
    path = tmp_path / "broken.json"
    path.write_text("{")
    with pytest.raises(ResourceError, match=r"broken\.json cannot be read.*Reinstall"):
        load_segmentation_card(path)


def test_a_table_without_tissues(card) -> None:
    table = card.path.parent / "regions.tsv"
    table.write_text(table.read_text().replace("\tGM\t", "\tbone\t"))
    with pytest.raises(ResourceError, match=r"regions\.tsv cannot be used.*Reinstall"):
        load_segmentation_card(card.path)


def test_the_schema_is_json_and_closed(card) -> None:
    raw = json.loads(card.path.read_text())
    card.path.write_text(json.dumps({**raw, "colour": "red"}))
    with pytest.raises(ResourceError, match="colour"):
        load_segmentation_card(card.path)
