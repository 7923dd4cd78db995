"""Prediction by a tiny untrained network."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from nipype.interfaces.base import isdefined

from bidsapp_brainage import io
from bidsapp_brainage.catalogue.flags import split
from bidsapp_brainage.errors import DataError
from bidsapp_brainage.interfaces.prediction import Predict
from bidsapp_brainage.model.cards import ModelCard
from tests.interfaces.inputs import network
from tests.model.tiny import make_card


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
