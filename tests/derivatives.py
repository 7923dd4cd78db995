"""Outputs for tests: every file is written by its card, so that none has other columns."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pandas as pd

from bidsapp_brainage.bids.derivatives import Entities
from bidsapp_brainage.bids.dictionaries import describe_columns, sidecar
from bidsapp_brainage.bids.names import output_path, sidecar_path
from bidsapp_brainage.catalogue.lookup import columns_of, output
from bidsapp_brainage.explain.scores import occlusion_table
from bidsapp_brainage.io import read_json, read_tsv, save_nifti, write_json, write_tsv

MODEL, TEMPLATE = "sfcn2mm", "MNI152NLin2009aSym"
NETWORKS = ("Visual", "Default", "Frontoparietal", "Limbic")


def write_table(
    root: Path,
    key: str,
    rows: pd.DataFrame | list[dict[str, Any]],
    scan: Entities | dict[str, str] = (),
    *,
    model: str = MODEL,
    facts: dict[str, Any] | None = None,
    **labels: str,
) -> Path:
    """Write a table with all columns of its card in their order, n/a where `rows` has none."""
    table = pd.DataFrame(rows)
    foreign = set(table) - set(columns_of(key))
    assert not foreign, f"the card of {key} has no {foreign}"
    table = table.reindex(columns=columns_of(key))
    path = output_path(root, key, scan, model=model, **labels)
    write_tsv(path, table)
    write_json(sidecar_path(path), sidecar(output(key).suffix, table.columns, **(facts or {})))
    return path


def write_image(
    root: Path,
    key: str,
    image: nib.Nifti1Image,
    scan: Entities,
    *,
    model: str = MODEL,
    **labels: str,
) -> Path:
    """Write an image under the name of its card."""
    path = output_path(root, key, scan, model=model, **labels)
    save_nifti(image, path)
    return path


def prediction(
    scan: Entities, age: float | None, predicted: float, corrected_by: float | None, **special: Any
) -> pd.DataFrame:
    """One row of an ordinary prediction whose gap is corrected by some years."""
    labels = dict(scan)
    gap = None if age is None else predicted - age
    corrected = None if gap is None or corrected_by is None else gap - corrected_by
    row = {
        "participant_id": f"sub-{labels['sub']}",
        "session_id": f"ses-{labels['ses']}" if "ses" in labels else None,
        "model": MODEL,
        "chronological_age": age,
        "age_source": "participants.tsv" if age else None,
        "predicted_age": predicted,
        "predicted_age_median": predicted,
        "predicted_age_mode": round(predicted),
        "predicted_age_sd": 6.0,
        "entropy": 2.1,
        "ci95_lower": predicted - 12,
        "ci95_upper": predicted + 12,
        "gap": gap,
        "gap_corrected": corrected,
        "gap_z": None if corrected is None else corrected / 4,
        "bias_model": "sfcn2mm, IXI cross-validation",
        "in_age_range": True,
        "training_distance": None,
        "member_sd": 1.5,
        "flags": "none",
        "flag_reasons": None,
        "ood_flag": "none",
        "qc_flag": "pass",
        "n_tta": 1,
    }
    return pd.DataFrame([row | special])


def contributions(
    atlas: pd.DataFrame, labels: np.ndarray, delta: np.ndarray, *, age: float | None, intact: float
) -> pd.DataFrame:
    """Table of regions with these contributions; regions without voxels have none."""
    index = atlas["index"].to_numpy()
    count = np.array([(labels == number).sum() for number in index])
    delta = np.where(count > 0, delta, np.nan)
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
    effects.attrs["intact_age"] = intact
    return occlusion_table(effects, atlas, voxel_ml=0.512, age=age, baseline="background")


def as_class_model(root: Path, truths: dict[str, str | None]) -> Path:
    """Turn predicted ages below `root` into probabilities of a diagnosis, AD or CN.

    Older predictions are more of AD; `truths` by participant. Sidecars tell that AD is explained.
    """
    for path in sorted(root.glob("sub-*/**/*_brainage.tsv")):
        rows = read_tsv(path)
        ages = ("predicted_age", "gap", "ci95_", "entropy", "bias_model", "member_sd")
        absent = {name: None for name in rows if str(name).startswith(ages)}
        share = float(np.clip((rows["predicted_age"].iloc[0] - 20) / 60, 0.05, 0.95))
        write_tsv(path, rows.assign(**absent, target="diagnosis"))
        person = str(rows["participant_id"].iloc[0])
        common = {"participant_id": person, "model": rows["model"].iloc[0], "target": "diagnosis"}
        common |= {"unit": "1", "member_sd": 0.02, "true_value": truths.get(person)}
        classes = [
            common | {"class": label, "value": value, "predicted": value > 0.5, "explained": said}
            for label, value, said in (("AD", share, True), ("CN", 1 - share, False))
        ]
        table = pd.DataFrame(classes).reindex(columns=columns_of("predictions"))
        write_tsv(path.with_name(path.name.replace("_brainage.", "_predictions.")), table)
    told = {"Target": "diagnosis", "Class": "AD", "Unit": "percent"}
    for path in root.glob("sub-*/**/*.json"):
        facts = read_json(path)
        if isinstance(facts.get("Model"), dict):
            model = {**facts["Model"], "Explained": told}
            suffix = path.stem.rpartition("_")[2]
            columns = [name for name, value in facts.items() if "LongName" in str(value)]
            write_json(path, {**facts, **describe_columns(suffix, columns, model), "Model": model})
        if path.name.endswith("_brainage.json"):
            other = path.with_name(path.name.replace("_brainage.", "_predictions."))
            write_json(other, sidecar("predictions", columns_of("predictions"), Model=model))
    return root
