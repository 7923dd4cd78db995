"""Every name of the documented output tree: how it is asked for, and what it must be."""

from __future__ import annotations

SCAN = (("sub", "01"), ("ses", "1"))
ATLAS = {"atlas": "A", "scale": 246}
P = "sub-01/ses-1/anat/sub-01_ses-1"

#: Of a participant.
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
    ({"suffix": "dseg"}, f"{P}_dseg.nii.gz"),
    ({"suffix": "dseg", "extension": ".tsv"}, f"{P}_dseg.tsv"),
    ({"suffix": "probseg", "label": "GM"}, f"{P}_label-GM_probseg.nii.gz"),
    ({"suffix": "volumes", "extension": ".tsv"}, f"{P}_volumes.tsv"),
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
        {"suffix": "noisemap", "tpl": "MNI", "res": 1, "desc": "sfcnmean"},
        "tpl-MNI/anat/tpl-MNI_res-1_desc-sfcnmean_noisemap.nii.gz",
    ),
    (
        {"suffix": "lrpmap", "tpl": "MNI", "cohort": "20to30", "res": 1, "desc": "sfcnse"},
        "tpl-MNI/cohort-20to30/anat/tpl-MNI_cohort-20to30_res-1_desc-sfcnse_lrpmap.nii.gz",
    ),
    (
        {"suffix": "attributionstats", "extension": ".tsv", "desc": "sfcn", **ATLAS},
        "group_atlas-A_scale-246_desc-sfcn_attributionstats.tsv",
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
