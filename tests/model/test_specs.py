"""The types of a card's objects list the fields of its schema."""

from __future__ import annotations

import json

import pytest

from bidsapp_brainage.catalogue.participant import MODALITIES
from bidsapp_brainage.model import specs
from bidsapp_brainage.model.cards import bundled_folder
from bidsapp_brainage.model.inputs.channels import REGION_SETS, T1W
from bidsapp_brainage.model.intensity import SCALINGS
from bidsapp_brainage.model.outputs import Coding

SCHEMA = json.loads((bundled_folder() / "card.schema.json").read_text(encoding="utf-8"))
CARD = SCHEMA["properties"]
INPUT = CARD["input"]["properties"]
INTENSITY = SCHEMA["$defs"]["intensity"]
CHANNEL = INPUT["channels"]["items"]
NAMED_REGIONS, OWN_REGIONS = CHANNEL["properties"]["region"]["anyOf"]
CALIBRATION = CARD["calibration"]["properties"]


@pytest.mark.parametrize(
    ("kind", "described"),
    [
        (specs.Architecture, CARD["architecture"]),
        (specs.InputSpec, CARD["input"]),
        (specs.SourceGrid, INPUT["source_grid"]),
        (specs.Intensity, INTENSITY),
        (specs.Ellipsoid, INTENSITY["properties"]["ellipsoid"]),
        (specs.ChannelSpec, CHANNEL),
        (specs.Part, OWN_REGIONS),
        (specs.PatchFacts, CARD["patches"]),
        (specs.PredictionSpec, CARD["prediction"]),
        (specs.Views, CARD["prediction"]["properties"]["tta"]),
        (specs.Calibration, CARD["calibration"]),
        (specs.IntervalScale, CALIBRATION["scale"]),
        (specs.ScannerCoverage, CALIBRATION["coverage_by_scanner"]["additionalProperties"]),
        (specs.Reference, CARD["reference"]),
        (specs.ReferenceFeature, CARD["reference"]["properties"]["features"]["items"]),
        (specs.EncoderAxes, CARD["reference"]["properties"]["encoder"]),
    ],
)
def test_fields_are_those_of_the_schema(kind, described):
    assert set(kind.__annotations__) == set(described["properties"])
    optional = {name for name, text in kind.__annotations__.items() if "NotRequired" in str(text)}
    if kind.__total__:
        assert set(kind.__annotations__) - optional == set(described["required"])
    else:
        assert "required" not in described


def test_words_are_those_of_the_schema():
    scalings = INTENSITY["properties"]["scaling"]["enum"]
    assert set(scalings) == {*SCALINGS, "tissue"}
    for holder in (INPUT, CHANNEL["properties"]):
        assert holder["intensity"] == {"$ref": "#/$defs/intensity"}
    assert CHANNEL["properties"]["modality"]["enum"] == [T1W, *MODALITIES]
    assert NAMED_REGIONS["enum"] == list(REGION_SETS)
    methods = [f"conformal_{name}" for name in specs.CALIBRATIONS]
    assert CALIBRATION["method"]["enum"] == methods
    assert SCHEMA["$defs"]["head"]["properties"]["coding"]["enum"] == list(Coding.__args__)
