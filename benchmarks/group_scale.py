"""Time and memory of the group level on simulated derivatives of many people.

    python -m benchmarks.group_scale --people 1000

The derivatives have the tables of the participant level with the bundled atlas (120 regions, two
baselines, quality, agreement) and one occlusion map each on the 2 mm grid. Effects are planted:
contributions fall with age, more so in patients, and sites differ. Nothing of it is data of people.
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
import tempfile
import time
from importlib import resources
from pathlib import Path

import nibabel as nib
import numpy as np
import pandas as pd

from bidsapp_brainage.bids.names import derivative_path, sidecar_path
from bidsapp_brainage.io import read_tsv, save_nifti, write_json, write_tsv

MODEL, TEMPLATE, ATLAS = "sfcn2mm", "MNI152NLin2009aSym", "BrainageDemo"
SHAPE = (91, 109, 91)
FACTS = {"Model": {"Name": MODEL, "Version": "1.0.0"}, "Software": {"Name": "bidsapp_brainage"}}


def make_derivatives(root: Path, n_people: int, *, seed: int = 0) -> None:
    """Write the tables of the participant level for simulated people."""
    rng = np.random.default_rng(seed)
    atlas = resources.files("bidsapp_brainage").joinpath("data/atlases/brainagedemo_dseg.tsv")
    regions = read_tsv(Path(str(atlas)))
    regions["n_voxels"] = rng.integers(200, 2500, len(regions))
    regions["volume_mm3"] = 8.0 * regions["n_voxels"]
    people = pd.DataFrame(
        {
            "participant_id": [f"sub-{number:04d}" for number in range(1, n_people + 1)],
            "age": np.round(rng.uniform(18, 85, n_people), 1),
            "sex": rng.choice(["F", "M"], n_people),
            "site": rng.choice(["A", "B", "C", "D"], n_people),
            "diagnosis": rng.choice(["control", "patient"], n_people, p=[0.7, 0.3]),
        }
    )
    write_tsv(root / "participants.tsv", people)
    write_json(root / "dataset_description.json", {"Name": "simulated", "BIDSVersion": "1.11.1"})
    base = rng.normal(0, 0.3, len(regions))
    picture = _map_bytes(root, rng)
    for person in people.itertuples(index=False):
        _write_person(root, person, regions, base, rng)
        _path(root, person, "occlusionmap", ".nii.gz", res="2").write_bytes(picture)


def _map_bytes(root: Path, rng: np.random.Generator) -> bytes:
    path = root / "map.nii.gz"
    coarse = rng.normal(0, 1, (13, 16, 13)).astype(np.float32)
    values = np.kron(coarse, np.ones((7, 7, 7), np.float32))[: SHAPE[0], : SHAPE[1], : SHAPE[2]]
    affine = np.array([[2.0, 0, 0, -90], [0, 2, 0, -126], [0, 0, 2, -72], [0, 0, 0, 1]])
    save_nifti(nib.Nifti1Image(values, affine), path)
    content = path.read_bytes()
    path.unlink()
    return content


def _path(root: Path, person, suffix: str, extension: str = ".tsv", **more: str) -> Path:
    atlas = {} if suffix in ("brainage", "qc") else {"space": TEMPLATE, "atlas": ATLAS}
    label = {"sub": person.participant_id.removeprefix("sub-")}
    return derivative_path(
        root, label, suffix=suffix, extension=extension, desc=MODEL, **atlas, **more
    )


def _write(root: Path, person, suffix: str, table: pd.DataFrame) -> None:
    path = _path(root, person, suffix)
    write_tsv(path, table)
    write_json(sidecar_path(path), FACTS)


def _write_person(root: Path, person, regions: pd.DataFrame, base, rng) -> None:
    patient = person.diagnosis == "patient"
    predicted = 12 + 0.75 * person.age + 3 * patient + rng.normal(0, 5)
    row = {
        "model": MODEL,
        "chronological_age": person.age,
        "age_source": "participants.tsv",
        "predicted_age": predicted,
        "ci95_lower": predicted - 12,
        "ci95_upper": predicted + 12,
        "gap": predicted - person.age,
        "gap_corrected": predicted - (12 + 0.75 * person.age),
        "bias_model": "simulated line",
        "ood_flag": "none",
        "qc_flag": rng.choice(["pass", "warn"], p=[0.95, 0.05]),
    }
    _write(root, person, "brainage", pd.DataFrame([row]))
    quality = {"cnr": rng.normal(3, 0.3), "snr": rng.normal(12, 1)}
    quality |= {"brain_volume_ml": rng.normal(1450, 120), "decision": row["qc_flag"]}
    _write(root, person, "qc", pd.DataFrame([quality]))
    slope = np.where(regions["network"] == "Default", -0.006, -0.001)
    delta = base + slope * (person.age - 50) - 0.1 * patient * (regions["lobe"] == "Limbic")
    _write_regions(root, person, regions, delta.to_numpy() + rng.normal(0, 0.2, len(base)), rng)


def _write_regions(root: Path, person, regions: pd.DataFrame, delta, rng) -> None:
    names = ["index", "name", "hemisphere", "lobe", "network", "n_voxels", "volume_mm3"]
    table = regions[names].assign(
        baseline="background",
        delta_age=delta,
        abs_delta_age=np.abs(delta),
        delta_age_per_ml=1000 * delta / regions["volume_mm3"],
        delta_age_sd_members=0.1,
        nosa_importance=np.abs(delta) * 0.9,
        null_mean=0.0,
        null_sd=0.2,
        z_null=delta / 0.2,
    )
    _write(root, person, "occlusion", table)
    _write(root, person, "occlusiongroups", _groups(table))
    columns = [*names, "baseline", "delta_age", "delta_age_sd_members", "delta_age_per_ml"]
    other = table[columns].assign(baseline="mean", delta_age=delta + rng.normal(0, 0.1, len(delta)))
    _write(root, person, "occlusionbaselines", pd.concat([table[columns], other]))
    agreement = {
        "explanation_a": "occlusion_background",
        "explanation_b": "occlusion_mean",
        "n_regions": len(delta),
        "spearman": rng.uniform(0.6, 0.9),
        "spearman_abs": rng.uniform(0.6, 0.9),
        "spearman_abs_per_ml": rng.uniform(0.5, 0.9),
    }
    _write(root, person, "agreement", pd.DataFrame([agreement]))


def _groups(regions: pd.DataFrame) -> pd.DataFrame:
    """Networks, lobes and hemispheres occluded as one; their effect is the mean of the regions'."""
    sums = {"n_regions": ("index", "size"), "n_voxels": ("n_voxels", "sum")}
    sums |= {"volume_mm3": ("volume_mm3", "sum"), "delta_age": ("delta_age", "mean")}
    sums |= {"sum_of_regions": ("delta_age", "sum")}
    return pd.concat(
        [
            regions.groupby(level, sort=False)
            .agg(**sums)
            .rename_axis("name")
            .reset_index()
            .assign(level=level)
            for level in ("network", "lobe", "hemisphere")
        ]
    )


def main() -> int:
    """Simulate, run the group level in a process of its own, print what it took."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--people", type=int, default=1000)
    parser.add_argument("--keep", type=Path, help="keep the derivatives in this new folder")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        root = options.keep or Path(folder) / "derivatives"
        root.mkdir(parents=True)
        start = time.perf_counter()
        make_derivatives(root, options.people)
        print(
            f"simulated {options.people} people in {time.perf_counter() - start:.0f} s", flush=True
        )
        command = [sys.executable, "-m", "bidsapp_brainage.cli.run", str(root / "raw"), str(root)]
        command += ["group", "--group-column", "diagnosis", "--reference-group", "control"]
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        start = time.perf_counter()
        code = subprocess.run(command, check=False).returncode
        wall = time.perf_counter() - start
        used = resource.getrusage(resource.RUSAGE_CHILDREN)
        cpu = used.ru_utime + used.ru_stime - before.ru_utime - before.ru_stime
        print(
            f"group level of {options.people}: exit code {code}, {wall:.0f} s ({cpu:.0f} s of "
            f"processor time), at most {used.ru_maxrss / 1024:.0f} MiB"
        )
    return code


if __name__ == "__main__":
    raise SystemExit(main())
