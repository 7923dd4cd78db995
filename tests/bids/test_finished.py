"""Which finished predictions can be explained again, and why others cannot."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from bidsapp_brainage import io
from bidsapp_brainage.bids.finished import find_finished
from bidsapp_brainage.bids.names import sidecar_path
from bidsapp_brainage.errors import NoInputError
from bidsapp_brainage.model.cards import ModelCard
from bidsapp_brainage.settings import Selection
from tests.finished import FORWARD, INVERSE, Entities, path_of, write_finished
from tests.model.tiny import make_card

ONE: Entities = (("sub", "01"),)
TWO: Entities = (("sub", "02"), ("ses", "a"))
THREE: Entities = (("sub", "02"), ("ses", "b"))


@pytest.fixture(scope="module")
def card(tmp_path_factory: pytest.TempPathFactory) -> ModelCard:
    return make_card(tmp_path_factory.mktemp("models"), members=1)


@pytest.fixture
def out(tmp_path: Path, card: ModelCard) -> Path:
    write_finished(tmp_path / "out", card, ONE, TWO, THREE)
    return tmp_path / "out"


def test_what_is_known_of_a_finished_scan(out: Path, card: ModelCard) -> None:
    found = find_finished(out, Selection(), card)
    assert [each.scan.label for each in found.scans] == ["sub-01", "sub-02_ses-a", "sub-02_ses-b"]
    assert not found.refused
    first = found.scans[0]
    table = io.read_tsv(path_of(out, "brainage", ONE)).iloc[0]
    assert first.predicted == table["predicted_age"]
    assert (first.scan.age.value, first.scan.age.source) == (40.0, "participants.tsv")
    assert (first.ood_flag, first.bias_correction) == (table["ood_flag"], "model")
    assert first.volume == path_of(out, "input", ONE)
    assert first.inverse == path_of(out, "transform", ONE, **INVERSE)
    assert not first.reused_t1w


@pytest.mark.parametrize(
    ("sources", "reused"),
    [(["bids:raw:sub-01/anat/x"], False), (["bids:fmriprep:sub-01/x"], True), (None, False)],
)
@pytest.mark.parametrize(
    ("fact", "key", "labels"),
    [("reused_t1w", "t1w_preproc", {}), ("reused_warp", "transform", INVERSE)],
)
def test_what_came_from_other_derivatives(
    out: Path, card: ModelCard, sources: object, reused: bool, fact: str, key: str, labels: dict
) -> None:
    io.write_json(sidecar_path(path_of(out, key, ONE, **labels)), {"Sources": sources})
    assert getattr(find_finished(out, Selection(), card).scans[0], fact) is reused


@pytest.mark.parametrize(
    ("selection", "labels"),
    [
        (Selection(participant_label=("02",)), ["sub-02_ses-a", "sub-02_ses-b"]),
        (Selection(session_label=("b",)), ["sub-02_ses-b"]),
    ],
)
def test_only_what_is_wanted(
    out: Path, card: ModelCard, selection: Selection, labels: list[str]
) -> None:
    assert [each.scan.label for each in find_finished(out, selection, card).scans] == labels


def test_a_participant_without_prediction_is_told(out: Path, card: ModelCard) -> None:
    found = find_finished(out, Selection(participant_label=("01", "09")), card)
    assert [each.scan.label for each in found.scans] == ["sub-01"]
    assert "participant level first" in found.refused["sub-09"]


@pytest.mark.parametrize(
    ("key", "labels"),
    [("input", {}), ("input_mask", {}), ("affine", FORWARD), ("transform", INVERSE)],
)
def test_a_missing_file_is_named_and_the_others_go_on(
    out: Path, card: ModelCard, key: str, labels: dict[str, str]
) -> None:
    path = path_of(out, key, TWO, **labels)
    path.unlink()
    found = find_finished(out, Selection(), card)
    assert len(found.scans) == 2
    assert found.refused["sub-02_ses-a"].startswith(f"{path.name} is missing: run the participant")


def test_a_model_that_asks_for_regions_needs_them_and_where_they_lie(
    out: Path, card: ModelCard
) -> None:
    asking = replace(card, input={**card.input, "segmentation": "muse2mm"})
    reason = find_finished(out, Selection(participant_label=("01",)), asking).refused["sub-01"]
    assert reason.startswith("sub-01_space-MNI152NLin2009aSym_res-8_desc-tinyinput_dseg.nii.gz is")
    volume = path_of(out, "input", ONE)
    (volume.parent / volume.name.replace("T1w", "dseg")).touch()
    reason = find_finished(out, Selection(participant_label=("01",)), asking).refused["sub-01"]
    assert "desc-tinyinput_xfm.txt is missing" in reason


def test_other_weights_are_refused_with_the_remedy(out: Path, card: ModelCard) -> None:
    sidecar = sidecar_path(path_of(out, "brainage", ONE))
    facts = json.loads(sidecar.read_text())
    facts["Model"] |= {"Version": "0.0.0", "WeightsSHA256": ["0123456789"]}
    io.write_json(sidecar, facts)
    sidecar_path(path_of(out, "brainage", TWO)).unlink()
    found = find_finished(out, Selection(), card)
    assert [each.scan.label for each in found.scans] == ["sub-02_ses-b"]
    reason = found.refused["sub-01"]
    assert "by tiny 0.0.0 with other weights (SHA-256 01234567)" in reason
    assert "`models_dir`" in reason
    assert "not recorded" in found.refused["sub-02_ses-a"]


def test_a_prediction_without_an_age_is_refused(out: Path, card: ModelCard) -> None:
    table = path_of(out, "brainage", ONE)
    io.write_tsv(table, io.read_tsv(table).assign(predicted_age=None))
    assert "no predicted age" in find_finished(out, Selection(), card).refused["sub-01"]


def test_no_prediction_at_all(out: Path, card: ModelCard) -> None:
    with pytest.raises(NoInputError, match="predictions of tiny: give `model`"):
        find_finished(out, Selection(), replace(card, name="another"))
    with pytest.raises(NoInputError, match="The participant level makes them"):
        find_finished(out, Selection(session_label=("z",)), card)


def test_what_the_network_saw_of_other_modalities_is_found(out: Path, card: ModelCard) -> None:
    first = path_of(out, "input", ONE)
    second = first.with_name(first.name.replace("_T1w.", "_T2w."))
    second.write_bytes(first.read_bytes())
    channels = [{"modality": "T1w"}, {"modality": "T2w"}]
    both = replace(card, input={**card.input, "channels": channels})  # type: ignore[typeddict-item]
    found = find_finished(out, Selection(), both).scans
    assert [other.path for other in found[0].scan.others] == [second]
    assert not found[1].scan.others
