"""Results of a simulated study, to learn the group level without a day of waiting.

Every person has what the group level reads: a prediction, quality, contributions of regions with
two baselines, groups of regions, agreement of explanations, the log folder of a run, a page and a
map of contributions on the 2 mm grid. Files that are the same for all are links to a few. Effects
are planted: contributions fall with age, fastest in the default network, and are lower in limbic
regions of patients, who also look three years older. Nothing of it is data of people.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

import nibabel as nib
import numpy as np
import pandas as pd

from bidsapp_brainage.bids.names import bids_uri, output_path, sidecar_path
from bidsapp_brainage.io import read_tsv, save_nifti, write_json, write_text, write_tsv

MODEL, TEMPLATE, ATLAS = "sfcn2mm", "MNI152NLin2009aSym", "Simulated"
SHAPE = (91, 109, 91)
RUN = "20260101-000000_simulated"
FACTS = {"Model": {"Name": MODEL, "Version": "1.0.0"}, "Software": {"Name": "bidsapp_brainage"}}
LINKS = 30_000  # file systems bound the names of one file


@dataclass(frozen=True)
class _Person:
    participant_id: str
    age: float
    sex: str
    site: str
    diagnosis: str


def write_study(folder: Path, n_people: int) -> tuple[Path, Path]:
    """Write a whole study with its people's results.

    Parameters
    ----------
    folder : Path
        New folder; gets ``raw`` (a BIDS dataset without images) and ``derivatives``.
    n_people : int

    Returns
    -------
    tuple of Path
        Both folders.
    """
    raw, results = folder / "raw", folder / "derivatives"
    results.mkdir(parents=True)
    Study(results).add(1, n_people)
    shutil.rmtree(shared_folder(results))
    raw.mkdir()
    for name in ("dataset_description.json", "participants.tsv"):
        shutil.copy(results / name, raw / name)
    return raw, results


def shared_folder(root: Path) -> Path:
    """Where files lie that all people share; needed only while people are added."""
    return root.with_name(f"{root.name}-shared")


class Study:
    """People with planted effects, written one by one; the same seed gives the same files.

    Parameters
    ----------
    root : Path
        Folder of the derivatives.
    n_regions : int
        Of the atlas: those of the embedded atlas, again and again where more are wanted.
    others : int
        Further files of each person, which nothing reads.
    seed : int
        Of the random numbers.
    """

    def __init__(self, root: Path, n_regions: int = 120, *, others: int = 0, seed: int = 0) -> None:
        self.root, self.others = root, others
        self._rng = np.random.default_rng(seed)
        self._regions = _regions(n_regions, self._rng)
        self._base = self._rng.normal(0, 0.3, n_regions)
        self._shared = _SharedFiles(shared_folder(root), self._rng)
        write_json(
            root / "dataset_description.json", {"Name": "Simulated study", "BIDSVersion": "1.11.1"}
        )

    def add(self, first: int, n_people: int) -> None:
        """Write people with these numbers, and the table of all participants."""
        people = self._people(first, n_people)
        path = self.root / "participants.tsv"
        known = [read_tsv(path)] if path.is_file() else []
        write_tsv(path, pd.concat([*known, people], ignore_index=True))
        for row in people.to_dict("records"):
            self._write(_Person(**{str(name): value for name, value in row.items()}))

    def _people(self, first: int, n_people: int) -> pd.DataFrame:
        rng = self._rng
        return pd.DataFrame(
            {
                "participant_id": [f"sub-{first + i:05d}" for i in range(n_people)],
                "age": np.round(rng.uniform(18, 85, n_people), 1),
                "sex": rng.choice(["F", "M"], n_people),
                "site": rng.choice(["A", "B", "C", "D"], n_people),
                "diagnosis": rng.choice(["control", "patient"], n_people, p=[0.7, 0.3]),
            }
        )

    def _write(self, person: _Person) -> None:
        rng, regions = self._rng, self._regions
        patient = person.diagnosis == "patient"
        slope = np.where(regions["network"] == "Default", -0.006, -0.001)
        limbic = (regions["lobe"] == "Limbic").to_numpy()
        delta = self._base + slope * (person.age - 50) - 0.1 * patient * limbic
        delta = delta + rng.normal(0, 0.2, len(delta))
        folder = self.root / person.participant_id
        (folder / "anat").mkdir(parents=True)
        predicted = 12 + 0.75 * person.age + 3 * patient + rng.normal(0, 5)
        self._table(person, "brainage", _prediction(person, predicted, rng))
        self._table(person, "qc", _quality(rng))
        self._table(person, "table", _contributions(regions, delta))
        other = delta + rng.normal(0, 0.1, len(delta))
        self._table(person, "baselines", _baselines(regions, {"background": delta, "mean": other}))
        self._table(person, "groups", _groups(regions, delta))
        self._table(person, "agreement", _agreement(rng, len(delta)))
        self._shared.link(
            "map", output_path(self.root, "map_grid", _scan(person), **_place("map_grid"))
        )
        self._shared.link("page", self.root / f"{person.participant_id}.html")
        self._log(folder / "log" / RUN, person)
        for number in range(self.others):
            place = folder / "anat" / f"{person.participant_id}_label-X{number}_probseg.nii.gz"
            self._shared.link("other", place)

    def _table(self, person: _Person, key: str, table: pd.DataFrame | str) -> None:
        path = output_path(self.root, key, _scan(person), **_place(key))
        if isinstance(table, str):
            write_text(path, table)
        else:
            write_tsv(path, table)
        if key == "brainage":  # the only one that differs from person to person
            source = path.with_name(f"{person.participant_id}_desc-input_T1w.nii.gz")
            text = json.dumps({"Sources": [bids_uri(source, self.root)], **FACTS}, indent=2)
            write_text(sidecar_path(path), text)
        else:
            self._shared.link("facts", sidecar_path(path))

    def _log(self, folder: Path, person: _Person) -> None:
        folder.mkdir(parents=True)
        scan = person.participant_id
        record = {"Started": "2026-01-01T00:00:00Z", "Scans": [scan], "Versions": {}}
        record |= {"Ended": "2026-01-01T00:05:00Z", "Warnings": [], "Failures": []}
        write_text(folder / "participant.json", json.dumps(record))
        lines = ["scan\tstage\tended\tcached\twall_s\tcpu_s\tpeak_rss_mb"]
        for minute, stage in enumerate(("conform", "register", "mask", "predict", "explain")):
            lines.append(f"{scan}\t{stage}\t2026-01-01T00:0{minute}:00Z\tfalse\t50\t48\t900")
        write_text(folder / "timings.tsv", "\n".join(lines) + "\n")
        self._shared.link("settings", folder / "app.toml")


class _SharedFiles:
    """Files that are the same for everybody; links to them cost no room."""

    def __init__(self, folder: Path, rng: np.random.Generator) -> None:
        folder.mkdir(parents=True)
        self._folder = folder
        self._numbers = {"map": 0, "page": 0, "other": 0, "facts": 0, "settings": 0}
        coarse = rng.normal(0, 1, (13, 16, 13)).astype(np.float32)
        values = np.kron(coarse, np.ones((7, 7, 7), np.float32))[: SHAPE[0], : SHAPE[1], : SHAPE[2]]
        affine = np.array([[2.0, 0, 0, -90], [0, 2, 0, -126], [0, 0, 2, -72], [0, 0, 0, 1]])
        save_nifti(nib.Nifti1Image(values, affine), folder / "map.nii.gz")
        self._content = {
            "map": (folder / "map.nii.gz").read_bytes(),
            "page": b"<!doctype html><title>page</title>",
            "other": b"",
            "facts": json.dumps(FACTS).encode(),
            "settings": b'command_line = "bidsapp-brainage raw out participant"\n',
        }

    def link(self, what: str, path: Path) -> None:
        """Make a name for a file."""
        number = self._numbers[what]
        source = self._folder / f"{what}-{number // LINKS}"
        if number % LINKS == 0:
            source.write_bytes(self._content[what])
        os.link(source, path)
        self._numbers[what] += 1


def _regions(n_regions: int, rng: np.random.Generator) -> pd.DataFrame:
    """Rows of the bundled atlas, again and again under other names, with sizes."""
    atlas = resources.files("bidsapp_brainage").joinpath("data/atlases/brainagedemo_dseg.tsv")
    bundled = read_tsv(Path(str(atlas)))[["name", "hemisphere", "lobe", "network"]]
    copies = -(-n_regions // len(bundled))
    parts = [bundled.assign(name=bundled["name"] + " again" * copy) for copy in range(copies)]
    regions = pd.concat(parts, ignore_index=True).iloc[:n_regions]
    regions.insert(0, "index", np.arange(1, n_regions + 1))
    regions["n_voxels"] = rng.integers(200, 2500, n_regions)
    return regions.assign(volume_mm3=8 * regions["n_voxels"])


def _scan(person: _Person) -> dict[str, str]:
    return {"sub": person.participant_id.removeprefix("sub-")}


def _place(key: str) -> dict[str, str]:
    place = {"model": MODEL}
    if key not in ("brainage", "qc"):
        place |= {"space": TEMPLATE, "atlas": ATLAS}
    return place | ({"res": "2"} if key == "map_grid" else {})


def _prediction(person: _Person, predicted: float, rng: np.random.Generator) -> str:
    row = {
        "model": MODEL,
        "chronological_age": person.age,
        "age_source": "participants.tsv",
        "predicted_age": f"{predicted:.6g}",
        "ci95_lower": f"{predicted - 12:.6g}",
        "ci95_upper": f"{predicted + 12:.6g}",
        "gap": f"{predicted - person.age:.6g}",
        "gap_corrected": f"{predicted - (12 + 0.75 * person.age):.6g}",
        "bias_model": "simulated line",
        "ood_flag": "none",
        "qc_flag": rng.choice(["pass", "warn"], p=[0.95, 0.05]),
    }
    return _text(row)


def _quality(rng: np.random.Generator) -> str:
    return _text(
        {
            "cnr": f"{rng.normal(3, 0.3):.6g}",
            "snr": f"{rng.normal(12, 1):.6g}",
            "brain_volume_ml": f"{rng.normal(1450, 120):.6g}",
            "decision": rng.choice(["pass", "warn"], p=[0.95, 0.05]),
        }
    )


def _agreement(rng: np.random.Generator, n_regions: int) -> str:
    row = {
        "explanation_a": "occlusion_background",
        "explanation_b": "occlusion_mean",
        "n_regions": n_regions,
    }
    names = ("spearman", "spearman_abs", "spearman_abs_per_ml")
    return _text(row | {name: f"{rng.uniform(0.6, 0.9):.6g}" for name in names})


def _text(row: dict[str, object]) -> str:
    return "\t".join(row) + "\n" + "\t".join(map(str, row.values())) + "\n"


def _lines(labels: Iterator[str], values: np.ndarray) -> str:
    """Rows of text and numbers with six digits; writing in one go is quick."""
    form = "\t".join(["%.6g"] * values.shape[1]) + "\n"
    return "".join(f"{label}\t{form}" for label in labels) % tuple(values.ravel())


def _contributions(regions: pd.DataFrame, delta: np.ndarray) -> str:
    names = ["index", "name", "hemisphere", "lobe", "network", "n_voxels", "volume_mm3"]
    values = {
        "delta_age": delta,
        "abs_delta_age": np.abs(delta),
        "delta_age_per_ml": 1000 * delta / regions["volume_mm3"],
        "delta_age_sd_members": np.full(len(delta), 0.1),
        "nosa_importance": np.abs(delta) * 0.9,
        "null_mean": np.zeros(len(delta)),
        "null_sd": np.full(len(delta), 0.2),
        "z_null": delta / 0.2,
    }
    header = "\t".join([*names, "baseline", *values]) + "\n"
    labels = ("\t".join(map(str, row)) for row in regions[names].assign(b="background").to_numpy())
    return header + _lines(labels, np.column_stack(list(values.values())))


def _baselines(regions: pd.DataFrame, deltas: dict[str, np.ndarray]) -> str:
    text = "baseline\tindex\tname\tn_voxels\tdelta_age\tdelta_age_sd_members\tdelta_age_per_ml\n"
    rows = regions[["index", "name", "n_voxels"]].to_numpy()
    for baseline, delta in deltas.items():
        labels = ("\t".join(map(str, (baseline, *row))) for row in rows)
        per_ml = 1000 * delta / regions["volume_mm3"]
        text += _lines(labels, np.column_stack([delta, np.full(len(delta), 0.1), per_ml]))
    return text


def _groups(regions: pd.DataFrame, delta: np.ndarray) -> str:
    """Networks, lobes and hemispheres occluded as one; their effect is the mean of the regions'."""
    text = "level\tname\tn_regions\tn_voxels\tvolume_mm3\tdelta_age\tsum_of_regions\n"
    for level in ("network", "lobe", "hemisphere"):
        of_level = regions[level].to_numpy(dtype=object)
        for name in regions[level].dropna().unique():
            own = of_level == name
            facts = (own.sum(), regions["n_voxels"][own].sum(), regions["volume_mm3"][own].sum())
            sizes = "\t".join(map(str, facts))
            text += f"{level}\t{name}\t{sizes}\t{delta[own].mean():.6g}\t{delta[own].sum():.6g}\n"
    return text
