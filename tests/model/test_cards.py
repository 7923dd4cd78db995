from __future__ import annotations

import json

import pytest

from bidsapp_brainage.errors import ResourceError, UsageError
from bidsapp_brainage.model.cards import (
    find_card,
    list_cards,
    load_card,
    resolve_bias,
    verify_weights,
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
    assert card.age_head.bin_lower[[0, -1]].tolist() == [14.0, 86.0]
    assert card.age_head.bin_centers[0] == 15.0
    assert card.age_range == (20.0, 82.0)
    assert card.bias_correction is not None
    assert card.bias_correction.residual_sd == 5.0
    assert [w.path.parent for w in card.weights] == [tmp_path, tmp_path]
    assert len(card.weights_sha256) == 64


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


def test_every_bundled_card_is_valid_and_its_weights_are_whole():
    for name in list_cards():
        verify_weights(find_card(name))


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
    assert resolve_bias("none", card) is None
    assert resolve_bias("model", card) == card.bias_correction
    path = tmp_path / "controls.json"
    path.write_text('{"slope": 0.9, "intercept": 4}')
    bias = resolve_bias(f"file:{path}", card)
    assert bias is not None
    assert (bias.slope, bias.intercept, bias.source) == (0.9, 4.0, "controls.json")
    assert resolve_bias("model", make_card(tmp_path / "b", bias_correction=None)) is None


@pytest.mark.parametrize("content", ['{"slope": 1}', "[]", "{", '{"slope": "x", "intercept": 1}'])
def test_unusable_bias_files_are_refused_by_name(tmp_path, content):
    path = tmp_path / "controls.json"
    path.write_text(content)
    with pytest.raises(UsageError, match=r"controls\.json"):
        resolve_bias(f"file:{path}", make_card(tmp_path / "card"))


def test_unknown_bias_words_are_refused(tmp_path):
    with pytest.raises(UsageError, match="none, model or file:PATH"):
        resolve_bias("both", make_card(tmp_path))
