"""Models that prepare raw images themselves, as steps of the workflow."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from bidsapp_brainage import io
from bidsapp_brainage.interfaces.prediction import FastAge, HeadInput, Predict
from bidsapp_brainage.model.cards import ModelCard
from tests.model.tiny import make_quick_card, make_raw_card
from tests.segmentation.heads import raw_head, template_brain


@pytest.mark.parametrize("make", [make_raw_card, make_quick_card])
def test_the_check_is_the_prediction_of_the_fast_level(make, tmp_path: Path) -> None:
    card: ModelCard = make(tmp_path / "models")
    t1w, weights = tmp_path / "t1w.nii.gz", [str(weight.path) for weight in card.weights]
    io.save_nifti(raw_head(template_brain(), np.eye(4)), t1w)
    seen = HeadInput(card=str(card.path), t1w=str(t1w)).run(cwd=str(tmp_path)).outputs
    predicted = Predict(
        card=str(card.path),
        weights=weights,
        volume=seen.volume,
        mask=seen.mask,
        identity={"participant_id": "sub-01"},
    ).run(cwd=str(tmp_path))
    row = io.read_tsv(Path(predicted.outputs.brainage)).iloc[0]
    check = FastAge(card=str(card.path), weights=weights, t1w=str(t1w)).run(cwd=str(tmp_path))
    assert check.outputs.fast_age == pytest.approx(row["predicted_age"], abs=0.05)
    assert io.load_nifti(Path(seen.volume)).shape == tuple(card.input["shape"])
