from __future__ import annotations

from pathlib import Path

import pytest

from bidsapp_brainage.bids.names import (
    bids_uri,
    derivative_path,
    find_outputs,
    log_dir,
    parse_name,
    report_path,
    scan_entities,
    sidecar_path,
)
from bidsapp_brainage.errors import WorkflowError

SCAN = (("sub", "01"), ("ses", "1"))
ATLAS = {"atlas": "A", "scale": 246}
P = "sub-01/ses-1/anat/sub-01_ses-1"

#: Every name of the documented output tree: how it is asked for, and what it must be.
NAMES = [
    ({"suffix": "T1w", "desc": "preproc"}, f"{P}_desc-preproc_T1w.nii.gz"),
    ({"suffix": "mask", "desc": "brain"}, f"{P}_desc-brain_mask.nii.gz"),
    (
        {"suffix": "xfm", "extension": ".h5", "from_": "T1w", "to": "MNI", "mode": "image"},
        f"{P}_from-T1w_to-MNI_mode-image_xfm.h5",
    ),
    (
        {"suffix": "xfm", "extension": ".h5", "from_": "MNI", "to": "T1w", "mode": "image"},
        f"{P}_from-MNI_to-T1w_mode-image_xfm.h5",
    ),
    (
        {
            "suffix": "xfm",
            "extension": ".txt",
            "from_": "T1w",
            "to": "MNI",
            "mode": "image",
            "desc": "affine",
        },
        f"{P}_from-T1w_to-MNI_mode-image_desc-affine_xfm.txt",
    ),
    (
        {"suffix": "T1w", "space": "MNI", "res": 1, "desc": "preproc"},
        f"{P}_space-MNI_res-1_desc-preproc_T1w.nii.gz",
    ),
    (
        {"suffix": "mask", "space": "MNI", "res": 1, "desc": "brain"},
        f"{P}_space-MNI_res-1_desc-brain_mask.nii.gz",
    ),
    (
        {"suffix": "T1w", "space": "MNI", "res": 1, "desc": "sfcninput"},
        f"{P}_space-MNI_res-1_desc-sfcninput_T1w.nii.gz",
    ),
    (
        {"suffix": "dseg", "space": "T1w", **ATLAS},
        f"{P}_space-T1w_atlas-A_scale-246_dseg.nii.gz",
    ),
    (
        {"suffix": "dseg", "space": "T1w", "atlas": "A", "seg": "7n", "scale": 100},
        f"{P}_space-T1w_atlas-A_seg-7n_scale-100_dseg.nii.gz",
    ),
    (
        {"suffix": "brainage", "extension": ".tsv", "desc": "sfcn"},
        f"{P}_desc-sfcn_brainage.tsv",
    ),
    ({"suffix": "agedist", "extension": ".tsv", "desc": "sfcn"}, f"{P}_desc-sfcn_agedist.tsv"),
    ({"suffix": "qc", "extension": ".tsv", "desc": "sfcn"}, f"{P}_desc-sfcn_qc.tsv"),
    (
        {"suffix": "occlusion", "extension": ".tsv", "space": "MNI", "desc": "sfcn", **ATLAS},
        f"{P}_space-MNI_atlas-A_scale-246_desc-sfcn_occlusion.tsv",
    ),
    (
        {"suffix": "occlusionmap", "space": "MNI", "res": 1, "desc": "sfcn", **ATLAS},
        f"{P}_space-MNI_atlas-A_scale-246_res-1_desc-sfcn_occlusionmap.nii.gz",
    ),
    (
        {"suffix": "occlusionmap", "space": "T1w", "desc": "sfcn", **ATLAS},
        f"{P}_space-T1w_atlas-A_scale-246_desc-sfcn_occlusionmap.nii.gz",
    ),
    (
        {"suffix": "mask", "extension": ".svg", "datatype": "figures", "desc": "brain"},
        "sub-01/figures/sub-01_ses-1_desc-brain_mask.svg",
    ),
    (
        {"suffix": "T1w", "extension": ".svg", "datatype": "figures", "desc": "sfcninput"},
        "sub-01/figures/sub-01_ses-1_desc-sfcninput_T1w.svg",
    ),
    *(
        (
            {"suffix": suffix, "extension": ".tsv", "space": "MNI", "desc": "sfcn", **ATLAS},
            f"{P}_space-MNI_atlas-A_scale-246_desc-sfcn_{suffix}.tsv",
        )
        for suffix in (
            *("occlusionbaselines", "occlusioncontrols", "agreement"),
            *("lrp", "ig", "noise", "randomisation"),
        )
    ),
    *(
        (
            {"suffix": suffix, "space": "MNI", "res": 2, "desc": "sfcn"},
            f"{P}_space-MNI_res-2_desc-sfcn_{suffix}.nii.gz",
        )
        for suffix in ("lrpmap", "igmap", "noisemap")
    ),
]

