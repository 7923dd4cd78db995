"""Transforms, masks and tissue of sMRIPrep, brought to what the app's own would be."""

from __future__ import annotations

import shutil
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk

from bidsapp_brainage import io
from bidsapp_brainage.imaging.conversion import affine_to_sitk
from bidsapp_brainage.imaging.distance import edge_offset, within
from bidsapp_brainage.imaging.transforms import read_xfm
from bidsapp_brainage.interfaces.atlas import joined_templates
from bidsapp_brainage.interfaces.reuse import CompareGiven, GivenMask, GivenTransforms
from tests.reuse.person import OTHER, RIGID, Person

NAMES = {
    "forward": "sub-01_from-T1w_to-MNI152NLin2009cAsym_mode-image_xfm.h5",
    "inverse": "sub-01_from-MNI152NLin2009cAsym_to-T1w_mode-image_xfm.h5",
}
SIDES = np.array([-1.0, -1.0, 1.0])


def given(person: Person, folder: Path, **changes: object) -> GivenTransforms:
    inputs = {
        "t1w": str(person.t1w),
        "template": str(person.template[0]),
        "template_mask": str(person.template[1]),
        "own_name": "MNI152NLin2009cAsym",
        "cache_dir": str(folder / "cache"),
        "sloppy": True,
        **{key: str(person.folder / name) for key, name in NAMES.items()},
        **changes,
    }
    return GivenTransforms(**inputs)


def run(interface, folder: Path):
    folder.mkdir(exist_ok=True)
    return interface.run(cwd=str(folder)).outputs


def through(points: np.ndarray, *transforms: sitk.Transform) -> np.ndarray:
    """Points (RAS mm) through transforms, one after the other."""
    found = []
    for point in points * SIDES:
        for transform in transforms:
            point = transform.TransformPoint([float(each) for each in point])
        found.append(point)
    return np.array(found) * SIDES


@pytest.fixture(scope="module")
def points(person: Person) -> np.ndarray:
    """Places all over the brain of the model's template, RAS mm."""
    mask = nib.load(person.template[1])
    voxels = np.argwhere(np.asarray(mask.dataobj) > 0)
    chosen = np.random.default_rng(0).choice(len(voxels), 400, replace=False)
    return nib.affines.apply_affine(mask.affine, voxels[chosen] + 0.3)


@pytest.mark.parametrize("single", [False, True])
def test_points_go_the_same_way_through_theirs_and_ours(
    person, joint, points, tmp_path, single
) -> None:
    changes: dict[str, object] = {"joint": joint}
    there, back = [affine_to_sitk(np.linalg.inv(OTHER)), person.to_t1w], [person.to_other]
    back.append(affine_to_sitk(OTHER))
    if single:  # the scan is one of those that the T1w is the mean of
        rigid = affine_to_sitk(RIGID)
        sitk.WriteTransform(rigid, str(tmp_path / "orig.txt"))
        alone = nib.load(person.t1w)
        io.save_nifti(
            nib.Nifti1Image(np.asarray(alone.dataobj), RIGID @ alone.affine),
            tmp_path / "one.nii.gz",
        )
        changes |= {"orig": str(tmp_path / "orig.txt"), "t1w": str(tmp_path / "one.nii.gz")}
        there, back = [*there, rigid], [rigid.GetInverse(), *back]
    made = run(given(person, tmp_path, **changes), tmp_path / "node")
    forward, inverse = read_xfm(Path(made.forward)), read_xfm(Path(made.inverse))
    target = through(points, *there)
    assert np.linalg.norm(through(points, forward) - target, axis=1).max() < 0.2
    assert np.linalg.norm(through(target, inverse) - through(target, *back), axis=1).max() < 0.2


