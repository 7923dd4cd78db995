"""Synthetic derivatives as the participant level writes them, for tests of the group level."""

from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np
import pandas as pd

from bidsapp_brainage.catalogue.lookup import columns_of
from bidsapp_brainage.explain.scores import paint_map
from bidsapp_brainage.io import write_json, write_tsv
from tests.derivatives import (
    NETWORKS,
    TEMPLATE,
    contributions,
    prediction,
    write_image,
    write_table,
)

SHAPE = (20, 24, 20)
AFFINE = np.array([[8.0, 0, 0, -76], [0, 8, 0, -108], [0, 0, 8, -68], [0, 0, 0, 1]])
GROUP_EFFECT = 5.0  # years


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
    turned: tuple[int, ...] | None = None,
    seed: int = 0,
) -> Path:
    """Write a derivatives folder and return its path.

    With ``groups`` every network and hemisphere was occluded as one, with an effect that is
    ``GROUP_EFFECT`` years beyond the sum of its regions. With ``turned`` there is a second
    baseline, with which these regions have the opposite sign, and the agreement of both.
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
                table = _write_regions(
                    root, scan, model, old, rng, n_regions, maps=maps, groups=groups
                )
                if turned is not None:
                    _write_baselines(root, scan, model, table, turned)
        rows.append((f"sub-{person + 1:02d}", age, sex[person], "A" if person < 6 else "B"))
    people = pd.DataFrame(rows, columns=["participant_id", "age", "sex", "site"])
    write_tsv(root / "participants.tsv", people)
    write_json(root / "dataset_description.json", {"Name": "test", "BIDSVersion": "1.11.1"})
    return root


def _session(label: str) -> tuple[tuple[str, str], ...]:
    return (("ses", label),) if label else ()


def _write_scan(root, scan, model, age, rng, *, flagged):
    expected = 22 + 0.6 * (age or 50)
    predicted = float(expected + rng.normal(0, 4))
    decision = "warn" if flagged else "pass"
    corrected_by = None if age is None else expected - age
    row = prediction(scan, age, predicted, corrected_by, model=model, qc_flag=decision)
    write_table(root, "brainage", row, scan, model=model, facts=_facts(model))
    qc = {
        "cnr": rng.normal(3, 0.2),
        "snr": rng.normal(10, 1) if not flagged else 1.0,
        "brain_volume_ml": rng.normal(1400, 80),
        "template_correlation": rng.normal(0.95, 0.01),
        "decision": decision,
        "decision_reason": "signal-to-noise ratio is low" if flagged else None,
    }
    write_table(root, "qc", [qc], scan, model=model, facts=_facts(model))


def _write_regions(root, scan, model, age, rng, n_regions, *, maps, groups):
    labels, atlas = atlas_labels(n_regions), atlas_table(n_regions)
    delta = rng.normal(1.5 * np.cos(atlas["index"]), 0.4)
    table = contributions(atlas, labels, delta, age=age, intact=50.0)
    # a brain whose image is mirrored: nearly the same contributions, so no side of the network
    table["delta_age_mirrored"] = table["delta_age"] + 0.01
    where = {"space": TEMPLATE, "atlas": "Blocks", "scale": str(n_regions)}
    write_table(root, "table", table, scan, model=model, facts=_facts(model), **where)
    if groups:
        rows = _groups(table)
        write_table(root, "groups", rows, scan, model=model, facts=_facts(model), **where)
    if maps:
        painted = paint_map(labels, atlas["index"], table["delta_age"])
        image = nib.Nifti1Image(painted, AFFINE)
        write_image(root, "map_grid", image, scan, model=model, res="2", **where)
    return table


def _write_baselines(root, scan, model, table, turned):
    where = {"space": TEMPLATE, "atlas": "Blocks", "scale": str(len(table))}
    main = table[[name for name in columns_of("baselines") if name in table]]
    side = np.where(table["index"].isin(turned), -0.3, 0.3)
    other = main.assign(
        baseline="blur", delta_age=side * main["delta_age"], delta_age_sd_members=0.0
    )
    both = pd.concat([main, other], ignore_index=True)
    write_table(root, "baselines", both, scan, model=model, facts=_facts(model), **where)
    pair = {"explanation_a": "occlusion_background", "explanation_b": "occlusion_blur"}
    agreement = [{**pair, "spearman": -0.26, "spearman_abs": 0.5, "spearman_abs_per_ml": 0.4}]
    write_table(root, "agreement", agreement, scan, model=model, facts=_facts(model), **where)


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


def _facts(model):
    return {
        "Model": {
            "Name": model,
            "Version": "1.0.0",
            "WeightsSHA256": ["ab" * 32],
            "AgeRange": [20.0, 82.0],
            "License": "CC BY-SA 3.0",
        },
        "Software": {"Name": "bidsapp_brainage", "Version": "0.1.0"},
    }
