"""Models of several images, and of another than the T1w, through both levels of the app."""

from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from bidsapp_brainage.io import read_tsv
from tests.e2e.app import App
from tests.e2e.sessions import ALONE, Runs, motion

pytestmark = pytest.mark.slow

Said = tuple[int, str]


@pytest.fixture(scope="module")
def anytwo(runs: Runs) -> Said:
    """Exit code and messages of the model that takes any of its images."""
    return runs.participant("anytwo")


@pytest.fixture(scope="module")
def both(runs: Runs, anytwo: Said) -> Said:
    """Those of the model that wants both."""
    return runs.participant("both")


def test_any_of_the_images_will_do(runs: Runs, anytwo: Said) -> None:
    code, said = anytwo
    assert code == 0, said
    assert "3 of 3 scans are complete." in said
    assert "rigid registration done" in said
    found = np.loadtxt(
        runs.app.out / "sub-01/anat/sub-01_from-T1w_to-T2w_mode-image_desc-rigid_xfm.txt"
    )
    inside = np.array([[0, 0, 0, 1], [40, 20, 30, 1], [-40, -60, 10, 1]]).T
    apart = np.linalg.norm(((found - motion()) @ inside)[:3], axis=0)
    assert apart.max() < 1.5  # mm; voxels of 2.5 mm


@pytest.mark.parametrize(("person", "shown"), [("01", "TT"), ("02", "T-"), ("03", "-T")])
@pytest.mark.usefixtures("anytwo")
def test_contributions_of_modalities(runs: Runs, person: str, shown: str) -> None:
    there = [mark == "T" for mark in shown]
    table = runs.table(person, "desc-anytwo_modalities.tsv").set_index("modality")
    assert table["present"].tolist() == there
    assert table["predicted_age"].notna().tolist() == there
    age = runs.table(person, "desc-anytwo_brainage.tsv")["predicted_age"].iloc[0]
    assert table["predicted_age"].mean() == pytest.approx(age, abs=1e-3)
    several = sum(there) > 1
    assert table["delta_age"].notna().tolist() == [several, several]
    if several:
        other = table["predicted_age"].iloc[::-1].to_numpy()
        assert np.allclose(table["predicted_age_without"], other)
        assert np.allclose(table["delta_age"], other - age, atol=1e-3)


@pytest.mark.usefixtures("anytwo")
def test_contributions_of_regions_by_modality_add_up(runs: Runs) -> None:
    rows = runs.table("01", "desc-anytwo_occlusionmodalities.tsv")
    wide = rows.pivot(index="index", columns="modality", values="delta_age").dropna()
    assert len(wide) > 100
    assert wide["T1w"].abs().max() > 0
    assert not np.allclose(wide["T1w"], wide["T2w"])
    assert np.allclose(wide["all"], wide["T1w"] + wide["T2w"], atol=0.01)  # nearly: of bins


def _methods(page: str) -> str:
    """The part of a page with the text for a paper, which tells of all sessions."""
    return page[page.index('id="methods"') : page.index('id="about"')]


@pytest.mark.usefixtures("anytwo")
def test_pages_show_and_name_what_was_seen(runs: Runs) -> None:
    page = {name: runs.page(name) for name in ("01", "02", "03")}
    assert "Change without it" in page["01"]
    assert "T2w image, brought to the T1w" in page["01"]
    assert "Input of the T2w image" in page["01"]
    assert "T2w image" not in page["02"].replace(_methods(page["02"]), "")
    assert "1 T2w image, bidsapp_brainage" in page["03"]
    assert "Conformed T2w image and brain mask" in page["03"]
    assert "over the T2w image" in page["03"]
    assert "T1w image" not in page["03"].replace(_methods(page["03"]), "")
    assert all("<canvas" in each for each in page.values()), "a viewer is missing"
    index = (runs.app.out / "index.html").read_text()
    assert "3 participants, 3 images" in index


