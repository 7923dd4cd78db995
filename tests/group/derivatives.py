"""Synthetic derivatives as the participant level writes them, for tests of the group level."""

from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np
import pandas as pd

from bidsapp_brainage.bids.names import derivative_path
from bidsapp_brainage.explain.scores import occlusion_table, paint_map
from bidsapp_brainage.io import save_nifti, write_json, write_tsv

SHAPE = (20, 24, 20)
AFFINE = np.array([[8.0, 0, 0, -76], [0, 8, 0, -108], [0, 0, 8, -68], [0, 0, 0, 1]])
TEMPLATE = "MNI152NLin2009aSym"
GROUP_EFFECT = 5.0  # years
NETWORKS = ("Visual", "Default", "Frontoparietal", "Limbic")


def atlas_table(n_regions: int) -> pd.DataFrame:
    """Label table with both hemispheres, four networks, and a last region that is empty."""
    index = np.arange(1, n_regions + 1)
    side = np.where(index % 2, "L", "R")
    network = np.array(NETWORKS, dtype=object)[(index - 1) // 2 % 4]
    network[index > n_regions - 3] = None
    return pd.DataFrame(
        {
            "index": index,
            "name": [f"Region {(i + 1) // 2} {s}" for i, s in zip(index, side, strict=True)],
            "hemisphere": side,
            "lobe": None,
            "network": network,
        }
    )


def atlas_labels(n_regions: int) -> np.ndarray:
    """Blocks inside a ball; label ``n_regions`` does not occur."""
    i, j, k = np.indices(SHAPE)
    ball = ((i - 9.5) / 8) ** 2 + ((j - 11.5) / 10) ** 2 + ((k - 9.5) / 8) ** 2 < 1
    block = (i // 5) + 4 * (j // 6) + 16 * (k // 10)
    labels = np.where(ball, 1 + block % (n_regions - 1), 0)
    return labels.astype(np.int16)


def write_derivatives(
    root: Path,
    *,
    n_participants: int = 12,
    models: tuple[str, ...] = ("sfcn2mm",),
    n_regions: int = 12,
    sessions: tuple[str, ...] = (),
    unknown_age: tuple[int, ...] = (),
    flagged: tuple[int, ...] = (),
    maps: bool = True,
    groups: bool = True,
    seed: int = 0,
) -> Path:
    """Write a derivatives folder and return its path.

    With ``groups`` every network and hemisphere was occluded as one, with an effect that is
    ``GROUP_EFFECT`` years beyond the sum of its regions.
    ``unknown_age`` and ``flagged`` number participants from 0; predictions regress to the mean.
    """
    rng = np.random.default_rng(seed)
    ages = np.round(rng.uniform(20, 80, n_participants), 1)
    sex = np.where(np.arange(n_participants) % 2, "F", "M")
    rows = []
    for person in range(n_participants):
        age = None if person in unknown_age else float(ages[person])
        entities = [(("sub", f"{person + 1:02d}"), *_session(ses)) for ses in sessions or ("",)]
        for number, scan in enumerate(entities):
            old = None if age is None else age + 2 * number
            for model in models:
                _write_scan(root, scan, model, old, rng, flagged=person in flagged)
                _write_regions(root, scan, model, old, rng, n_regions, maps=maps, groups=groups)
        rows.append((f"sub-{person + 1:02d}", age, sex[person], "A" if person < 6 else "B"))
    people = pd.DataFrame(rows, columns=["participant_id", "age", "sex", "site"])
    write_tsv(root / "participants.tsv", people)
    write_json(root / "dataset_description.json", {"Name": "test", "BIDSVersion": "1.11.1"})
    return root


def _session(label: str) -> tuple[tuple[str, str], ...]:
    return (("ses", label),) if label else ()


def _write_scan(root, scan, model, age, rng, *, flagged):
    predicted = float(22 + 0.6 * (age or 50) + rng.normal(0, 4))
    row = {
        "participant_id": f"sub-{scan[0][1]}",
        "session_id": f"ses-{scan[1][1]}" if len(scan) > 1 else None,
        "run_id": None,
        "model": model,
        "chronological_age": age,
        "age_source": "participants.tsv" if age else "n/a",
        "predicted_age": predicted,
        "predicted_age_median": predicted,
        "predicted_age_mode": round(predicted),
        "predicted_age_sd": 6.0,
        "entropy": 2.1,
        "ci95_lower": predicted - 12,
        "ci95_upper": predicted + 12,
        "gap": None if age is None else predicted - age,
        "gap_corrected": None if age is None else predicted - (22 + 0.6 * age),
        "gap_z": None if age is None else (predicted - (22 + 0.6 * age)) / 4,
        "bias_model": "sfcn2mm, IXI cross-validation",
        "in_age_range": True,
        "ood_flag": "none",
        "qc_flag": "warn" if flagged else "pass",
        "n_tta": 1,
    }
    _write(root, scan, {"desc": model}, "brainage", pd.DataFrame([row]))
    qc = {
        "cnr": rng.normal(3, 0.2),
        "snr": rng.normal(10, 1) if not flagged else 1.0,
        "brain_volume_ml": rng.normal(1400, 80),
        "template_correlation": rng.normal(0.95, 0.01),
        "decision": "warn" if flagged else "pass",
        "decision_reason": "signal-to-noise ratio is low" if flagged else None,
    }
    _write(root, scan, {"desc": model}, "qc", pd.DataFrame([qc]))


def _write_regions(root, scan, model, age, rng, n_regions, *, maps, groups):
    labels = atlas_labels(n_regions)
    index = np.arange(1, n_regions + 1)
    count = np.array([(labels == i).sum() for i in index])
    delta = np.where(count > 0, rng.normal(1.5 * np.cos(index), 0.4), np.nan)
    effects = pd.DataFrame(
        {
            "index": index,
            "n_voxels": count,
            "delta_age": delta,
            "delta_age_sd_members": np.abs(delta) / 5,
            "delta_entropy": delta * 0.01,
            "js_divergence": np.abs(delta) * 0.01,
        }
    )
    effects.attrs["intact_age"] = 50.0
    table = occlusion_table(
        effects, atlas_table(n_regions), voxel_ml=0.512, age=age, baseline="background"
    )
    # a brain whose image is mirrored: nearly the same contributions, so no side of the network
    table["delta_age_mirrored"] = delta + 0.01
    where = {"space": TEMPLATE, "atlas": "Blocks", "scale": str(n_regions), "desc": model}
    _write(root, scan, where, "occlusion", table)
    if groups:
        _write(root, scan, where, "occlusiongroups", _groups(table))
    if maps:
        image = nib.Nifti1Image(paint_map(labels, index, delta), AFFINE)
        path = derivative_path(
            root, scan, suffix="occlusionmap", extension=".nii.gz", res="2", **where
        )
        save_nifti(image, path)


def _groups(regions):
    """Networks and hemispheres, occluded as one."""
    rows = []
    for level in ("network", "hemisphere"):
        for name, part in regions[regions["n_voxels"] > 0].groupby(level):
            total = part["delta_age"].sum()
            sizes = {"n_voxels": part["n_voxels"].sum(), "volume_mm3": part["volume_mm3"].sum()}
            effect = {"delta_age": total + GROUP_EFFECT, "sum_of_regions": total}
            rows.append({"level": level, "name": name, "n_regions": len(part), **sizes, **effect})
    return pd.DataFrame(rows)


def _write(root, scan, more, suffix, table):
    facts = {
        "Model": {
            "Name": more["desc"],
            "Version": "1.0.0",
            "WeightsSHA256": ["ab" * 32],
            "AgeRange": [20.0, 82.0],
            "License": "CC BY-SA 3.0",
        },
        "Software": {"Name": "bidsapp_brainage", "Version": "0.1.0"},
    }
    path = derivative_path(root, scan, suffix=suffix, extension=".tsv", **more)
    write_tsv(path, table)
    write_json(path.with_suffix(".json"), facts)
