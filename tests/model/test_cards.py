from __future__ import annotations

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest

from bidsapp_brainage.errors import ResourceError, UsageError
from bidsapp_brainage.model.bias_correction import resolve_bias_correction
from bidsapp_brainage.model.card_checks import axis_codes
from bidsapp_brainage.model.cards import (
    bundled_folder,
    fetched_folder,
    find_card,
    list_cards,
    load_card,
)
from bidsapp_brainage.model.weights.files import (
    WeightFile,
    file_git_blob_id,
    verify_weights,
    weight_fault,
    weights_present,
)
from tests.model.tiny import make_card


def broken(folder, change):
    """The message about a card after ``change`` was made to it."""
    card = make_card(folder)
    raw = json.loads((folder / "tiny.json").read_text())
    change(raw)
    (folder / "tiny.json").write_text(json.dumps(raw))
    with pytest.raises(ResourceError) as caught:
        load_card(folder / f"{card.name}.json")
    return str(caught.value)


def test_a_card_tells_grid_bins_and_range(tmp_path):
    card = make_card(tmp_path)
    assert card.shape == (20, 24, 20)
    assert card.main_head.bin_lower[[0, -1]].tolist() == [14.0, 86.0]
    assert card.main_head.bin_centers[0] == 15.0
    assert card.age_range == (20.0, 82.0)
    assert card.bias_correction is not None
    assert card.bias_correction.residual_sd == 5.0
    assert [w.path.parent for w in card.weights] == [tmp_path, tmp_path]


@pytest.mark.parametrize(
    ("field", "change"),
    [
        ("licence", lambda raw: raw.pop("licence")),
        ("name", lambda raw: raw.update(name="no_underscore")),
        ("schema_version", lambda raw: raw.update(schema_version=2)),
        ("input.orientation", lambda raw: raw["input"].update(orientation="LPS")),
        ("input.shape.1", lambda raw: raw["input"].update(shape=[80, 0, 80])),
        ("input.intensity.scaling", lambda raw: raw["input"]["intensity"].update(scaling="x")),
        ("weights.0.sha256", lambda raw: raw["weights"][0].update(sha256="abc")),
        ("weights.0.file", lambda raw: raw["weights"][0].update(file="../a.safetensors")),
        ("bias_correction", lambda raw: raw["bias_correction"].pop("slope")),
        ("nonsense", lambda raw: raw.update(nonsense=1)),
        ("age_range", lambda raw: raw.update(age_range=[80.0, 20.0])),
        ("input.affine", lambda raw: raw["input"].update(resolution_mm=3.0)),
        ("output.n_bins", lambda raw: raw["output"].update(n_bins=12)),
    ],
)
def test_a_faulty_card_is_refused_naming_file_and_field(tmp_path, field, change):
    message = broken(tmp_path, change)
    assert field in message
    assert "tiny.json" in message


def test_all_faults_are_listed_at_once(tmp_path):
    def change(raw):
        raw["name"] = "no_underscore"
        raw["version"] = 3

    message = broken(tmp_path, change)
    assert "name:" in message
    assert "version:" in message


def test_a_card_must_exist_and_be_json(tmp_path):
    with pytest.raises(ResourceError, match="does not exist"):
        load_card(tmp_path / "no.json")
    (tmp_path / "bad.json").write_text("{")
    with pytest.raises(ResourceError, match="cannot be read as JSON"):
        load_card(tmp_path / "bad.json")


def test_cards_are_found_by_name_or_path(tmp_path):
    make_card(tmp_path)
    assert find_card("tiny", tmp_path).name == "tiny"
    assert find_card(str(tmp_path / "tiny.json")).name == "tiny"
    assert "tiny" in list_cards(tmp_path)
    assert "card" not in list_cards()  # the schema is no model
    with pytest.raises(UsageError, match="Known models: .*tiny"):
        find_card("tinny", tmp_path)


def test_every_bundled_card_is_valid_and_its_weights_are_whole_or_can_be_fetched():
    for path in sorted(bundled_folder().glob("*.json")):
        if path.name == "card.schema.json":
            continue
        card = load_card(path)
        if weights_present(card):
            verify_weights(card)
        else:
            assert all(weight.url for weight in card.weights), card.name


@pytest.mark.parametrize("digit", [0, 31, 63])
def test_a_hash_edited_by_one_digit_is_refused(tmp_path, digit):
    make_card(tmp_path)
    path = tmp_path / "tiny.json"
    raw = json.loads(path.read_text())
    right = raw["weights"][0]["sha256"]
    wrong = "1" if right[digit] == "0" else "0"
    raw["weights"][0]["sha256"] = right[:digit] + wrong + right[digit + 1 :]
    path.write_text(json.dumps(raw))
    with pytest.raises(ResourceError, match=f"sha256 is {right}"):
        verify_weights(load_card(path))


def test_a_git_blob_id_verifies_as_git_computes_it(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"what is up, doc?")  # the example of the Pro Git book
    assert file_git_blob_id(path) == "bd9dbf5aae1a3862dd1526723246b20206e5fc37"
    good = WeightFile(path, None, git_blob_id="bd9dbf5aae1a3862dd1526723246b20206e5fc37")
    assert weight_fault(good, path) == ""
    assert "git blob id is bd9d" in weight_fault(replace(good, git_blob_id="0" * 40), path)
    assert "16 bytes, the card says 15" in weight_fault(replace(good, size=15), path)