#: Names without participant.
ROOT_NAMES = [
    ({"suffix": "description", "extension": ".json", "atlas": "A"}, "atlas-A_description.json"),
    ({"suffix": "dseg", "extension": ".tsv", **ATLAS}, "atlas-A_scale-246_dseg.tsv"),
    (
        {"suffix": "dseg", "extension": ".tsv", "atlas": "A", "seg": "7n", "scale": 100},
        "atlas-A_seg-7n_scale-100_dseg.tsv",
    ),
    (
        {"suffix": "dseg", "tpl": "MNI", "res": 1, **ATLAS},
        "tpl-MNI/anat/tpl-MNI_atlas-A_scale-246_res-1_dseg.nii.gz",
    ),
    (
        {"suffix": "occlusionmap", "tpl": "MNI", "res": 1, "desc": "sfcnmean", **ATLAS},
        "tpl-MNI/anat/tpl-MNI_atlas-A_scale-246_res-1_desc-sfcnmean_occlusionmap.nii.gz",
    ),
    (
        {"suffix": "brainage", "extension": ".tsv", "desc": "sfcn"},
        "group_desc-sfcn_brainage.tsv",
    ),
    (
        {"suffix": "brainage", "extension": ".html", "desc": "sfcn"},
        "group_desc-sfcn_brainage.html",
    ),
    (
        {"suffix": "occlusion", "extension": ".tsv", "desc": "sfcn", **ATLAS},
        "group_atlas-A_scale-246_desc-sfcn_occlusion.tsv",
    ),
    (
        {"suffix": "occlusionstats", "extension": ".tsv", "desc": "sfcn", **ATLAS},
        "group_atlas-A_scale-246_desc-sfcn_occlusionstats.tsv",
    ),
    (
        {"suffix": "metrics", "extension": ".tsv", "desc": "sfcn"},
        "group_desc-sfcn_metrics.tsv",
    ),
    (
        {"suffix": "brainage", "extension": ".tsv", "datatype": "phenotype"},
        "phenotype/brainage.tsv",
    ),
]


@pytest.mark.parametrize(("wanted", "name"), NAMES)
def test_names_of_scans(wanted, name):
    made = derivative_path(Path("/out"), SCAN, **{"extension": ".nii.gz", **wanted})
    assert made.relative_to("/out").as_posix() == name


@pytest.mark.parametrize(("wanted", "name"), ROOT_NAMES)
def test_names_without_participant(wanted, name):
    made = derivative_path(Path("/out"), (), **{"extension": ".nii.gz", **wanted})
    assert made.relative_to("/out").as_posix() == name


def test_sessions_are_optional_and_runs_are_kept_as_written():
    name = derivative_path(
        Path(), (("sub", "01"), ("run", "02")), suffix="T1w", extension=".json", desc="preproc"
    )
    assert name.as_posix() == "sub-01/anat/sub-01_run-02_desc-preproc_T1w.json"


@pytest.mark.parametrize(
    "wanted",
    [
        {"suffix": "bold", "extension": ".nii.gz"},
        {"suffix": "T1w", "extension": ".h5"},
        {"suffix": "brainage", "extension": ".tsv"},  # which model?
        {"suffix": "T1w", "extension": ".nii.gz", "colour": "red"},
        {"suffix": "T1w", "extension": ".nii.gz", "desc": "a-b"},
        {"suffix": "T1w", "extension": ".nii.gz", "desc": "../x"},
    ],
)
def test_there_is_no_other_name(wanted):
    with pytest.raises(WorkflowError):
        derivative_path(Path("/out"), SCAN, **wanted)


def test_parts_of_a_name():
    path = Path("sub-01_ses-1_acq-x_run-01_desc-preproc_T1w.nii.gz")
    assert parse_name(path)["suffix"] == "T1w"
    assert parse_name(path)["extension"] == ".nii.gz"
    assert scan_entities(path) == (("sub", "01"), ("ses", "1"), ("acq", "x"), ("run", "01"))
    assert sidecar_path(path).name == "sub-01_ses-1_acq-x_run-01_desc-preproc_T1w.json"


def test_other_places():
    assert report_path(Path("/o"), "01") == Path("/o/sub-01.html")
    assert log_dir(Path("/o"), "01", "u") == Path("/o/sub-01/log/u")


def test_uri_of_a_link_out_of_the_dataset(tmp_path):
    root = tmp_path / "bids"
    root.mkdir()
    (tmp_path / "annex").touch()
    (root / "sub-01_T1w.nii.gz").symlink_to(tmp_path / "annex")
    assert bids_uri(root / "sub-01_T1w.nii.gz", root, "raw") == "bids:raw:sub-01_T1w.nii.gz"


def test_outputs_are_found_by_their_entities(tmp_path):
    for subject in ("01", "011"):
        for model in ("sfcn", "other"):
            path = derivative_path(
                tmp_path,
                (("sub", subject), ("ses", "1")),
                suffix="brainage",
                extension=".tsv",
                desc=model,
            )
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
    found = find_outputs(tmp_path, suffix="brainage", extension=".tsv", sub="01", desc="sfcn")
    assert [path.name for path in found] == ["sub-01_ses-1_desc-sfcn_brainage.tsv"]
    assert len(find_outputs(tmp_path, suffix="brainage", extension=".tsv")) == 4
