"""All methods on a tiny untrained network: what is written, kept, and told of failures."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import nibabel as nib
import numpy as np
import pandas as pd
import pytest

from bidsapp_brainage import io
from bidsapp_brainage.errors import BrainageError, OtherPredictionError, UsageError
from bidsapp_brainage.explain.methods import cubes, noise
from bidsapp_brainage.interfaces.explanation import Explain, Explained, PaintMap
from bidsapp_brainage.interfaces.metering import read_timing
from bidsapp_brainage.model.cards import ModelCard
from bidsapp_brainage.model.prediction import predict
from bidsapp_brainage.model.weights.loading import load_members
from tests.interfaces.inputs import network
from tests.model.tiny import make_card, make_class_card


def run(folder: Path, methods: list[str], **inputs) -> dict[str, Path]:
    """Records of the methods."""
    node = folder / "explain"
    node.mkdir(exist_ok=True)
    inputs = {"baselines": ["background"], "seed": 0, "options": {}} | inputs
    outputs = Explain(**inputs, methods=methods).run(cwd=str(node)).outputs
    return {method: Path(getattr(outputs, method)) for method in methods}


def handed_out(records: dict[str, Path], method: str):
    """Outputs of a method's own node."""
    folder = records[method].parent
    return Explained(method=method, record=str(records[method])).run(cwd=str(folder)).outputs


def with_labels(card: ModelCard, folder: Path, names: dict[int, str], labels: np.ndarray) -> dict:
    """Inputs of a network and the regions."""
    path, table = folder / "labels.nii.gz", folder / "atlas.tsv"
    io.save_nifti(nib.Nifti1Image(labels, np.array(card.input["affine"])), path)
    io.write_tsv(table, pd.DataFrame({"index": list(names), "name": list(names.values())}))
    return network(card, folder) | {"labels": str(path), "atlas_table": str(table)}


def test_occlusion_has_a_row_for_each_region_and_a_map(card: ModelCard, tmp_path: Path) -> None:
    labels = np.zeros(card.shape, np.int32)
    labels[8:12, 10:14, 8:12] = 3
    inputs = with_labels(card, tmp_path, {3: "here", 5: "empty"}, labels)
    found = handed_out(run(tmp_path, ["occlusion"], **inputs), "occlusion")
    rows = io.read_tsv(Path(found.table))
    assert rows["n_voxels"].tolist() == [64, 0]
    assert rows["volume_mm3"].tolist() == [64 * 8.0**3, 0]
    assert np.isfinite(rows.loc[0, "delta_age"])
    assert np.isnan(rows.loc[1, "delta_age"])
    painted = PaintMap(labels=inputs["labels"], table=found.table).run(cwd=str(tmp_path))
    values = np.asarray(io.load_nifti(Path(painted.outputs.out_file)).dataobj)
    assert values[labels == 0].tolist() == [0] * int((labels == 0).sum())
    assert values[9, 11, 9] == pytest.approx(rows.loc[0, "delta_age"], rel=1e-4)


def test_a_network_that_answers_with_one_number(tmp_path: Path) -> None:
    scalar = make_card(
        tmp_path / "models",
        architecture={"id": "sfcn", "parameters": {"channels": [4, 4, 4], "n_bins": 1}},
        output={"coding": "scalar", "offset": 50.0, "unit": "year"},
        calibration={},
    )
    labels = np.zeros(scalar.shape, np.int32)
    labels[8:12, 10:14, 8:12] = 3
    labels[2:5, 10:14, 8:12] = 5
    inputs = with_labels(scalar, tmp_path, {3: "here", 5: "there"}, labels)
    records = run(tmp_path, ["occlusion"], **inputs, baselines=["mean"], null_parcels=3)
    rows = io.read_tsv(Path(handed_out(records, "occlusion").table))
    assert np.isfinite(rows["delta_age"]).all()
    assert rows[["delta_entropy", "js_divergence"]].isna().all(axis=None)


