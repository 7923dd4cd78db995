from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from bidsapp_brainage.catalogue.quantity import Quantity
from bidsapp_brainage.errors import ResourceError
from bidsapp_brainage.model.cards import load_card
from bidsapp_brainage.model.outputs import Head, heads, n_outputs, split
from tests.model.tiny import card_dict, make_card, make_class_card

BINS = {"coding": "bins", "lower": 20.0, "width": 10.0, "n_bins": 3, "unit": "year"}
YEARS = {"coding": "scalar", "scale": 100.0, "offset": 3.0, "clip": [3.0, 95.0], "unit": "year"}
SEX = {"coding": "classes", "classes": ["F", "M"]}


def test_one_head_without_name_is_the_age():
    (head,) = heads(BINS)
    assert (head.name, head.coding, head.n_outputs) == ("age", "bins", 3)
    np.testing.assert_array_equal(head.bin_lower, [20, 30, 40])
    np.testing.assert_array_equal(head.bin_centers, [25, 35, 45])


def test_bins_decode_to_the_mean_of_the_softmax_in_double_precision():
    (head,) = heads(BINS)
    raw = torch.log(torch.tensor([[0.2, 0.3, 0.5], [1.0, 1.0, 1.0]]))
    probabilities, ages = head.decode(raw)
    assert probabilities is not None
    assert probabilities.dtype == ages.dtype == torch.float64
    np.testing.assert_allclose(probabilities[0], [0.2, 0.3, 0.5], rtol=1e-6)
    np.testing.assert_allclose(ages, [38.0, 35.0], rtol=1e-6)


def test_a_scalar_is_scaled_shifted_and_clipped_and_has_no_distribution():
    (head,) = heads(YEARS)
    probabilities, ages = head.decode(torch.tensor([[0.25], [-1.0], [2.0]]))
    assert probabilities is None
    assert ages.tolist() == [28.0, 3.0, 95.0]
    assert Head("weight", "scalar", "kg").decode(torch.tensor([[71.5]]))[1].tolist() == [71.5]


def test_classes_decode_to_the_probability_of_the_last():
    head = Head("sex", "classes", classes=("F", "M"))
    probabilities, value = head.decode(torch.tensor([[0.0, float(np.log(3.0))]]))
    assert probabilities is not None
    np.testing.assert_allclose(probabilities, [[0.25, 0.75]], rtol=1e-6)
    np.testing.assert_allclose(value, [0.75], rtol=1e-6)


def test_heads_take_consecutive_slices_in_the_order_of_the_card():
    parts = heads({"heads": {"sex": SEX, "age": BINS, "weight": {**YEARS, "unit": "kg"}}})
    assert [head.name for head in parts] == ["sex", "age", "weight"]
    assert n_outputs(parts) == 6
    found = split(parts, torch.arange(12.0).reshape(2, 6))
    assert found["sex"].tolist() == [[0, 1], [6, 7]]
    assert found["age"].tolist() == [[2, 3, 4], [8, 9, 10]]
    assert found["weight"].tolist() == [[5], [11]]
    with pytest.raises(ValueError, match="need .N, 6."):
        split(parts, torch.zeros(2, 5))


def test_what_is_explained_is_the_age_wherever_it_stands(tmp_path):
    output = {"heads": {"sex": SEX, "age": card_dict()["output"]}}
    parameters = {"channels": [4, 4, 4], "n_bins": 39}
    card = make_card(tmp_path, output=output, architecture={"id": "sfcn", "parameters": parameters})
    assert [head.name for head in card.heads] == ["sex", "age"]
    assert card.main_head.n_bins == 37


def test_what_is_explained_without_an_age_is_the_first_head(tmp_path):
    card = make_class_card(tmp_path)
    assert (card.main_head.name, card.has_targets, card.has_age_distribution) == (
        "diagnosis",
        True,
        False,
    )
    assert card.main_head.quantity == Quantity("diagnosis", "AD", "percent")
    line = {"slope": 1.0, "intercept": 0.0, "source": "test"}
    with pytest.raises(ResourceError, match="bias_correction: is about ages, and the network"):
        make_class_card(tmp_path / "line", bias_correction=line)
    fitted = {"targets": {"diagnosis": {"half_width95": 1.0}}}
    with pytest.raises(ResourceError, match="calibration.targets.diagnosis: is no head that"):
        make_class_card(tmp_path / "interval", calibration=fitted)


@pytest.mark.parametrize(
    ("output", "message"),
    [
        ({**BINS, "coding": "ranking"}, "output.coding: 'ranking' is not one of"),
        ({"coding": "bins"}, "output: 'lower' is a required property"),
        ({**YEARS, "n_bins": 3}, "output: .*'n_bins' was unexpected"),
        ({"lower": 1}, "output: 'coding' is a required property"),
        ({**YEARS, "clip": [9, 1]}, "output.clip: the lower end 9.0 is not below 1.0"),
        ({**YEARS, "scale": 0}, "output.scale: 0 would"),
        (SEX, "output.coding: an age is coded as bins, scalar or ranks"),
        ({**BINS, "unit": "month"}, "output.unit: an age is in 'year', not 'month'"),
        ({"heads": {}}, "output.heads: .*non-empty|output.heads: .*enough properties"),
        ({"heads": {"a-b": BINS}}, "output.heads: 'a-b' does not match"),
        ({"heads": {"age": BINS}, "coding": "bins"}, "output: .*'coding' was unexpected"),
        ({"heads": {"sex": {"coding": "classes", "classes": ["F"]}}}, "output.heads.sex.classes"),
        ({"heads": {"age": BINS, "sex": SEX}}, "output.heads: 5 numbers, but .* is 37"),
        ({"heads": {"age": {**YEARS, "scale": 0}}}, "output.heads.age.scale"),
        (
            {"heads": {"sex": {**SEX, "explained": "X"}}},
            "sex.explained: 'X' is none of its classes",
        ),
    ],
)
def test_a_faulty_output_is_refused_by_field(tmp_path, output, message):
    card = make_card(tmp_path)
    path = tmp_path / f"{card.name}.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "output": output}))
    with pytest.raises(ResourceError, match=message):
        load_card(path)