@pytest.mark.parametrize(
    ("field", "change"),
    [
        ("weights.0: 'sha256' or 'git_blob_id'", lambda raw: raw["weights"][0].pop("sha256")),
        ("weights: two entries", lambda raw: raw["weights"].append(raw["weights"][0])),
        ("weights: all members", lambda raw: raw["weights"][0].update(format="torch")),
        ("weights.0.file", lambda raw: raw["weights"][0].update(file=".hidden")),
        ("weights.0.url", lambda raw: raw["weights"][0].update(url="ftp://example.org/x")),
        ("architecture.id", lambda raw: raw["architecture"].update(id="onnx")),
        ("input.source_grid: missing", lambda raw: raw["input"].update(registration="native")),
        (
            "input.source_grid: missing",
            lambda raw: raw["input"].update(intensity={"scaling": "none", "at": "source"}),
        ),
        (
            "input.source_grid.affine: missing",
            lambda raw: raw["input"].update(source_grid={"shape": [9, 9, 9]}),
        ),
        (
            "input.source_grid.resolution_mm: missing",
            lambda raw: raw["input"].update(
                registration="native", crop="brain", source_grid={"shape": [9, 9, 9]}
            ),
        ),
        (
            "input.crop",
            lambda raw: raw["input"].update(
                registration="native", source_grid={"shape": [9, 9, 9], "resolution_mm": 1}
            ),
        ),
        ("input.affine: its axes run RAS", lambda raw: raw["input"].update(orientation="LIA")),
    ],
)
def test_what_published_networks_need_is_checked(tmp_path, field, change):
    assert field in broken(tmp_path, change)


def test_axes_are_named_by_where_they_run():
    assert axis_codes(np.diag([2.0, 2, 2, 1])) == "RAS"
    assert axis_codes(np.array([[-1, 0, 0, 0], [0, 0, 1, 0], [0, -1, 0, 0], [0, 0, 0, 1]])) == "LIA"
    assert axis_codes(np.ones((4, 4))) == "?"


def test_fetched_models_are_found_where_they_are_kept(tmp_path, monkeypatch):
    monkeypatch.setenv("BRAINAGE_MODELS_DIR", str(tmp_path / "kept"))
    assert fetched_folder() == tmp_path / "kept"
    assert fetched_folder(tmp_path) == tmp_path
    make_card(tmp_path / "kept" / "tiny")
    assert find_card("tiny").folder == tmp_path / "kept" / "tiny"
    assert "tiny" in list_cards()
    # a folder that the user names counts first, even if weights are missing there
    make_card(tmp_path / "own")
    for weight in (tmp_path / "own").glob("*.safetensors"):
        weight.unlink()
    assert find_card("tiny", tmp_path / "own").folder == tmp_path / "own"


def test_a_fetched_copy_wins_over_the_bundled_card_without_weights(tmp_path, monkeypatch):
    monkeypatch.setenv("BRAINAGE_MODELS_DIR", str(tmp_path))
    assert find_card("sfcnukb").folder == bundled_folder()
    folder = tmp_path / "sfcnukb"
    folder.mkdir()
    shutil.copy(bundled_folder() / "sfcnukb.json", folder)
    assert find_card("sfcnukb").folder == bundled_folder()
    (folder / "run_20190719_00_epoch_best_mae.p").write_bytes(b"0")
    assert find_card("sfcnukb").folder == folder


def test_missing_and_altered_weights(tmp_path):
    card = make_card(tmp_path)
    path = card.weights[1].path
    content = path.read_bytes()
    path.write_bytes(content[:-1] + b"\x00" if content[-1] else content[:-1] + b"\x01")
    with pytest.raises(ResourceError, match="sha256"):
        verify_weights(card)
    path.unlink()
    with pytest.raises(ResourceError, match="missing.*Reinstall"):
        verify_weights(card)


def test_a_weight_with_an_address_says_how_to_fetch_it(tmp_path):
    make_card(tmp_path)
    raw = json.loads((tmp_path / "tiny.json").read_text())
    raw["weights"][0]["url"] = "https://example.org/tiny.safetensors"
    (tmp_path / "tiny.json").write_text(json.dumps(raw))
    card = load_card(tmp_path / "tiny.json")
    card.weights[0].path.unlink()
    with pytest.raises(ResourceError, match="brainage-model fetch tiny"):
        verify_weights(card)


def test_bias_correction_from_card_file_or_nowhere(tmp_path):
    card = make_card(tmp_path)
    assert resolve_bias_correction("none", card) is None
    assert resolve_bias_correction("model", card) == card.bias_correction
    path = tmp_path / "controls.json"
    path.write_text('{"slope": 0.9, "intercept": 4}')
    bias = resolve_bias_correction(f"file:{path}", card)
    assert bias is not None
    assert (bias.slope, bias.intercept, bias.source) == (0.9, 4.0, "controls.json")
    assert resolve_bias_correction("model", make_card(tmp_path / "b", bias_correction=None)) is None


@pytest.mark.parametrize("content", ['{"slope": 1}', "[]", "{", '{"slope": "x", "intercept": 1}'])
def test_unusable_bias_files_are_refused_by_name(tmp_path, content):
    path = tmp_path / "controls.json"
    path.write_text(content)
    with pytest.raises(UsageError, match=r"controls\.json"):
        resolve_bias_correction(f"file:{path}", make_card(tmp_path / "card"))


def test_unknown_bias_words_are_refused(tmp_path):
    with pytest.raises(UsageError, match="none, model or file:PATH"):
        resolve_bias_correction("both", make_card(tmp_path))
