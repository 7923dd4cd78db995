"""Reading the derivatives of a group."""

from __future__ import annotations

import json

import pytest

from bidsapp_brainage.errors import NoInputError
from bidsapp_brainage.group.collect import collect
from tests.group.derivatives import write_derivatives


def test_gathers_every_scan_once_and_keeps_models_apart(tmp_path):
    write_derivatives(tmp_path, n_participants=3, models=("one", "two"), sessions=("1", "2"))
    found = collect(tmp_path)
    assert [model.label for model in found.models] == ["one", "two"]
    model = found.models[0]
    assert len(model.brainage) == len(model.qc) == 6
    assert set(model.brainage["model"]) == {"one"}
    assert model.brainage["scan"].is_unique
    (atlas,) = model.atlases
    assert atlas.entities == {"atlas": "Blocks", "scale": "12"}
    assert atlas.title == "Blocks 12"
    assert len(atlas.table) == 6 * 12
    assert set(atlas.maps) == set(model.brainage["scan"])
    assert model.provenance["Model"]["Version"] == "1.0.0"
    assert not model.notes
    assert not found.unreadable


def test_two_atlases_of_one_model_stay_apart(tmp_path):
    write_derivatives(tmp_path, n_participants=2, n_regions=8)
    write_derivatives(tmp_path, n_participants=2, n_regions=12)
    (model,) = collect(tmp_path).models
    assert [atlas.entities["scale"] for atlas in model.atlases] == ["12", "8"]


def test_selection_and_participants_without_prediction(tmp_path):
    write_derivatives(tmp_path, n_participants=4, sessions=("1", "2"))
    (tmp_path / "sub-99").mkdir()
    (tmp_path / "sub-98.html").touch()
    (model,) = collect(tmp_path, participants=["02", "03"], sessions=["2"]).models
    assert model.brainage["scan"].tolist() == ["sub-02_ses-2", "sub-03_ses-2"]
    assert model.missing == ()
    assert collect(tmp_path).models[0].missing == ("sub-98", "sub-99")


def test_nothing_there_is_an_error_with_a_remedy(tmp_path):
    with pytest.raises(NoInputError, match="participant") as caught:
        collect(tmp_path)
    assert str(tmp_path) in str(caught.value)
    write_derivatives(tmp_path, n_participants=2)
    with pytest.raises(NoInputError):
        collect(tmp_path, participants=["77"])


def test_a_broken_table_is_named_and_the_others_are_read(tmp_path):
    write_derivatives(tmp_path, n_participants=3)
    broken = tmp_path / "sub-02/anat/sub-02_desc-sfcn2mm_brainage.tsv"
    broken.write_bytes(b"\xff\xfe\x00\x81")
    found = collect(tmp_path)
    assert len(found.models[0].brainage) == 2
    assert str(broken) in found.unreadable[0]


def test_mixed_model_versions_are_told(tmp_path):
    write_derivatives(tmp_path, n_participants=3)
    sidecar = tmp_path / "sub-02/anat/sub-02_desc-sfcn2mm_brainage.json"
    facts = json.loads(sidecar.read_text())
    facts["Model"]["Version"] = "2.0.0"
    sidecar.write_text(json.dumps(facts))
    (model,) = collect(tmp_path).models
    assert "2.0.0" in model.notes[0]
    assert "Model" not in model.provenance
