"""The embedded networks on a real brain (the MNI152 average): the engine equals full passes."""

from __future__ import annotations

import importlib.resources

import nibabel as nib
import numpy as np
import pytest

from bidsapp_brainage.atlas.templates import embedded_images
from bidsapp_brainage.explain.ensemble import Ensemble
from bidsapp_brainage.explain.occlusion import occlude
from bidsapp_brainage.imaging.network_input import card_grid
from bidsapp_brainage.imaging.transforms import apply_xfm
from bidsapp_brainage.model.cards import find_card
from bidsapp_brainage.model.networks.regional import for_brain
from bidsapp_brainage.model.prediction import decoder, predict
from bidsapp_brainage.model.weights.loading import load_members
from bidsapp_brainage.segmentation.prepare import prepared_input

REGIONS = (1, 28, 44, 89, 97, 109, 113, 120)
EXACT_YEARS = 1e-4


@pytest.fixture(scope="module")
def brain():
    card = find_card("sfcn2mm")
    t1w, mask = embedded_images()
    volume, regions = prepared_input(t1w, mask, np.eye(4), card.input)
    with importlib.resources.as_file(
        importlib.resources.files("bidsapp_brainage") / "data/atlases/brainagedemo_dseg.nii.gz"
    ) as path:
        atlas = nib.load(path)
        labels = apply_xfm(atlas, card_grid(card.input), np.eye(4), interpolation="nearest")
    members = tuple(for_brain(load_members(card), np.asarray(regions.dataobj)))
    labels = np.asarray(labels.dataobj).astype(np.int32)
    return card, members, np.asarray(volume.dataobj), labels


@pytest.mark.parametrize("baseline", ["background", "mean", "blur"])
def test_engines_agree(brain, baseline):
    card, members, volume, labels = brain
    found = {
        engine: occlude(
            Ensemble(members, decoder(card), engine=engine),
            volume,
            labels,
            REGIONS,
            baseline=baseline,
        )
        for engine in ("incremental", "loop")
    }
    difference = found["incremental"]["delta_age"] - found["loop"]["delta_age"]
    assert difference.abs().max() < EXACT_YEARS
    assert found["loop"]["delta_age"].abs().max() > 100 * EXACT_YEARS
    assert (found["loop"]["n_voxels"] > 0).all()
    expected = predict(members, volume, card).mean
    assert found["incremental"].attrs["intact_age"] == pytest.approx(expected, abs=EXACT_YEARS)
