"""How predictions hold when images change, by networks that have not seen the people.

``python -m benchmarks.left_out MODEL OOF DERIVATIVES --participants TSV``: every image of
DERIVATIVES is changed (contrast, noise, uneven field, stripping; see ``benchmarks.contrasts``),
segmented and aligned again, and predicted by those networks of
MODEL that left its person out (column ``fold`` of OOF, which ``brainage-model train`` wrote).
Prints accuracy, slope of predicted on true age and change by scanner and version. The registration
stays that of the original image.
"""

from __future__ import annotations

import argparse
import sys
import zlib
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path

import nibabel as nib
import numpy as np
import pandas as pd
import torch
from torch import nn

from bidsapp_brainage import io
from bidsapp_brainage.errors import DataError
from bidsapp_brainage.imaging.network_input import model_input
from bidsapp_brainage.imaging.transforms import read_affine
from bidsapp_brainage.model.cards import ModelCard, find_card
from bidsapp_brainage.model.networks.regional import for_brain
from bidsapp_brainage.model.prediction import predict
from bidsapp_brainage.model.weights.loading import load_members
from bidsapp_brainage.segmentation.alignment import aligned
from bidsapp_brainage.segmentation.card import find_segmentation, load_mean_tissue, load_network
from bidsapp_brainage.segmentation.native import regions_in_t1w
from bidsapp_brainage.segmentation.prepare import segmentation_name
from bidsapp_brainage.segmentation.segment import Segmentation, segment
from bidsapp_brainage.training.data.prepare import Prepared, find_prepared
from bidsapp_brainage.training.evaluation import change_table, figures

from .contrasts import GAMMAS, RATIOS, changed_intensities

ORIGINAL = "original"
#: Versions that stay on the grid of the image, so that its registration stays right.
KINDS = (*RATIOS, *GAMMAS, "noise4", "bias", "stripped")


@dataclass(frozen=True)
class Task:
    """One image, and what it is predicted with."""

    image: Prepared
    person: str
    fold: int
    model: str
    models_dir: Path | None
    kinds: tuple[str, ...]


def left_out_members(card: ModelCard, fold: int) -> list[nn.Module]:
    """Networks of a card that left a fold (from 1) out; they carry ``fold-N`` in their file name.

    Raises
    ------
    DataError
        The card has none.
    """
    members = load_members(card)
    found = [
        member
        for member, weight in zip(members, card.weights, strict=True)
        if f"_fold-{fold}_" in weight.path.name
    ]
    if not found:
        raise DataError(f"{card.name} has no weights of fold {fold}.")
    return found


def predicted_versions(task: Task) -> list[dict[str, object]]:
    """Ages of an image and of its versions, one row each."""
    torch.set_num_threads(1)
    card = find_card(task.model, task.models_dir)
    members = left_out_members(card, task.fold)
    segmentation = find_segmentation(segmentation_name(card.input))
    network, mean = load_network(segmentation), load_mean_tissue(segmentation)
    t1w, mask = io.load_nifti(task.image.t1w), io.load_nifti(task.image.mask)
    affine = read_affine(task.image.affine)

    def aged(shown: np.ndarray, brain: np.ndarray) -> tuple[float, Segmentation]:
        images = (
            nib.Nifti1Image(shown, t1w.affine), nib.Nifti1Image(brain.astype(np.uint8), t1w.affine)
        )  # fmt: skip
        found = segment(*images, affine, network, segmentation)
        tissue, to_t1w = aligned(found, mean)
        seen, regions = model_input(*images, to_t1w, card.input, tissue=tissue)
        bound = for_brain(members, np.asarray(regions.dataobj))
        return predict(bound, np.asarray(seen.dataobj, dtype=np.float32), card).mean, found

    shown = np.asarray(t1w.dataobj, dtype=np.float32)
    inside = np.asarray(mask.dataobj) > 0
    age, own = aged(shown, inside)
    rows = [{"participant_id": task.person, "version": ORIGINAL, "predicted_age": age}]
    for kind in task.kinds:
        rng = np.random.default_rng(zlib.crc32(f"{task.image.stem} {kind}".encode()))
        brain = inside
        if kind == "stripped":
            brain = inside & (np.asarray(regions_in_t1w(own, t1w).dataobj) > 0)
        age, _ = aged(changed_intensities(shown, brain, kind, rng), brain)
        rows.append({"participant_id": task.person, "version": kind, "predicted_age": age})
    return rows


def summary(table: pd.DataFrame) -> pd.DataFrame:
    """Accuracy and change by scanner and version.

    Parameters
    ----------
    table : DataFrame
        ``participant_id scanner age version predicted_age``.

    Returns
    -------
    DataFrame
        ``scanner version n mae mean_gap r slope median_abs_change p90_abs_change``.
    """
    rows = []
    for scanner, people in table.groupby("scanner", sort=False):
        versions = {str(name): rows for name, rows in people.groupby("version", sort=False)}
        reference = versions[ORIGINAL]
        changes = change_table(reference, versions).set_index("version")
        for name, version in versions.items():
            found = figures(version["age"].to_numpy(float), version["predicted_age"].to_numpy())
            row = {"scanner": scanner, "version": name}
            row |= {key: found[key] for key in ("n", "mae", "mean_gap", "r")}
            keys = ["slope", "median_abs_change", "p90_abs_change"]
            rows.append(row | changes.loc[name, keys].to_dict())
    return pd.DataFrame(rows)


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the summary."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model")
    parser.add_argument("oof", type=Path)
    parser.add_argument("derivatives", type=Path)
    parser.add_argument("--participants", type=Path, required=True)
    parser.add_argument("--models-dir", type=Path)
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=list(KINDS))
    parser.add_argument("--every", type=int, default=1, help="only every so many-th person")
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--out", type=Path, help="write all predictions as TSV")
    args = parser.parse_args(arguments)
    oof = io.read_tsv(args.oof)
    folds = dict(zip(oof["participant_id"], oof["fold"].astype(int), strict=True))
    kinds = tuple(args.kinds)
    tasks = [
        Task(image, person, folds[person], args.model, args.models_dir, kinds)
        for image in find_prepared(args.derivatives)[:: args.every]
        if (person := image.stem.split("_")[0]) in folds
    ]
    with ProcessPoolExecutor(args.jobs, mp_context=get_context("spawn")) as pool:
        rows = [row for rows in pool.map(predicted_versions, tasks) for row in rows]
    people = io.read_tsv(args.participants).set_index("participant_id")
    table = pd.DataFrame(rows).join(people[["scanner", "age"]], on="participant_id")
    if args.out:
        io.write_tsv(args.out, table)
    print(summary(table).to_string(index=False, float_format="{:.2f}".format))
    return 0


if __name__ == "__main__":
    sys.exit(main())
