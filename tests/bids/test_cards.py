"""The cards of outputs are the one list of what the app writes."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from bidsapp_brainage.bids.dataset import bids_ignore, descriptions
from bidsapp_brainage.bids.dictionaries import undescribed
from bidsapp_brainage.bids.names import SCAN_ENTITIES, parse_name
from bidsapp_brainage.catalogue.cards import Output
from bidsapp_brainage.catalogue.dataset import LABELS
from bidsapp_brainage.catalogue.lookup import OUTPUTS, columns_of

GOLDEN = Path(__file__).resolve().parents[1] / "e2e" / "outputs.txt"
TABLES = [card for card in OUTPUTS if card.is_table]


def test_keys_are_unique():
    keys = [card.key for card in OUTPUTS]
    assert len(keys) == len(set(keys))


@pytest.mark.parametrize("card", TABLES, ids=lambda card: card.key)
def test_every_column_is_explained_and_stands_once(card: Output):
    names = columns_of(card.key)
    assert names
    assert len(names) == len(set(names))
    assert undescribed(card.suffix, names) == []


@pytest.mark.parametrize("suffix", sorted({card.suffix for card in TABLES}))
def test_a_column_means_the_same_in_all_tables_of_a_suffix(suffix: str):
    meanings: dict[str, object] = {}
    for card in TABLES:
        if card.suffix == suffix:
            for column in card.columns:
                assert meanings.setdefault(column.name, column) == column


@pytest.mark.parametrize("card", OUTPUTS, ids=lambda card: card.key)
def test_required_entities_are_among_those_of_the_name(card: Output):
    assert set(card.required) <= set(card.entities)
    assert bool(card.desc) == ("desc" in card.entities)


def test_every_label_that_is_written_is_described():
    written = {card.desc for card in OUTPUTS if card.level in ("subject", "template") and card.desc}
    assert written == set(LABELS)
    assert "desc-sfcncubes" in set(descriptions("sfcn")["desc_id"])


def test_names_that_bids_does_not_know_are_ignored():
    lines = bids_ignore().splitlines()
    assert {"*_xfm.*", "*_brainage.*", "*_occlusionmap.*", "*_noisemap.*"} <= set(lines)
    assert "*_T1w.*" not in lines
    assert len(lines) == len(set(lines))


def test_every_file_of_a_whole_run_has_a_card():
    names = GOLDEN.read_text().split()
    of_scans = [name for name in names if "/anat/sub-" in name or "/figures/" in name]
    for name in (name for name in of_scans if not name.endswith(".json")):
        parts = parse_name(Path(name))
        level = "figures" if "/figures/" in name else "subject"
        further = set(parts) - {"suffix", "extension", *SCAN_ENTITIES}
        labels = {
            card.desc.format(model="tiny")
            for card in OUTPUTS
            if (card.level, card.suffix, card.extension)
            == (level, parts["suffix"], parts["extension"])
            and set(card.required) <= further <= set(card.entities)
        }
        assert parts.get("desc", "") in labels, name


def test_cards_need_no_heavy_library():
    code = (
        "import sys, bidsapp_brainage.catalogue.lookup; "
        "print([m for m in ('numpy', 'pandas', 'torch', 'nipype') if m in sys.modules])"
    )
    answer = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert answer.stdout.strip() == "[]"
