"""Images on which an age means nothing or little, and which flag catches which.

``python -m benchmarks.absurd T1W MASK OUT --age 40 [--child T1W --child-age 3]``: makes absurd
images of an ordinary one and writes them as one BIDS dataset to ``OUT/bids``, runs the app on it
(``OUT/derivatives``; options that are not known here are handed to it) and prints a table. MASK is
a brain mask or a label map on the grid of the T1w. With the app's results there already,
``--report-only`` prints the table again.

A mirrored head has nothing wrong but its handedness; nobody should expect a flag.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import nibabel as nib
import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import ndimage

from bidsapp_brainage import io
from bidsapp_brainage.catalogue import flags
from bidsapp_brainage.errors import DataError, UsageError
from bidsapp_brainage.model.tissue import three_levels

from .measure import markdown as as_markdown

Volume = NDArray[np.float32]
Mask = NDArray[np.bool_]

KINDS = {
    "ordinary": "the image itself",
    "noise": "noise",
    "phantom": "animal-like phantom",
    "ct": "contrast like CT",
    "t2w": "contrast like T2w",
    "mirrored": "mirrored head",
    "lesion": "lesion of 35 mm radius",
}
LESION_MM = 35.0
_BONE_MM = (2.0, 10.0)  # from the brain
_CT = (0.20, 0.42, 0.36)  # fluid, grey and white matter; bone is 1
_COLUMNS = ("predicted_age", "ci95_lower", "ci95_upper", "training_distance", "flags")


def absurd_image(t1w: nib.Nifti1Image, mask: Mask, kind: str) -> nib.Nifti1Image:
    """An absurd version of a head in RAS; the same every time.

    Raises
    ------
    DataError
        There is no such kind, or the mask is empty.
    """
    values = np.maximum(np.asarray(t1w.dataobj, dtype=np.float32), 0)
    zooms = np.linalg.norm(t1w.affine[:3, :3], axis=0)
    if not mask.any():
        raise DataError("The brain mask is empty.")
    if kind == "ordinary":
        made = values
    elif kind == "noise":
        real, imaginary = np.random.default_rng(0).standard_normal((2, *values.shape))
        made = 100 * np.hypot(real, imaginary)
    elif kind == "phantom":
        made = phantom(values.shape, zooms)
    elif kind == "ct":
        made = like_ct(values, mask, zooms)
    elif kind == "t2w":
        made = like_t2w(values, mask)
    elif kind == "mirrored":
        made = values[::-1]
    elif kind == "lesion":
        made = with_lesion(values, mask, zooms)
    else:
        raise DataError(f"There is no absurd image {kind}: choose from {', '.join(KINDS)}.")
    return nib.Nifti1Image(np.asarray(made, dtype=np.float32), t1w.affine)


def phantom(shape: Sequence[int], zooms: NDArray[np.float64]) -> Volume:
    """A long body with a head that holds a small brain, a spine and a dark belly."""
    size = np.array(shape) * zooms
    place = [np.arange(n) * zoom for n, zoom in zip(shape, zooms, strict=True)]
    grid = np.meshgrid(*place, indexing="ij")

    def inside(center: Sequence[float], radii: Sequence[float]) -> Mask:
        apart = sum(
            ((axis - part * whole) / (radius * whole)) ** 2
            for axis, part, whole, radius in zip(grid, center, size, radii, strict=True)
        )
        return np.asarray(apart < 1)

    animal = np.zeros(tuple(shape))
    animal[inside((0.5, 0.35, 0.5), (0.22, 0.33, 0.2))] = 60
    animal[inside((0.5, 0.30, 0.48), (0.15, 0.22, 0.12))] = 25
    animal[inside((0.5, 0.40, 0.66), (0.03, 0.38, 0.03))] = 110
    animal[inside((0.5, 0.80, 0.6), (0.14, 0.17, 0.13))] = 70
    animal[inside((0.5, 0.80, 0.63), (0.08, 0.09, 0.07))] = 100
    animal[inside((0.5, 0.80, 0.63), (0.02, 0.05, 0.02))] = 30
    noise = np.random.default_rng(0).normal(0, 2, tuple(shape))
    return np.asarray(np.maximum(animal + noise, 0), dtype=np.float32)


def like_ct(values: Volume, mask: Mask, zooms: NDArray[np.float64]) -> Volume:
    """Bright bone around a brain of hardly any contrast, noisy; no scalp fat."""
    levels = three_levels(values[mask])
    air = 0.3 * levels[0]
    away = ndimage.distance_transform_edt(~mask, sampling=zooms)
    bone = (away > _BONE_MM[0]) & (away < _BONE_MM[1])
    brain = np.interp(values, [air, *levels], [0.0, *_CT])
    made = np.where(mask, brain, np.where(bone, 1.0, np.where(values > air, 0.3, 0.0)))
    noise = np.random.default_rng(0).normal(0, 0.02, values.shape)
    return np.asarray(1000 * np.maximum(made + noise, 0), dtype=np.float32)


def like_t2w(values: Volume, mask: Mask) -> Volume:
    """Fluid brightest, white matter darkest; air and bone stay dark."""
    fluid, grey, white = three_levels(values[mask])
    air = 0.3 * fluid
    curve = [0, air, fluid, grey, white, 2 * white]
    inverted = np.interp(values, curve, np.array([0, 0, 1.0, 0.55, 0.4, 0.2]) * white)
    return np.asarray(inverted, dtype=np.float32)


def with_lesion(values: Volume, mask: Mask, zooms: NDArray[np.float64]) -> Volume:
    """A ball of fluid in one half of the brain, with a soft edge."""
    fluid = three_levels(values[mask])[0]
    middle = np.array(ndimage.center_of_mass(mask))
    middle[0] += 32.0 / zooms[0]
    grid = np.indices(values.shape)
    away = np.sqrt(
        sum(((axis - c) * z) ** 2 for axis, c, z in zip(grid, middle, zooms, strict=True))
    )
    share = np.clip((LESION_MM + 2 - away) / 4, 0, 1) * mask
    return np.asarray(values * (1 - share) + fluid * share, dtype=np.float32)


def write_dataset(options: argparse.Namespace, folder: Path) -> None:
    """Write the chosen images as a BIDS dataset, with the age that each is said to have."""
    image = nib.as_closest_canonical(io.load_nifti(options.t1w))
    mask = np.asarray(nib.as_closest_canonical(io.load_nifti(options.mask)).dataobj) > 0
    if mask.shape != image.shape:
        raise UsageError(f"{options.mask} has another grid than {options.t1w}.")
    made = {kind: (absurd_image(image, mask, kind), options.age) for kind in options.only}
    if options.child:
        made["child"] = (io.load_nifti(options.child), options.child_age)
    for kind, (picture, _) in made.items():
        io.save_nifti(picture, folder / f"sub-{kind}" / "anat" / f"sub-{kind}_T1w.nii.gz")
    people = [{"participant_id": f"sub-{kind}", "age": age} for kind, (_, age) in made.items()]
    io.write_tsv(folder / "participants.tsv", pd.DataFrame(people))
    facts = {"Name": "Absurd images", "BIDSVersion": "1.10.0", "DatasetType": "raw"}
    io.write_json(folder / "dataset_description.json", facts)


def result_table(bids: Path, derivatives: Path) -> pd.DataFrame:
    """What the app said about each image: age, interval, flags, and whether it was caught."""
    people = io.read_tsv(bids / "participants.tsv")
    rows = []
    for person, age in zip(people["participant_id"], people["age"], strict=True):
        row = {"image": person.removeprefix("sub-"), "age": age}
        predicted = _first(derivatives, person, "brainage")
        quality = _first(derivatives, person, "qc")
        row |= {name: predicted.get(name) for name in _COLUMNS}
        row["quality"] = quality.get("decision_reason") if quality else "no result"
        if not predicted:
            row["caught"] = "no age is given"
        else:
            found = [*flags.split(predicted.get("flags"))]
            found += ["quality"] if quality.get("decision") == "warn" else []
            row["caught"] = ", ".join(found) or "no"
        rows.append(row)
    return pd.DataFrame(rows)


def markdown(table: pd.DataFrame) -> str:
    """The table as Markdown."""
    columns = (
        "image", "true age", "predicted (95 % interval)", "distance", "quality", "caught by",
    )  # fmt: skip
    rows = [
        (
            KINDS.get(row["image"], row["image"]),
            _number(row["age"]),
            f"{_number(row['predicted_age'])} ({_number(row['ci95_lower'])} to "
            f"{_number(row['ci95_upper'])})",
            _number(row["training_distance"], 2),
            row["quality"] if isinstance(row["quality"], str) else "-",
            row["caught"].replace("_", " "),
        )
        for row in table.to_dict("records")
    ]
    return as_markdown(columns, rows)


def main(argv: Sequence[str] | None = None) -> int:
    """Make the images, run the app, print the table."""
    options, further = _parser().parse_known_args(argv)
    bids, derivatives = options.out / "bids", options.out / "derivatives"
    if not options.report_only:
        write_dataset(options, bids)
        command = [sys.executable, "-m", "bidsapp_brainage", str(bids), str(derivatives)]
        command += ["participant", "-w", str(options.out / "work"), "--explain", "none"]
        command += ["--level", "minimal", "--skip-bids-validation"]
        # images that fail the quality checks make the app end with another status than 0
        done = subprocess.run([*command, *further], check=False)
        print(f"exit status of the app: {done.returncode}")
    table = result_table(bids, derivatives)
    io.write_tsv(options.out / "absurd.tsv", table)
    print(markdown(table))
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("t1w", type=Path, help="an ordinary T1w image of a whole head")
    parser.add_argument("mask", type=Path, help="its brain mask or label map, on the same grid")
    parser.add_argument("out", type=Path, help="folder for images and results")
    parser.add_argument("--age", type=float, required=True, help="of the person (years)")
    parser.add_argument("--child", type=Path, help="T1w image of a child")
    parser.add_argument("--child-age", type=float, default=3.0, help="years (default: 3)")
    parser.add_argument("--only", nargs="+", choices=KINDS, default=list(KINDS), metavar="KIND")
    parser.add_argument("--report-only", action="store_true", help="print the table again")
    return parser


def _first(derivatives: Path, person: str, suffix: str) -> dict[str, object]:
    paths = sorted(derivatives.glob(f"{person}/**/{person}_*_{suffix}.tsv"))
    if not paths:
        return {}
    return {str(name): value for name, value in io.read_tsv(paths[0]).iloc[0].items()}


def _number(value: object, digits: int = 1) -> str:
    if value is None or pd.isna(value):
        return "-"
    return f"{float(str(value)):.{digits}f}"


if __name__ == "__main__":
    sys.exit(main())
