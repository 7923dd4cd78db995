"""Absurd images are what their names say, and the table tells what caught them."""

from __future__ import annotations

import nibabel as nib
import numpy as np
import pandas as pd
import pytest

from benchmarks import absurd
from bidsapp_brainage import io
from bidsapp_brainage.errors import DataError
from bidsapp_brainage.model.tissue import three_levels

SHAPE = (60, 72, 60)


@pytest.fixture(scope="module")
def head():
    """Shells of fluid, white and grey matter in fluid, within a scalp; and the mask."""
    axes = np.meshgrid(*(np.linspace(-1, 1, n) for n in SHAPE), indexing="ij")
    radius = np.sqrt(sum(axis**2 for axis in axes))
    head = np.select([radius < 0.12, radius < 0.4, radius < 0.55, radius < 0.6], [20, 110, 80, 22])
    head = np.where((radius > 0.75) & (radius < 0.85), 160, head)
    head = head + np.abs(np.random.default_rng(0).normal(0, 1, SHAPE))
    affine = np.diag([3.0, 3.0, 3.0, 1.0])
    return nib.Nifti1Image(head.astype(np.float32), affine), radius < 0.6


def made(head, kind):
    image, mask = head
    return np.asarray(absurd.absurd_image(image, mask, kind).dataobj)


@pytest.mark.parametrize("kind", absurd.KINDS)
def test_every_kind_differs_from_the_image_and_is_the_same_every_time(head, kind):
    first = made(head, kind)
    assert first.shape == SHAPE
    assert np.isfinite(first).all()
    assert first.min() >= 0
    assert np.array_equal(first, made(head, kind))
    assert np.array_equal(first, np.asarray(head[0].dataobj)) is (kind == "ordinary")


def test_contrasts_are_reversed_or_gone(head):
    values, mask = np.asarray(head[0].dataobj), head[1]
    fluid, grey, white = (np.abs(values - level) < 2 for level in three_levels(values[mask]))
    t2w, ct = made(head, "t2w"), made(head, "ct")
    means = [t2w[mask & part].mean() for part in (fluid, grey, white)]
    assert means[0] > 1.5 * means[1] > 1.5 * means[2]
    bone = ndarray_shell(mask)
    assert ct[bone].mean() > 2 * ct[mask].mean()
    assert abs(ct[mask & grey].mean() - ct[mask & white].mean()) < 0.1 * ct[bone].mean()


def ndarray_shell(mask):
    from scipy import ndimage

    return ndimage.binary_dilation(mask, iterations=2) & ~ndimage.binary_dilation(mask)


def test_the_lesion_lies_on_one_side_and_the_mirror_image_is_one(head):
    values, mask = np.asarray(head[0].dataobj), head[1]
    lost = values - made(head, "lesion")
    assert lost[30:][mask[30:]].sum() > 5 * abs(lost[:30][mask[:30]].sum())
    assert np.array_equal(made(head, "mirrored")[::-1], values)


def test_unknown_kinds_and_empty_masks_are_refused(head):
    image, mask = head
    with pytest.raises(DataError, match="choose from ordinary"):
        absurd.absurd_image(image, mask, "cat")
    with pytest.raises(DataError, match="empty"):
        absurd.absurd_image(image, mask & False, "noise")


def test_dataset_and_table(head, tmp_path, capsys):
    io.save_nifti(head[0], tmp_path / "t1w.nii.gz")
    io.save_nifti(nib.Nifti1Image(head[1].astype(np.uint8), head[0].affine), tmp_path / "m.nii.gz")
    bids, derivatives = tmp_path / "out" / "bids", tmp_path / "out" / "derivatives"
    arguments = [str(tmp_path / "t1w.nii.gz"), str(tmp_path / "m.nii.gz"), str(tmp_path / "out")]
    arguments += ["--age", "40", "--only", "ordinary", "noise", "t2w", "--child", arguments[0]]
    absurd.write_dataset(absurd._parser().parse_args(arguments), bids)
    assert len(list(bids.glob("sub-*/anat/*_T1w.nii.gz"))) == 4
    ages = io.read_tsv(bids / "participants.tsv").set_index("participant_id")["age"]
    assert (ages["sub-child"], ages["sub-t2w"]) == (3, 40)
    plain = {"predicted_age": 44.0, "ci95_lower": 30.0, "ci95_upper": 58.0, "flags": "none"}
    strange = {**plain, "flags": "unlike_training,age_outside_interval", "training_distance": 3.25}
    write(derivatives, "ordinary", plain, "pass", None)
    write(derivatives, "noise", None, "fail", "does not resemble the template")
    write(derivatives, "t2w", strange, "warn", "weak resemblance")
    assert absurd.main([*arguments, "--report-only"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert "| the image itself | 40.0 | 44.0 (30.0 to 58.0) | - | - | no |" in lines
    assert (
        "| noise | 40.0 | - (- to -) | - | does not resemble the template | no age is given |"
        in lines
    )
    assert any(
        "| 3.25 | weak resemblance | unlike training, age outside interval, quality |" in line
        for line in lines
    )
    assert any(line.startswith("| child | 3.0 |") and "no result" in line for line in lines)


def write(folder, kind, row, decision, reason):
    place = folder / f"sub-{kind}" / "anat"
    if row is not None:
        io.write_tsv(place / f"sub-{kind}_desc-x_brainage.tsv", pd.DataFrame([row]))
    quality = pd.DataFrame([{"decision": decision, "decision_reason": reason}])
    io.write_tsv(place / f"sub-{kind}_desc-x_qc.tsv", quality)
