"""Sessions with images of several modalities, made of heads of the sample, and cards for them."""

from __future__ import annotations

import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import nibabel as nib
import numpy as np
import pandas as pd
from scipy import ndimage
from scipy.spatial.transform import Rotation

from bidsapp_brainage.demo.sample import Person, Scan, write_sample
from bidsapp_brainage.io import read_tsv, write_tsv
from tests.e2e.app import VOXEL, App
from tests.model.tiny import card_dict, make_card, make_class_card, make_targets_card

#: Motion of the head between the T1w and the other image.
TURN, SHIFT = (3.0, -2.0, 4.0), (2.0, -3.0, 4.0)  # degrees, mm
PEOPLE = (
    Person("01", "F", (Scan(30.0, 30, VOXEL, "LAS", tilt=(4, -3, 5)),)),
    Person("02", "M", (Scan(60.0, 60, VOXEL, "RAS"),)),
    Person("03", "F", (Scan(45.0, 45, VOXEL, "RAS"),)),
)
#: The same head, in which fluid is bright (T2w, SWI) or dark (FLAIR).
ALONE = {"T2w": "anat/sub-03_T2w", "FLAIR": "anat/sub-03_FLAIR", "SWI": "swi/sub-03_swi"}


@dataclass(frozen=True)
class Runs:
    """The app in one folder; whatever the first model needed, the next finds computed."""

    app: App

    def participant(self, model: str, *options: str) -> tuple[int, str]:
        return self.app.run("--model", model, "--explain", "occlusion", *options)

    def group(self) -> subprocess.CompletedProcess[str]:
        paths = (self.app.root / "bids", self.app.out)
        command = [sys.executable, "-m", "bidsapp_brainage", *map(str, paths), "group"]
        return subprocess.run(command, capture_output=True, text=True, check=False)

    def table(self, person: str, ending: str) -> pd.DataFrame:
        (path,) = self.app.out.glob(f"sub-{person}/anat/sub-{person}_*{ending}")
        return read_tsv(path)

    def page(self, person: str) -> str:
        return (self.app.out / f"sub-{person}.html").read_text()


def write_sessions(folder: Path) -> Path:
    """A dataset: sub-01 has T1w and T2w, sub-02 a T1w, sub-03 everything but a T1w."""
    write_sample(folder, people=PEOPLE)
    people = read_tsv(folder / "participants.tsv")
    known = people.assign(bmi=[22.5, 31.0, 25.0], diagnosis=["CN", "AD", "MCI"])
    write_tsv(folder / "participants.tsv", known)
    first, last = (folder / f"sub-{name}/anat/sub-{name}_T1w.nii.gz" for name in ("01", "03"))
    nib.save(fluid_bright(nib.load(first)), first.with_name("sub-01_T2w.nii.gz"))
    (folder / "sub-03/swi").mkdir()
    for modality, name in ALONE.items():
        path = folder / f"sub-03/{name}.nii.gz"
        if modality == "FLAIR":  # as in a T1w, fluid is dark
            shutil.copy(last, path)
        else:
            nib.save(fluid_bright(nib.load(last)), path)
    last.unlink()
    last.with_name("sub-03_T1w.json").unlink()
    return folder


def fluid_bright(image: nib.Nifti1Image) -> nib.Nifti1Image:
    """A T1w turned over inside of the head, which lies elsewhere in the scanner."""
    data = np.asarray(image.dataobj, dtype=np.float64)
    head = ndimage.binary_opening(data > 0.15 * np.percentile(data, 99))
    head = ndimage.binary_fill_holes(head)
    top = np.percentile(data[head], 99.5)
    turned = np.where(head, np.clip(1.1 * top - data, 0, None), data)
    moved = nib.Nifti1Image(turned.astype(np.int16), motion() @ image.affine)
    moved.set_qform(moved.affine, code="scanner")
    moved.set_sform(moved.affine, code="scanner")
    return moved


def motion() -> np.ndarray:
    """Matrix (4 x 4, RAS mm) from the T1w to the other image."""
    matrix = np.eye(4)
    matrix[:3, :3] = Rotation.from_euler("xyz", TURN, degrees=True).as_matrix()
    matrix[:3, 3] = SHIFT
    return matrix


def write_cards(folder: Path) -> None:
    """``anytwo`` (T1w, T2w or both), ``both``, ``onlyT2w``, ``onlyFLAIR``, ``onlySWI``.

    Then ``tinytargets`` (age, sex, BMI) and ``tinyclass`` (a diagnosis), which see the T1w.
    """
    raw = card_dict()
    two = [{"modality": "T1w"}, {"modality": "T2w"}]
    branches = {"id": "branches", "parameters": dict.fromkeys(("T1w", "T2w"), raw["architecture"])}
    spec = {**raw["input"], "channels": two}
    make_card(folder, name="both", architecture=branches, input=spec)
    make_card(folder, name="anytwo", architecture=branches, input={**spec, "any_subset": True})
    for modality in ALONE:
        only = {**raw["input"], "channels": [{"modality": modality}]}
        make_card(folder, name=f"only{modality}", input=only)
    make_targets_card(folder)
    make_class_card(folder)
