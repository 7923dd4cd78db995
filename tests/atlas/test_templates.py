"""Templates: the merged home, and what happens when files are missing or damaged."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from bidsapp_brainage import io
from bidsapp_brainage.atlas import templates
from bidsapp_brainage.atlas.templates import get_template, prepare_home, templates_of
from bidsapp_brainage.errors import ResourceError, UsageError
from tests.atlas.boxes import AFFINE, brain, image

_ASK = """
import os, socket, sys
from pathlib import Path

def refuse(*_args, **_kwargs):
    raise OSError("no network here")

socket.getaddrinfo = refuse
socket.socket.connect = refuse
from bidsapp_brainage.atlas.templates import prepare_home
home = prepare_home(Path(sys.argv[1]))
os.environ["TEMPLATEFLOW_HOME"] = str(home)
import templateflow.api
print(templateflow.api.get("MNI152NLin2009aSym", resolution=1, suffix="T1w", desc=None))
print(templateflow.api.get("MNI152NLin2009aSym", atlas="BrainageDemo", extension=".tsv"))
"""


def test_embedded_template_is_found_and_is_a_brain(merged_home: Path) -> None:
    files = get_template("MNI152NLin2009aSym", home=merged_home)
    assert files.skull_stripped
    mask = nib.load(files.mask)
    assert mask.shape == (197, 233, 189)
    np.testing.assert_array_equal(mask.affine[:3, 3], (-98, -134, -72))
    assert 1.85e6 < np.asanyarray(mask.dataobj).sum() < 1.92e6  # mm3
    np.testing.assert_array_equal(
        np.asanyarray(mask.dataobj) > 0, np.asanyarray(nib.load(files.t1w).dataobj) > 0
    )


@pytest.mark.slow
@pytest.mark.parametrize("user_home", ["", "/dev/null/nowhere"])
def test_fresh_process_without_network_or_home(tmp_path: Path, user_home: str) -> None:
    """HOME cannot be written, the network is away; TemplateFlow itself finds the files."""
    environment = {
        "HOME": "/dev/null/nobody",
        "PATH": os.environ["PATH"],
        "PYTHONPATH": str(Path(__file__).parents[2]),
    }
    if user_home:
        environment["TEMPLATEFLOW_HOME"] = user_home
    done = subprocess.run(
        [sys.executable, "-c", _ASK, str(tmp_path)],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "tpl-MNI152NLin2009aSym_res-01_T1w.nii.gz" in done.stdout
    assert "tpl-MNI152NLin2009aSym_atlas-BrainageDemo_dseg.tsv" in done.stdout


@pytest.fixture
def quick_images(monkeypatch: pytest.MonkeyPatch) -> None:
    """Small stand-ins for the embedded images."""
    pair = (image(brain() * np.uint8(100)), image(brain()))
    monkeypatch.setattr(templates, "embedded_images", lambda: pair)


@pytest.mark.usefixtures("quick_images")
def test_home_merges_users_templates_and_can_be_read_only(tiny_home: Path, tmp_path: Path) -> None:
    for folder in (tiny_home / "tpl-Tiny", tiny_home):
        folder.chmod(0o555)
    home = prepare_home(tmp_path / "work")
    assert get_template("Tiny", home=home).t1w.parent.parent == home
    assert get_template("MNI152NLin2009aSym", home=home).skull_stripped
    tiny_home.chmod(0o755)


@pytest.mark.usefixtures("quick_images")
def test_home_of_a_home_is_itself(
    tiny_home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = prepare_home(tmp_path)
    monkeypatch.setenv("TEMPLATEFLOW_HOME", str(first))
    assert prepare_home(tmp_path) == first
    assert templates.user_home() == tiny_home


@pytest.mark.usefixtures("quick_images")
def test_home_follows_the_users_folder(tiny_home: Path, tmp_path: Path) -> None:
    home = prepare_home(tmp_path)
    (tiny_home / "tpl-Later").mkdir()
    (tiny_home / "tpl-Tiny").rename(tiny_home / "tpl-Renamed")
    assert prepare_home(tmp_path) == home
    assert sorted(path.name for path in home.glob("tpl-*")) == [
        "tpl-Later",
        "tpl-MNI152NLin2009aSym",
        "tpl-Renamed",
    ]


@pytest.mark.usefixtures("quick_images")
def test_homes_of_two_users_do_not_mix(
    tiny_home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mine = prepare_home(tmp_path)
    monkeypatch.setenv("TEMPLATEFLOW_HOME", str(tmp_path / "other"))
    theirs = prepare_home(tmp_path)
    assert mine != theirs
    assert not (theirs / "tpl-Tiny").exists()


@pytest.mark.usefixtures("quick_images", "tiny_home")
def test_concurrent_jobs_share_a_work_folder(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        homes = set(pool.map(lambda _: prepare_home(tmp_path / "work"), range(16)))
    (home,) = homes
    hidden = {path.name for path in home.rglob(".*")}
    assert hidden == {".bidsapp-brainage-home.json"}
    assert get_template("MNI152NLin2009aSym", home=home).mask.is_file()


@pytest.mark.usefixtures("quick_images", "tiny_home")
def test_links_are_replaced_by_copies_where_there_are_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_links(*_args: object, **_options: object) -> None:
        raise PermissionError("no links on this file system")

    monkeypatch.setattr(Path, "symlink_to", no_links)
    home = prepare_home(tmp_path / "work")
    assert not (home / "tpl-Tiny").is_symlink()
    assert get_template("Tiny", home=home).t1w.is_file()


def test_unwritable_work_folder_says_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="`work_dir`"):
        prepare_home(tmp_path / "file" / "work")


def test_whole_head_is_recognised(tiny_home: Path) -> None:
    assert get_template("Tiny").skull_stripped
    head = np.full((10, 10, 10), 50, np.uint8)
    io.save_nifti(image(head), tiny_home / "tpl-Tiny" / "tpl-Tiny_res-01_T1w.nii.gz")
    assert not get_template("Tiny").skull_stripped


@pytest.mark.usefixtures("tiny_home")
def test_missing_template_names_the_command() -> None:
    words = r"cohort-2.*templateflow get MNIInfant --cohort 2 --suffix T1w --suffix mask`"
    with pytest.raises(ResourceError, match=words):
        get_template("MNIInfant", cohort="2")
    with pytest.raises(ResourceError, match="templateflow get MNIColin27 --suffix T1w --suffix m"):
        get_template("MNIColin27")


@pytest.mark.usefixtures("tiny_home")
@pytest.mark.parametrize(
    ("space", "words"),
    [
        (("bogus", "", None), r"TemplateFlow does not offer bogus\. Correct the name"),
        (("MNI152NLin6Asm", "", None), "Did you mean MNI152NLin6Asym or MNI152NLin6Sym"),
        (
            ("MNI152NLin6Asym", "2", None),
            r"offer MNI152NLin6Asym \(.*cohort: 2\)",
        ),
        (
            ("MNI152NLin6Asym", "", 9),
            r"offer MNI152NLin6Asym \(.*resolution: 9",
        ),
        (("MNI152NLin2009bAsym", "", None), "does not offer"),  # it has no brain mask
    ],
)
def test_no_fetch_that_cannot_work_is_suggested(space, words: str) -> None:
    with pytest.raises(UsageError, match=words) as caught:
        templates_of([space], besides="Other")
    assert "templateflow get" not in str(caught.value)


@pytest.mark.usefixtures("tiny_home")
def test_spaces_are_found_once_and_the_models_own_is_left_out() -> None:
    (found,) = templates_of([("Tiny", "", 1), ("Own", "", None), ("Tiny", "", 1)], besides="Own")
    assert (found.name, found.label) == ("Tiny", "Tiny")
    with pytest.raises(UsageError, match="two resolutions"):
        templates_of([("Tiny", "", 1), ("Tiny", "", 2)], besides="Own")


def test_template_with_cohorts(tiny_home: Path) -> None:
    folder = tiny_home / "tpl-Tiny"
    for cohort in ("1", "2"):
        for path in list(folder.glob("*_res-01_[Td]*.nii.gz")):
            target = (
                folder / f"cohort-{cohort}" / path.name.replace("_res", f"_cohort-{cohort}_res")
            )
            target.parent.mkdir(exist_ok=True)
            shutil.copy(path, target)
    for path in folder.glob("*_res-01_[Td]*.nii.gz"):
        path.unlink()
    found = get_template("Tiny", cohort="2")
    assert found.t1w.parent.name == "cohort-2"
    assert found.label == "Tiny+2"
    with pytest.raises(ResourceError, match="Name a cohort, for example Tiny:cohort-1"):
        get_template("Tiny")


def test_template_with_one_grid_that_has_no_name(tiny_home: Path) -> None:
    for path in list((tiny_home / "tpl-Tiny").glob("*_res-01_*")):
        path.rename(path.with_name(path.name.replace("_res-01", "")))
    assert get_template("Tiny").t1w.name == "tpl-Tiny_T1w.nii.gz"


@pytest.mark.parametrize("stub", ["empty", "link"])
def test_what_was_not_fetched_is_not_fetched_in_a_run(tiny_home: Path, no_network, stub) -> None:
    """TemplateFlow fetches what is a stub of 0 bytes when it is asked for; we must not."""
    path = tiny_home / "tpl-Tiny" / "tpl-Tiny_res-01_T1w.nii.gz"
    path.unlink()
    if stub == "empty":
        path.touch()
    else:
        path.symlink_to(tiny_home / ".git" / "annex" / "absent")
    with pytest.raises(ResourceError, match=r"T1w\.nii\.gz is only a place holder"):
        get_template("Tiny")
    assert no_network == []


def test_one_command_fetches_image_and_mask(tiny_home: Path) -> None:
    name = "MNI152NLin6Sym"
    for rest in ("res-01_desc-brain_mask", "res-01_T1w"):
        stub = tiny_home / f"tpl-{name}" / f"tpl-{name}_{rest}.nii.gz"
        stub.parent.mkdir(exist_ok=True)
        stub.touch()
    with pytest.raises(ResourceError, match=f"templateflow get {name} --suffix T1w --suffix mask`"):
        get_template(name)


def test_truncated_file(tiny_home: Path) -> None:
    path = tiny_home / "tpl-Tiny" / "tpl-Tiny_res-01_T1w.nii.gz"
    path.write_bytes(path.read_bytes()[:60])
    with pytest.raises(ResourceError, match=r"T1w.nii.gz.*delete it"):
        get_template("Tiny")


def test_mask_on_another_grid(tiny_home: Path) -> None:
    moved = AFFINE.copy()
    moved[0, 3] += 4
    io.save_nifti(
        image(brain(), moved), tiny_home / "tpl-Tiny" / "tpl-Tiny_res-01_desc-brain_mask.nii.gz"
    )
    with pytest.raises(ResourceError, match="not on the grid of its brain mask"):
        get_template("Tiny")


def test_ambiguous_file(tiny_home: Path) -> None:
    folder = tiny_home / "tpl-Tiny"
    twin = folder / "tpl-Tiny_res-1_T1w.nii.gz"
    twin.write_bytes((folder / "tpl-Tiny_res-01_T1w.nii.gz").read_bytes())
    with pytest.raises(ResourceError, match="has 2 files"):
        get_template("Tiny")


@pytest.mark.shared
@pytest.mark.parametrize("name", ["MNI152NLin2009cAsym", "MNI152NLin6Asym"])
def test_real_templates(shared_home: Path, name: str) -> None:
    files = get_template(name, home=shared_home)
    assert nib.load(files.t1w).shape == nib.load(files.mask).shape