@pytest.mark.usefixtures("anytwo")
def test_files_of_a_t2w_alone_are_named_after_it(runs: Runs) -> None:
    space = "sub-03_space-MNI152NLin2009aSym_res"
    names, of_first = (
        {path.name for path in runs.app.out.glob(f"sub-{person}/*/*")} for person in ("03", "01")
    )
    assert {
        "sub-03_desc-preproc_T2w.nii.gz",
        f"{space}-1_desc-preproc_T2w.nii.gz",
        f"{space}-8_desc-anytwoinput_T2w.nii.gz",
        "sub-03_desc-anytwoinput_T2w.svg",
    } <= names
    assert not [name for name in names if name.endswith("_T1w.nii.gz")]
    assert {
        "sub-01_space-T1w_desc-preproc_T2w.nii.gz",
        "sub-01_desc-brain_T2w.svg",
        "sub-01_desc-anytwoinput_T1w.svg",
        "sub-01_desc-anytwoinput_T2w.svg",
    } <= of_first


@pytest.mark.usefixtures("anytwo")
def test_the_methods_tell_of_all_kinds_of_sessions(runs: Runs) -> None:
    text = " ".join(_methods(runs.page("03")).split())
    assert "The T1-weighted (T1w) image was brought to RAS orientation" in text
    assert "The T2w image of the session was corrected" in text
    assert "The T2w image was brought to RAS orientation" in text
    assert "turned over, because fluid is bright" in text
    assert "the brain-masked T2w image was resampled" in text


def test_a_card_that_needs_both_tells_who_lacks_one(runs: Runs, both: Said) -> None:
    code, said = both
    assert code == 1, said
    assert "1 of 2 scans are complete." in said
    assert "No T1w image matches the selection for: 03." in said
    told = " ".join(said[said.index("Not complete:") :].split())
    assert "sub-02 input The model needs T2w of this session, and there is none" in told
    assert "The model needs T2w of this session" in (runs.app.out / "runs.html").read_text()
    assert not list(runs.app.out.glob("sub-02/anat/*desc-both_brainage.tsv"))
    ages = [runs.table("01", f"desc-{m}_brainage.tsv")["predicted_age"] for m in ("anytwo", "both")]
    assert ages[0].equals(ages[1])  # the same networks and images


@pytest.mark.usefixtures("both")
def test_the_group_level_takes_them(runs: Runs) -> None:
    done = runs.group()
    assert done.returncode == 0, done.stderr
    table = read_tsv(runs.app.out / "group_desc-anytwo_brainage.tsv")
    assert table["participant_id"].tolist() == ["sub-01", "sub-02", "sub-03"]
    assert table["predicted_age"].notna().all()
    assert list(runs.app.out.glob("group_atlas-BrainageDemo_desc-anytwo_occlusionstats.tsv"))
    assert (runs.app.out / "group_desc-anytwo_brainage.html").is_file()


@pytest.mark.parametrize("modality", ["FLAIR", "SWI"])
@pytest.mark.usefixtures("anytwo")
def test_another_image_alone(runs: Runs, modality: str, tmp_path: Path) -> None:
    alone = Runs(App(tmp_path))
    (tmp_path / "bids").symlink_to(runs.app.root / "bids")
    (tmp_path / "models").symlink_to(runs.app.root / "models")
    options = ("--level", "minimal", "--participant-label", "03")
    code, said = alone.participant(f"only{modality}", *options)
    assert code == 0, said
    made = {path.name for path in alone.app.out.glob("sub-03/anat/*")}
    assert {
        f"sub-03_desc-preproc_{modality}.nii.gz",
        f"sub-03_desc-only{modality}_brainage.tsv",
    } <= made
    page = alone.page("03")
    assert f"1 {modality} image, bidsapp_brainage" in page
    assert f"Conformed {modality} image and brain mask" in page
    masks = [
        np.asarray(nib.load(out / "sub-03/anat/sub-03_desc-brain_mask.nii.gz").dataobj) > 0
        for out in (runs.app.out, alone.app.out)
    ]
    both = 2 * (masks[0] & masks[1]).sum() / sum(mask.sum() for mask in masks)
    assert both > 0.95, f"mask of {ALONE[modality]}"