def test_templates_are_joined_once(person, points, tmp_path) -> None:
    found = joined_templates(person.other, person.template, tmp_path, sloppy=True)
    ours = through(points, read_xfm(found.forward))
    truth = nib.affines.apply_affine(np.linalg.inv(OTHER), points)
    assert np.median(np.linalg.norm(ours - truth, axis=1)) < 1.0
    before = found.forward.stat().st_mtime_ns
    assert joined_templates(person.other, person.template, tmp_path, sloppy=True) == found
    assert found.forward.stat().st_mtime_ns == before


def affine_only(person: Person, path: Path) -> None:
    sitk.WriteTransform(sitk.CompositeTransform([affine_to_sitk(OTHER)]), str(path))


def truncated(person: Person, path: Path) -> None:
    path.write_bytes((person.folder / NAMES["forward"]).read_bytes()[:40_000])


def other_way(person: Person, path: Path) -> None:
    shutil.copyfile(person.folder / NAMES["inverse"], path)


def of_another_image(person: Person, path: Path) -> None:
    far = np.eye(4)
    far[:3, 3] = (0, 120, 90)
    moved = sitk.CompositeTransform([affine_to_sitk(far), person.to_t1w])
    field = sitk.TransformToDisplacementField(
        moved, sitk.sitkVectorFloat64, [30] * 3, [-110.0] * 3, [8.0] * 3
    )
    sitk.WriteTransform(sitk.DisplacementFieldTransform(field), str(path))


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (affine_only, "affine only"),
        (truncated, "not a readable ITK transform"),
        (other_way, "one is not the inverse of the other"),
        (of_another_image, "one is not the inverse of the other"),
    ],
)
def test_spoilt_transforms_are_named(person, joint, tmp_path, spoil, words) -> None:
    path = tmp_path / NAMES["forward"]
    spoil(person, path)
    with pytest.raises(Exception, match=words) as caught:
        run(given(person, tmp_path, joint=joint, forward=str(path)), tmp_path / "node")
    assert path.name in str(caught.value)
    assert str(tmp_path) not in str(caught.value)


def test_transforms_of_another_space_are_told(person, tmp_path) -> None:
    """Both are sound, but do not bring this image to the template."""
    far = np.eye(4)
    far[:3, 3] = (20, 70, 60)
    pair = tmp_path / "far", tmp_path / "back"
    for path, matrix, near in (
        (pair[0], far, person.to_t1w),
        (pair[1], np.linalg.inv(far), person.to_other),
    ):
        parts = [near, affine_to_sitk(matrix)]
        chain = parts if path is pair[1] else parts[::-1]
        flat = sitk.CompositeTransform(chain)
        flat.FlattenTransform()
        sitk.WriteTransform(flat, f"{path}.h5")
    changes = {"forward": f"{pair[0]}.h5", "inverse": f"{pair[1]}.h5"}
    with pytest.raises(Exception, match="another image, another template") as caught:
        run(given(person, tmp_path, **changes), tmp_path / "node")
    assert "far.h5 and back.h5" in str(caught.value)


def test_a_mask_follows_the_scan_that_theirs_is_the_mean_of(person, tmp_path) -> None:
    sitk.WriteTransform(affine_to_sitk(RIGID), str(tmp_path / "orig.txt"))
    theirs = nib.load(person.folder / "sub-01_desc-brain_mask.nii.gz")
    moved = nib.Nifti1Image(np.asarray(nib.load(person.t1w).dataobj), RIGID @ theirs.affine)
    io.save_nifti(moved, tmp_path / "one.nii.gz")
    mask = str(person.folder / "sub-01_desc-brain_mask.nii.gz")
    made = run(
        GivenMask(
            mask=mask,
            t1w=str(tmp_path / "one.nii.gz"),
            same_grid=str(person.t1w),
            orig=str(tmp_path / "orig.txt"),
        ),
        tmp_path / "node",
    )
    found, truth = nib.load(made.out_file).get_fdata() > 0, theirs.get_fdata() > 0
    assert (found != truth).sum() < 0.01 * truth.sum()


