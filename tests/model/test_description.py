"""A model in plain words: all that its card tells, nothing that it does not."""

from __future__ import annotations

import dataclasses

import pytest

from bidsapp_brainage.bids.citation import bibliography
from bidsapp_brainage.errors import ResourceError
from bidsapp_brainage.model.cards import bundled_folder, check_card, find_card, list_cards
from bidsapp_brainage.model.description import input_text, network_text, training_text
from tests.model.tiny import make_card

BUNDLED = sorted(set(list_cards()) & {path.stem for path in bundled_folder().glob("*.json")})


@pytest.mark.parametrize("name", BUNDLED)
def test_bundled_cards_cite_what_the_bibliography_has(name) -> None:
    card = find_card(name)
    assert card.citation_keys
    assert set(card.citation_keys) <= set(bibliography())
    assert "of type" not in network_text(card)
    assert "intensities were" in input_text(card)


def test_the_embedded_model_says_what_a_reviewer_asks() -> None:
    card = find_card("sfcn2mm")
    assert input_text(card) == (
        "the brain-masked T1w image was resampled with the affine transform only, refined on the "
        "tissue of the segmentation, to 80 x 96 x 80 voxels of 2 mm, and its intensities were "
        "scaled so that fluid is 0, grey matter 1 and white matter 2"
    )
    assert "[@sfcn; @franke; @synthseg]; mean of an ensemble of 7 networks" in network_text(card)
    assert training_text(card) == (
        "It was trained on 163 people of IXI (Hammersmith Hospital), OpenNeuro ds002748 and "
        "ds000011 (three scanners, of which most people come from one) aged 19 to 82 years (mean "
        "45.1, SD 17.0). In cross-validation its mean absolute error was 5.5 years (N = 163). On "
        "23 people with their scanner left out it was 5.2 years."
    )


def test_an_unknown_card_says_what_it_can(tmp_path) -> None:
    card = make_card(tmp_path)
    bare = dataclasses.replace(card, raw={}, citation=())
    assert network_text(bare).startswith("a network of type ")
    assert "[@" not in network_text(bare)
    low, high = card.age_range
    assert training_text(bare) == f"It was trained on people aged {low:g} to {high:g} years."


def test_keys_are_words(tmp_path) -> None:
    raw = make_card(tmp_path).raw
    check_card(raw | {"citation_keys": ["sfcn"]}, tmp_path)
    with pytest.raises(ResourceError, match="citation_keys"):
        check_card(raw | {"citation_keys": ["Peng et al."]}, tmp_path)
