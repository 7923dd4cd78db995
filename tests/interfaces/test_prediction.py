"""Prediction by a tiny untrained network."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from nipype.interfaces.base import isdefined

from bidsapp_brainage import io
from bidsapp_brainage.catalogue import lookup
from bidsapp_brainage.catalogue.flags import split
from bidsapp_brainage.errors import DataError
from bidsapp_brainage.interfaces.prediction import Predict
from bidsapp_brainage.model.cards import ModelCard
from bidsapp_brainage.model.weights.loading import load_members
from bidsapp_brainage.training.decode import average_tables, decode_table
from tests.interfaces.inputs import network
from tests.model.tiny import make_card, make_class_card, make_targets_card


def quality(folder: Path, decision: str, **measured: float) -> str:
    path = folder / "qc.tsv"
    row = {"decision": decision, "decision_reason": "is noise", **measured}
    io.write_tsv(path, pd.DataFrame([row]))
    return str(path)


def test_tables(card: ModelCard, tmp_path: Path) -> None:
    found = Predict(
        **network(card, tmp_path),
        identity={"participant_id": "sub-01"},
        age_source="participants.tsv",
        qc_table=quality(tmp_path, "warn"),
    ).run(cwd=str(tmp_path))
    row = io.read_tsv(Path(found.outputs.brainage)).iloc[0]
    assert row["participant_id"] == "sub-01"
    assert row["qc_flag"] == "warn"
    assert row["gap"] == pytest.approx(row["predicted_age"] - 40, abs=1e-3)
    assert io.read_tsv(Path(found.outputs.agedist))["probability"].sum() == pytest.approx(1, 1e-4)


def test_no_age_for_an_image_that_failed_quality_control(card: ModelCard, tmp_path: Path) -> None:
    predict = Predict(
        **network(card, tmp_path),
        identity={"participant_id": "sub-01"},
        qc_table=quality(tmp_path, "fail"),
        label="sub-01/anat/sub-01_T1w.nii.gz",
    )
    with pytest.raises(DataError, match=r"sub-01_T1w.*is noise.*exclude it"):
        predict.run(cwd=str(tmp_path))


def test_a_network_that_answers_with_one_number(tmp_path: Path) -> None:
    scalar = make_card(
        tmp_path / "models",
        architecture={"id": "sfcn", "parameters": {"channels": [4, 4, 4], "n_bins": 1}},
        output={"coding": "scalar", "offset": 50.0, "unit": "year"},
        calibration={},
    )
    inputs = network(scalar, tmp_path)
    found = Predict(**inputs, identity={"participant_id": "sub-01"}).run(cwd=str(tmp_path))
    assert not isdefined(found.outputs.agedist)
    row = io.read_tsv(Path(found.outputs.brainage)).iloc[0]
    assert row[["predicted_age_sd", "entropy", "ci95_lower", "ci95_upper"]].isna().all()


def test_volumes_and_the_overlap_of_mask_and_segmentation_are_used(tmp_path: Path) -> None:
    reference = {
        "features": [{"name": "tissue_csf", "by_age": [-2.0, 0.0, 0.0], "sd": 0.1}],
        "covariance": [[1.0]], "age_limits": [20.0, 80.0], "threshold": 2.0,
    }  # fmt: skip
    card = make_card(tmp_path / "models", reference=reference)
    volumes = tmp_path / "volumes.tsv"
    rows = {"name": ["Left thalamus", "CSF"], "kind": ["region", "total"], "fraction": [0.1, 0.9]}
    io.write_tsv(volumes, pd.DataFrame(rows))
    found = Predict(
        **network(card, tmp_path),
        identity={"participant_id": "sub-01"},
        qc_table=quality(tmp_path, "warn", dice_mask_segmentation=0.62),
        volumes=str(volumes),
    ).run(cwd=str(tmp_path))
    row = io.read_tsv(Path(found.outputs.brainage)).iloc[0]
    assert row["training_distance"] == pytest.approx((np.log(0.9) + 2) / 0.1 / 2, abs=1e-3)
    assert {"unlike_training", "mask_disagreement"} <= set(split(row["flags"]))
    assert "overlap (Dice) 0.62, expected at least 0.95" in row["flag_reasons"]
    assert "amount of fluid" in row["flag_reasons"]


def test_every_target_has_a_row_or_one_for_each_class(tmp_path: Path) -> None:
    card = make_targets_card(tmp_path / "models")
    inputs = network(card, tmp_path)
    truths = {"sex": "F", "bmi": "22.5"}
    identity = {"participant_id": "sub-01", "session_id": "ses-2"}
    found = Predict(**inputs, identity=identity, truths=truths).run(cwd=str(tmp_path))
    rows = io.read_tsv(Path(found.outputs.predictions))
    assert list(rows) == lookup.columns_of("predictions")
    age, female, male, bmi = (row for _, row in rows.iterrows())
    row = io.read_tsv(Path(found.outputs.brainage)).iloc[0]
    assert row["target"] == "age"
    for name, other in (
        ("value", "predicted_age"),
        *[(n, n) for n in ("ci95_lower", "ci95_upper")],
    ):
        assert age[name] == pytest.approx(row[other], rel=1e-5)
    assert age["explained"]
    assert float(age["true_value"]) == 40
    assert female["value"] + male["value"] == pytest.approx(1, abs=1e-5)
    assert [female["class"], male["class"]] == ["F", "M"]
    assert str(female["predicted"]) == str(female["value"] > male["value"])
    assert female["true_value"] == male["true_value"] == "F"
    assert bmi["ci95_upper"] - bmi["value"] == pytest.approx(9.5, abs=1e-3)
    assert (bmi["unit"], float(bmi["true_value"])) == ("kg/m2", 22.5)
    assert set(rows["session_id"]) == {"ses-2"}
    assert rows["explained"].tolist() == [True, False, False, False]


def test_members_are_averaged_as_in_training(tmp_path: Path) -> None:
    card = make_targets_card(tmp_path / "models")
    inputs = network(card, tmp_path)
    found = Predict(**inputs, identity={"participant_id": "sub-01"}).run(cwd=str(tmp_path))
    rows = io.read_tsv(Path(found.outputs.predictions))
    volume = io.load_nifti(Path(inputs["volume"])).get_fdata(dtype="float32")
    with torch.inference_mode():
        outputs = [member(torch.from_numpy(volume)[None, None]) for member in load_members(card)]
    own = [decode_table(output, card.heads) for output in outputs]
    wanted = average_tables(own, card.heads).iloc[0]
    names = ["predicted_age", "probability_sex_F", "probability_sex_M", "predicted_bmi"]
    assert rows["value"].to_numpy() == pytest.approx(wanted[names].to_numpy(float), rel=1e-4)
    spread = np.std([table["predicted_bmi"][0] for table in own], ddof=1)
    assert rows["member_sd"].iloc[-1] == pytest.approx(spread, rel=1e-4)


def test_a_network_without_an_age_has_no_age_and_no_gap(tmp_path: Path) -> None:
    card = make_class_card(tmp_path / "models")
    found = Predict(
        **network(card, tmp_path),
        identity={"participant_id": "sub-01"},
        age_source="participants.tsv",
        truths={"diagnosis": "CN"},
    ).run(cwd=str(tmp_path))
    row = io.read_tsv(Path(found.outputs.brainage)).iloc[0]
    absent = ["predicted_age", "ci95_lower", "gap", "gap_corrected", "gap_z", "member_sd"]
    assert row[absent].isna().all()
    assert (row["target"], row["flags"], row["verdict"]) == ("diagnosis", "none", "usable")
    assert row["chronological_age"] == 40
    assert not isdefined(found.outputs.agedist)
    rows = io.read_tsv(Path(found.outputs.predictions)).set_index("class")
    assert rows["explained"].to_dict() == {"AD": True, "CN": False, "MCI": False}
    assert found.outputs.predicted == pytest.approx(100 * rows.loc["AD", "value"], rel=1e-4)
    assert rows["predicted"].sum() == 1