@pytest.mark.parametrize(
    ("data", "affine", "words"),
    [
        (np.ones((20, 20, 20), np.uint8), np.diag([4.0, 4, 4, 1]), "another grid than"),
        (np.zeros((84, 100, 88), np.uint8), None, "is empty where the image is"),
    ],
)
def test_wrong_masks_are_named(person, tmp_path, data, affine, words) -> None:
    path = tmp_path / "sub-01_desc-brain_mask.nii.gz"
    place = nib.load(person.t1w).affine if affine is None else affine
    nib.save(nib.Nifti1Image(data, place), path)
    node = GivenMask(mask=str(path), t1w=str(person.t1w), same_grid=str(person.t1w))
    with pytest.raises(Exception, match=words) as caught:
        run(node, tmp_path / "node")
    assert path.name in str(caught.value)


def test_how_far_transforms_are_apart(person, tmp_path) -> None:
    """One of them is the other, 3 mm to the side."""
    theirs = person.folder / NAMES["forward"]
    moved = sitk.CompositeTransform([sitk.TranslationTransform(3, (0.0, 3.0, 0.0)), person.to_t1w])
    moved.FlattenTransform()
    sitk.WriteTransform(moved, str(tmp_path / "own.h5"))
    given = {"given_xfm": str(theirs), "own_xfm": str(tmp_path / "own.h5")}
    found = compared(person, tmp_path, **given)
    assert found == {"given_xfm_mm": pytest.approx(3.0, abs=0.01)}


def compared(person: Person, folder: Path, **inputs: object) -> dict[str, float]:
    node = CompareGiven(
        t1w=str(person.t1w), stripped=True, template_mask=str(person.other[1]), **inputs
    )
    return run(node, folder / "node").facts


def test_a_wider_mask_is_noticed(person, tmp_path) -> None:
    mask = person.folder / "sub-01_desc-brain_mask.nii.gz"
    xfm = {"inverse_xfm": str(person.folder / NAMES["inverse"])}
    assert compared(person, tmp_path, mask=str(mask), **xfm)["mask_edge_mm"] == pytest.approx(
        0.0, abs=0.05
    )
    wide = within(nib.load(mask).get_fdata() > 0, np.full(3, 2.5), 5.1)
    path = tmp_path / "wide.nii.gz"
    nib.save(nib.Nifti1Image(wide.astype(np.uint8), nib.load(mask).affine), path)
    own = {"own_mask": str(mask)}
    assert 3.0 < compared(person, tmp_path, mask=str(path), **own)["given_mask_edge_mm"] < 6.0


@pytest.mark.parametrize("mm", [-4.0, -2.0, 2.0, 4.0])
def test_edge_offset_of_balls(mm: float) -> None:
    radius = np.linalg.norm(np.indices((60, 60, 60)) - 29.5, axis=0)
    found = edge_offset(radius < 18 + mm, radius < 18, np.ones(3))
    assert found == pytest.approx(mm, abs=0.5)


def test_tissue_by_probabilities_and_by_classes_is_the_same(person, tmp_path) -> None:
    tissues = {
        name: str(person.folder / f"sub-01_label-{name}_probseg.nii.gz")
        for name in ("GM", "WM", "CSF")
    }
    dseg = str(person.folder / "sub-01_dseg.nii.gz")
    by_probability = compared(person, tmp_path, tissues=tissues)
    assert by_probability["given_gm_ml"] > 100
    assert compared(person, tmp_path, dseg=dseg, own_t1w=str(person.t1w)) == pytest.approx(
        by_probability
    )
    spoilt = tmp_path / "sub-01_dseg.nii.gz"
    nib.save(nib.Nifti1Image(np.ones((84, 100, 88), np.uint8), np.eye(4)), spoilt)
    with pytest.raises(Exception, match="1 classes") as caught:
        compared(person, tmp_path, dseg=str(spoilt), own_t1w=str(person.t1w))
    assert spoilt.name in str(caught.value)
