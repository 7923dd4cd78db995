"""Synthetic derivatives of one participant, as the participant level writes them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pandas as pd

from bidsapp_brainage.bids.names import output_path, sidecar_path
from bidsapp_brainage.bids.run_records import RunRecord
from bidsapp_brainage.catalogue.lookup import columns_of
from bidsapp_brainage.explain.scores import paint_map
from bidsapp_brainage.io import save_nifti, write_json
from bidsapp_brainage.model.provenance import TrainingCohort
from bidsapp_brainage.reports.figures import overlays as figures
from bidsapp_brainage.reports.figures.age import plot_age_distribution
from bidsapp_brainage.reports.figures.regions import plot_regions
from tests.derivatives import (
    MODEL,
    NETWORKS,
    TEMPLATE,
    contributions,
    prediction,
    write_image,
    write_table,
)

ATLAS = {"atlas": "Blocks", "scale": "24"}
RECORD = RunRecord(
    run_uuid="20261121-101500_5e0f1f2a-0000-4000-8000-000000000001",
    folder=Path("nowhere"),
    level="participant",
    explain_only=False,
    command_line="bidsapp-brainage <bids_dir> <output_dir> participant",
    version="0.1.0",
    started="2026-11-21T09:15:00Z",
    ended="2026-11-21T09:25:00Z",
    scans=("sub-01",),
    warnings=(),
    failures=(),
    facts={"Versions": {"torch": "2.13.0", "nibabel": "5.3.2"}},
)
RUN: dict[str, Any] = {
    "runs": [RECORD],
    "written": "2026-11-22T08:00:00Z",
    "methods_md": "Brain age was predicted by *sfcn2mm* [@sfcn].\n\n### Preprocessing\n\nBias.\n",
    "errors": [],
}


@dataclass(frozen=True)
class Pictures:
    """Images that the figures are drawn from."""

    head: nib.Nifti1Image
    mask: nib.Nifti1Image
    labels: np.ndarray

    @classmethod
    def small(cls) -> Pictures:
        """Two nested balls on an 8 mm grid, with blocks as regions."""
        affine = np.array([[8.0, 0, 0, -88], [0, 8, 0, -112], [0, 0, 8, -80], [0, 0, 0, 1]])
        shape = (23, 28, 21)
        grid = np.indices(shape).astype(float)
        centre = np.array([11, 13.5, 10]).reshape(3, 1, 1, 1)
        reach = np.array([9, 11, 8.5]).reshape(3, 1, 1, 1)
        radius = np.sqrt((((grid - centre) / reach) ** 2).sum(axis=0))
        head = 100 * (radius < 1) + 60 * ((radius < 0.8) & (grid.sum(axis=0) % 3 > 0))
        return cls.blocks(head, (radius < 0.82).astype(np.uint8), affine)

    @classmethod
    def blocks(cls, head: np.ndarray, mask: np.ndarray, affine: np.ndarray) -> Pictures:
        """Regions are blocks of the mask; label 24 does not occur."""
        parts = zip(np.indices(head.shape), (4, 4, 3), head.shape, strict=True)
        i, j, k = (index * n // size for index, n, size in parts)
        labels = np.where(mask > 0, 1 + (i + 4 * j + 16 * k) % 23, 0).astype(np.int16)
        return cls(
            nib.Nifti1Image(head.astype(np.float32), affine),
            nib.Nifti1Image(mask, affine),
            labels,
        )


@dataclass(frozen=True)
class Person:
    """What is special about the participant; the defaults are an ordinary one."""

    subject: str = "01"
    sessions: tuple[str, ...] = ()
    age: float | None = 52.5
    predicted: float = 58.2
    years: float = 0.0  # from one session to the next
    change: float = 0.0  # of the predicted age meanwhile
    strength: float = 1.0  # of contributions; grows with the predicted age
    explain: bool = True
    flag: str = "none"
    decision: str = "pass"
    reason: str | None = None
    text: str = ""  # goes into every free text, for tests of escaping


def write_person(root: Path, person: Person, pictures: Pictures | None = None) -> Path:
    """Write the derivatives of one participant below `root` and return it."""
    pictures = pictures or Pictures.small()
    for number, session in enumerate(person.sessions or ("",)):
        entities = (("sub", person.subject), *((("ses", session),) if session else ()))
        age = None if person.age is None else person.age + number * person.years
        grown = number * person.change
        strength = person.strength + grown / 20
        then = replace(person, age=age, predicted=person.predicted + grown, strength=strength)
        _write_scan(root, entities, then, pictures)
    return root


def provenance(person: Person) -> dict[str, Any]:
    return {
        "Model": {
            "Name": MODEL + person.text,
            "Version": "1.0.0",
            "WeightsSHA256": ["0123456789abcdef" * 4],
            "AgeRange": [20, 82],
            "License": "CC BY-SA 3.0" + person.text,
            "TrainingCohort": {
                "Name": "Cohort" + person.text,
                "NumberOfPeople": 141,
                "AgeMean": 47.4,
                "AgeSD": 16.8,
            },
            "ExpectedPrediction": {"Slope": 0.76, "Intercept": 11.1, "ResidualSD": 7.1},
        },
        "Software": {"Name": "bidsapp_brainage", "Version": "0.1.0"},
        "BiasCorrection": "model",
        "Device": "cpu",
    }


def _write_scan(root, scan, person, pictures):
    row, bins = _prediction(scan, person)
    facts = provenance(person)
    table = write_table(root, "brainage", row, scan, facts=facts)
    distribution = write_table(root, "agedist", bins, scan, facts=facts)
    write_table(root, "qc", _quality(person), scan, facts=facts)
    work = root / ".work"
    images = {"t1w": pictures.head, "mask": pictures.mask}
    paths = {name: work / f"{name}.nii.gz" for name in (*images, "map")}
    for name, image in images.items():
        save_nifti(image, paths[name])
    t1w = write_image(root, "t1w_preproc", pictures.head, scan)
    write_json(
        sidecar_path(t1w),
        {"SkullStripped": False, "Sources": [f"bids:raw:sub-{person.subject}_T1w.nii.gz"]},
    )

    def figure(key: str, **labels: str) -> Path:
        return output_path(root, key, scan, model=MODEL, **labels)

    write_image(root, "mask", pictures.mask, scan)
    figures.plot_mask(paths["t1w"], paths["mask"], figure("mask_figure"))
    before, after = (figure(f"{state}_figure", space=TEMPLATE) for state in ("before", "after"))
    head = figures.Head(paths["t1w"], paths["mask"])
    figures.plot_registration(head, head, before, after)
    figures.plot_model_input(paths["t1w"], figure("input_figure"))
    _write_segmentation(root, scan, pictures, figure("segmentation_figure"))
    cohort = TrainingCohort.from_model(facts["Model"])
    plot_age_distribution(table, distribution, cohort, figure("age_figure"))
    if person.explain:
        regions, values = _regions(person, pictures)
        where = {"space": TEMPLATE, **ATLAS}
        tables = {
            key: write_table(root, key, rows, scan, facts=facts, **where)
            for key, rows in {"table": regions, **further(regions)}.items()
        }
        image = nib.Nifti1Image(values, pictures.head.affine)
        write_image(root, "map_grid", image, scan, res="8", **where)
        labels = nib.Nifti1Image(pictures.labels, pictures.head.affine)
        atlas = write_image(root, "labels_t1w", labels, scan, **ATLAS)
        write_image(root, "input", pictures.head, scan, space=TEMPLATE, res="8")
        save_nifti(image, paths["map"])
        plot_regions(
            atlas,
            tables["table"],
            tables["baselines"],
            paths["t1w"],
            figure("map_figure", space="T1w", **ATLAS),
            fill="background",
        )
        cubes = figure("cubes_map_figure", space=TEMPLATE)
        figures.plot_occlusion(paths["map"], paths["t1w"], cubes, fill="background")


def _write_segmentation(root, scan, pictures, out):
    """Regions as the segmentation writes them, with a picture of them."""
    index = range(1, 24)
    colours = [f"#{10 * number:02x}80{255 - 10 * number:02x}" for number in index]
    regions = pd.DataFrame({"index": index, "name": [f"R{n}" for n in index], "color": colours})
    table = write_table(root, "dseg_table", regions, scan)
    labels = nib.Nifti1Image(pictures.labels, pictures.head.affine)
    dseg = write_image(root, "dseg", labels, scan)
    figures.plot_segmentation(root / ".work" / "t1w.nii.gz", dseg, table, out)
    volumes = {"intracranial": 1500.0, "brain": 1200.0, "GM": 700.0, "ventricles": 31.4}
    rows = [
        {"name": name, "kind": "total", "volume_ml": value, "fraction": value / 1500}
        for name, value in volumes.items()
    ]
    hippocampus = {"name": "Hippocampus_L", "kind": "region", "hemisphere": "L"}
    rows.append({**hippocampus, "volume_ml": 3.6, "fraction": 0.0024})
    write_table(root, "volumes", rows, scan)


def further(regions: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """Tables of groups and further methods that could belong to a table of regions."""
    known = regions.dropna(subset=["delta_age"])
    by_side = known.groupby("hemisphere")
    groups = by_side.agg(n_voxels=("n_voxels", "sum"), volume_mm3=("volume_mm3", "sum"))
    groups = groups.assign(level="hemisphere", n_regions=by_side.size(), delta_age_sd_members=0.1)
    groups["delta_age"] = by_side["delta_age"].sum() * 0.8
    groups["sum_of_regions"] = by_side["delta_age"].sum()
    groups = groups.rename_axis("name").reset_index()
    facts = ["index", "name", "hemisphere", "lobe", "network", "n_voxels", "delta_age"]
    shapley = regions[facts].assign(shapley_age=regions["delta_age"] * 1.1, standard_error=0.05)
    shapley["shapley_age_sd_members"] = 0.07
    steps = pd.DataFrame({"step": [0, 1], "index": [None, 1], "fraction_occluded": [0.0, 1.0]})
    areas = {"area": 3.0, "random_area_mean": 2.0, "random_area_sd": 0.5}
    curves = [steps.assign(curve=curve, **areas) for curve in ("deletion", "insertion")]
    first, second = known.iloc[0], known.iloc[1]
    pair = {
        "index_a": first["index"], "name_a": first["name"],
        "index_b": second["index"], "name_b": second["name"],
        "delta_a": first["delta_age"], "delta_b": second["delta_age"],
        "delta_both": 0.7, "interaction": 0.2,
    }  # fmt: skip
    return {
        **_opinions(regions),
        "groups": groups,
        "shapley": shapley,
        "curves": pd.concat(curves),
        "pairs": pd.DataFrame([pair]),
    }


def _opinions(regions):
    """Second opinions, controls and their agreement, as with ``--explain lrp,ig,noise``."""
    facts = regions[["index", "name", "hemisphere", "lobe", "network", "n_voxels", "volume_mm3"]]

    def table(delta, **more):
        rank = pd.Series(delta).abs().rank(ascending=False)
        size = {"importance": abs(delta), "importance_per_ml": abs(delta)}
        spread = {"delta_age_sd_members": 0.02, "importance_sd_members": 0.03}
        return facts.assign(delta_age=delta, rank=rank, **size, **spread, **more)

    delta = regions["delta_age"].to_numpy(dtype=float)
    noise = table(np.abs(delta) + 0.1, method="noise", baseline=None).assign(delta_age=None)
    turned = np.where(regions["index"] % 3, 0.6, -0.6)  # every third sign depends on the fill
    fills = [table(delta * s, baseline=b) for b, s in (("background", 1), ("template", turned))]
    names = ["occlusion_background", "occlusion_template", "lrp", "ig_background", "noise"]
    pairs = [
        {
            "explanation_a": a, "explanation_b": b, "n_regions": 23,
            "spearman": None if "noise" in (a, b) else 0.9 - 0.3 * i,
            "spearman_abs": 0.8, "spearman_abs_per_ml": 0.2,
        }
        for i, a in enumerate(names)
        for b in names[i + 1 :]
    ]  # fmt: skip
    controls = [
        {"baseline": fill, "control": control, "delta_age": value, "js_divergence": 0.01}
        for fill in ("background", "template")
        for control, value in (
            ("outside_brain", 0.0), ("unlabelled", 0.2), ("all_regions", -3.0),
            ("sum_of_regions", -4.1), ("whole_brain", -3.2),
        )
    ]  # fmt: skip
    steps = [
        {"method": method, "step": step, "layer": layer, "n_regions": 23, "spearman": value,
         "spearman_abs": value, "spearman_abs_per_ml": value}
        for method, last in (("occlusion", 0.1), ("lrp", 0.8))
        for step, layer, value in ((0, None, 1.0), (1, "head", 0.9), (2, "block5", last))
    ]  # fmt: skip
    return {
        "baselines": pd.concat(fills).filter(columns_of("baselines")),
        "controls": pd.DataFrame(controls),
        "agreement": pd.DataFrame(pairs),
        "lrp": table(delta * 0.3, method="lrp", baseline=None),
        "ig": table(delta * 0.5 + 0.01, method="ig", baseline="background"),
        "noise": noise,
        "randomisation": pd.DataFrame(steps),
    }


def _prediction(scan, person):
    lower = np.arange(14.0, 88.0, 2.0)
    probability = np.exp(-0.5 * ((lower + 1 - person.predicted) / 5) ** 2)
    probability += 0.25 * np.exp(-0.5 * ((lower - 8 - person.predicted) / 3) ** 2)
    bins = {"age_lower": lower, "age_upper": lower + 2, "age_center": lower + 1}
    bins["probability"] = probability / probability.sum()
    known = person.age is not None
    row = prediction(
        scan,
        person.age,
        person.predicted,
        2.2,
        age_source="participants.tsv" + person.text if known else None,
        predicted_age_median=person.predicted - 0.4,
        predicted_age_mode=person.predicted - 1,
        predicted_age_sd=6.2,
        entropy=2.31,
        ci95_lower=person.predicted - 11.4,
        ci95_upper=person.predicted + 12.9,
        gap_z=(person.predicted - person.age - 2.2) / 5 if known else None,
        bias_model="sfcn2mm 1.0.0" + person.text if known else "none",
        in_age_range=person.flag != "out_of_range",
        flags=person.flag,
        ood_flag=person.flag,
        qc_flag=person.decision,
    )
    return row, pd.DataFrame(bins)


def _quality(person):
    return pd.DataFrame(
        [
            {
                "cnr": 3.02,
                "snr": 11.4,
                "efc": 0.52,
                "fber": None,
                "brain_volume_ml": 1423.7,
                "mask_overlap_dice": 0.968,
                "template_correlation": 0.941,
                "n_nan": 0,
                "resolution_mm": "1x1x1" + person.text,
                "decision": person.decision,
                "decision_reason": person.reason,
            }
        ]
    )


def _regions(person, pictures):
    index = np.arange(1, 25)
    side = np.where(index % 2, "L", "R")
    atlas = pd.DataFrame(
        {
            "index": index,
            "name": [
                f"Region {(i + 1) // 2} {s}{person.text}" for i, s in zip(index, side, strict=True)
            ],
            "hemisphere": side,
            "lobe": None,
            "network": [NETWORKS[(i // 2) % 4] + person.text for i in index],
        }
    )
    delta = 1.6 * person.strength * np.sin(index) * np.exp(-index / 9)
    labels = pictures.labels
    table = contributions(atlas, labels, delta, age=person.age, intact=person.predicted)
    return table, paint_map(labels, index, table["delta_age"])