def test_template_and_mask_reach_the_occlusion_and_agreement_compares_all(
    card: ModelCard, tmp_path: Path
) -> None:
    affine = np.array(card.input["affine"])
    files = {}
    inside = np.zeros(card.shape, np.float32)
    inside[4:16, 4:20, 4:16] = 1
    rng = np.random.default_rng(1)
    labels = inside * (1 + (np.arange(card.shape[0]) // 5)[:, None, None])
    template = rng.normal(5, 1, size=card.shape) * inside
    images = {"mask": inside, "labels": labels, "template": template, "template_mask": inside}
    for name, values in images.items():
        path = tmp_path / f"{name}.nii.gz"
        io.save_nifti(nib.Nifti1Image(values.astype(np.float32), affine), path)
        files[name] = str(path)
    table = tmp_path / "atlas.tsv"
    io.write_tsv(table, pd.DataFrame({"index": [1, 2, 3, 4], "name": list("abcd")}))
    common = network(card, tmp_path) | files | {"atlas_table": str(table)}
    common["baselines"] = ["background", "template"]
    records = run(tmp_path, ["occlusion", "ig", "agreement"], **common, null_parcels=3)
    occluded = handed_out(records, "occlusion")
    controls = io.read_tsv(Path(occluded.controls)).set_index(["baseline", "control"])
    assert controls.loc[("background", "whole_brain"), "n_voxels"] == inside.sum()
    assert controls.loc[("background", "outside_brain"), "delta_age"] != 0  # noise is there
    found = handed_out(records, "ig")
    assert Explained(method="ig").stage == "integrated gradients"
    assert io.load_nifti(Path(found.ig_map)).shape == card.shape
    rows = io.read_tsv(Path(handed_out(records, "agreement").agreement))
    assert len(rows) == 6
    assert set(rows["explanation_b"]) == {"occlusion_template", "ig_background", "ig_template"}


@pytest.fixture
def inputs(card: ModelCard, tmp_path: Path) -> dict:
    labels = np.zeros(card.shape, np.int32)
    labels[8:12, 10:14, 8:12], labels[2:5, 10:14, 8:12] = 3, 5
    return with_labels(card, tmp_path, {3: "here", 5: "there"}, labels) | {
        "options": {"cubes": {"cube_mm": 24.0}}
    }


def test_a_method_that_fails_is_told_by_its_own_node_and_the_others_go_on(
    inputs: dict, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise ValueError("no cubes today")

    def refuse(*_: object) -> None:
        raise UsageError("no noise today")

    monkeypatch.setattr(cubes, "explain", fail)
    monkeypatch.setattr(noise, "explain", refuse)
    methods = ["occlusion", "cubes", "noise", "randomisation"]
    records = run(tmp_path, methods, **inputs)
    assert Path(handed_out(records, "occlusion").table).is_file()
    assert Path(handed_out(records, "randomisation").randomisation).is_file()
    with pytest.raises(BrainageError, match="^ValueError: no cubes today$") as caught:
        handed_out(records, "cubes")
    assert "in fail" in str(caught.value.__cause__)
    with pytest.raises(BrainageError, match="^no noise today$"):
        handed_out(records, "noise")
    monkeypatch.undo()
    again = run(tmp_path, methods, **inputs)
    assert Path(handed_out(again, "cubes").cubes_map).is_file()
    assert again["occlusion"] == records["occlusion"]


def test_what_was_made_is_not_made_again_unless_it_would_differ(
    inputs: dict, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def made(methods: list[str], **changes: object) -> list[str]:
        caplog.clear()
        with caplog.at_level(logging.INFO, "bidsapp_brainage"):
            run(tmp_path, methods, **(inputs | changes))
        texts = (record.getMessage() for record in caplog.records)
        return [text.partition(" done (")[0] for text in texts if " done (" in text]

    assert made(["occlusion", "curves"]) == ["occlusion", "deletion and insertion curves"]
    assert made(["occlusion", "curves"]) == []
    assert made(["occlusion", "cubes", "curves"]) == ["occlusion of cubes"]
    assert made(["occlusion", "cubes"], options={"cubes": {"cube_mm": 32.0}}) == [
        "occlusion of cubes"
    ]
    assert made(["occlusion", "curves", "noise"]) == [
        "learned-noise map", "deletion and insertion curves",
    ]  # fmt: skip
    assert made(["occlusion", "noise"], seed=1) == ["occlusion", "learned-noise map"]


def test_another_prediction_is_not_explained(inputs: dict, card: ModelCard, tmp_path: Path) -> None:
    volume = io.load_nifti(Path(inputs["volume"])).get_fdata(dtype="float32")
    age = predict(load_members(card), volume, card).mean
    with pytest.raises(OtherPredictionError, match=rf"predicts {age:.2f} .* says {age + 1:.2f}"):
        run(tmp_path, ["occlusion", "noise"], **inputs, predicted=age + 1)
    records = run(tmp_path, ["occlusion"], **inputs, predicted=float(f"{age:.6g}"))
    assert Path(handed_out(records, "occlusion").table).is_file()


def test_views_are_averaged_as_in_the_prediction(inputs: dict, tmp_path: Path) -> None:
    card = make_card(tmp_path / "flipped", prediction={"tta": {"shift_voxels": 1}})
    volume = io.load_nifti(Path(inputs["volume"])).get_fdata(dtype="float32")
    seen = {
        "card": str(card.folder / f"{card.name}.json"),
        "weights": [str(weight.path) for weight in card.weights],
        "predicted": predict(load_members(card), volume, card).mean,
    }
    records = run(tmp_path, ["occlusion"], **(inputs | seen))
    assert Path(handed_out(records, "occlusion").table).is_file()


def test_the_cost_of_a_method_is_that_of_its_work(inputs: dict, tmp_path: Path) -> None:
    records = run(tmp_path, ["occlusion"], **inputs)
    handed_out(records, "occlusion")
    assert (
        read_timing(records["occlusion"].parent)
        == json.loads(records["occlusion"].read_text())["usage"]
    )


def test_of_a_class_its_probability_is_explained_in_percent(tmp_path: Path) -> None:
    card = make_class_card(tmp_path / "models")
    labels = np.zeros(card.shape, np.int32)
    labels[6:14, 8:16, 6:14] = 3
    inputs = with_labels(card, tmp_path, {3: "here"}, labels)
    volume = io.load_nifti(Path(inputs["volume"])).get_fdata(dtype="float32")
    members = load_members(card)
    intact = predict(members, volume, card).mean
    occluded = predict(members, np.where(labels == 3, 0, volume), card)
    probability = occluded.answers["diagnosis"].probabilities[:, 0].mean()
    records = run(tmp_path, ["occlusion", "lrp", "ig"], **inputs, predicted=intact)
    row = io.read_tsv(Path(handed_out(records, "occlusion").table)).iloc[0]
    assert row["delta_age"] == pytest.approx(100 * probability - intact, rel=1e-3, abs=1e-6)
    assert np.isnan(row["nosa_importance"]), "the chronological age is no probability"
    for method in ("lrp", "ig"):
        rows = io.read_tsv(Path(getattr(handed_out(records, method), method)))
        assert np.isfinite(rows["delta_age"]).all()
