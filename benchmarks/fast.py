"""What the model of raw images costs, what changes its ages, and how often its check fires.

    python -m benchmarks.fast MODEL BIDS [--every N] [--full TSV] [--limit YEARS]

MODEL is a card, BIDS a raw dataset, TSV has predictions of the full path (``participant_id
predicted_age``) for people whom it had not seen. Every Nth image is predicted as it is and spoilt
in ways that leave the person's age: headers that tilt the head or tell another orientation,
mirrored, cut, blurred or noisy images. With --full the last column counts how often the age of the
spoilt image is farther than YEARS from that of the full path on the intact image.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import pandas as pd
import torch
from scipy import ndimage

from bidsapp_brainage.imaging.conform import conform_t1w
from bidsapp_brainage.io import load_nifti, read_tsv
from bidsapp_brainage.model.cards import ModelCard, find_card
from bidsapp_brainage.segmentation.prepare import raw_prediction

Image = nib.Nifti1Image


def turned(image: Image, axis: int, degrees: float) -> Image:
    """The same voxels with a header that turns the head about its middle."""
    angle, turn = np.radians(degrees), np.eye(4)
    first, second = (axis + 1) % 3, (axis + 2) % 3
    turn[first, first] = turn[second, second] = np.cos(angle)
    turn[first, second], turn[second, first] = -np.sin(angle), np.sin(angle)
    return Image(np.asarray(image.dataobj), turn @ image.affine)


def filtered(image: Image, change: Callable[[np.ndarray], np.ndarray]) -> Image:
    """The same header with other voxels."""
    return Image(change(np.asarray(image.dataobj, dtype=np.float32)), image.affine)


def cut(image: Image, axis: int, part: float) -> Image:
    """Without the lower part of an axis of the head."""
    data = np.array(image.dataobj, dtype=np.float32)
    shown = np.flatnonzero((data > 0.1 * data.max()).any(axis=tuple({0, 1, 2} - {axis})))
    stop = shown[0] + round(part * (shown[-1] - shown[0]))
    data[(slice(None),) * axis + (slice(0, stop),)] = 0
    return Image(data, image.affine)


def without_top(image: Image) -> Image:
    """Without the upper sixth of the head."""
    data = np.array(image.dataobj, dtype=np.float32)
    shown = np.flatnonzero((data > 0.1 * data.max()).any(axis=(0, 1)))
    data[:, :, shown[-1] - round((shown[-1] - shown[0]) / 6) :] = 0
    return Image(data, image.affine)


def noisy(data: np.ndarray) -> np.ndarray:
    """Noise of a tenth of the 95th percentile."""
    rng = np.random.default_rng(0)
    return np.abs(data + rng.normal(0, 0.1 * np.percentile(data, 95), data.shape))


SPOILT: dict[str, Callable[[Image], Image]] = {
    "as it is": lambda image: image,
    "tilted by 10 degrees": lambda image: turned(image, 0, 10),
    "tilted by 20 degrees": lambda image: turned(image, 0, 20),
    "turned by 15 degrees": lambda image: turned(image, 2, 15),
    "moved by 40 mm": lambda image: Image(
        image.dataobj, nib.affines.from_matvec(np.eye(3), [40, 20, -40]) @ image.affine
    ),
    "mirrored": lambda image: filtered(image, lambda data: data[::-1]),
    "4 mm slices": lambda image: filtered(
        image,
        lambda data: ndimage.uniform_filter1d(data, max(1, round(4 / image.header.get_zooms()[2]))),
    ),
    "blurred, 6 mm": lambda image: filtered(
        image, lambda data: ndimage.gaussian_filter(data, 2.55 / image.header.get_zooms()[0])
    ),
    "noise": lambda image: filtered(image, noisy),
    "a third of the front cut off": lambda image: cut(image, 1, 1 / 3),
    "top cut off": without_top,
    "header: lying face down": lambda image: turned(image, 0, 90),
    "header: upside down": lambda image: turned(image, 0, 180),
    "header: on the side": lambda image: turned(image, 1, 90),
}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("model")
    parser.add_argument("bids", type=Path)
    parser.add_argument("--every", type=int, default=1)
    parser.add_argument("--full", type=Path)
    parser.add_argument("--limit", type=float)
    options = parser.parse_args()
    torch.set_num_threads(1)
    card = find_card(options.model)
    images = sorted(options.bids.glob("sub-*/**/*_T1w.nii*"))[:: options.every]
    rows = [row for path in images for row in measured(card, path)]
    table = pd.DataFrame(rows)
    print(summary(table, options.full, options.limit).to_string(index=False, float_format="%.2f"))
    seconds = table[table["image"] == "as it is"]["cpu"]
    print(f"{seconds.median():.2f} s of one CPU for a scan (to {seconds.max():.2f}), {len(images)}")


def measured(card: ModelCard, path: Path) -> list[dict[str, object]]:
    """Age and CPU time of an image and of its spoilt versions."""
    whole = nib.as_closest_canonical(load_nifti(path))
    rows = []
    for name, spoil in SPOILT.items():
        image, began = spoil(whole), time.process_time()
        age = raw_prediction(conform_t1w(image, path.name)[0], card).mean
        person = path.name.split("_")[0]
        cpu = time.process_time() - began
        rows.append({"participant_id": person, "image": name, "age": age, "cpu": cpu})
    return rows


def summary(table: pd.DataFrame, full: Path | None, limit: float | None) -> pd.DataFrame:
    """Change of the age, and how often the check fires, by kind of image."""
    wide = table.pivot_table(index="participant_id", columns="image", values="age")[[*SPOILT]]
    change = wide.sub(wide["as it is"], axis=0)
    result = pd.DataFrame(
        {"mean change": change.mean(), "mean |change|": change.abs().mean(),
         "largest": change.abs().max()}
    )  # fmt: skip
    if full is not None and limit is not None:
        ages = read_tsv(full).set_index("participant_id")["predicted_age"]
        away = wide.sub(ages.reindex(wide.index), axis=0).abs()
        result["flagged %"] = 100 * (away > limit).mean()
    return result.reset_index()


if __name__ == "__main__":
    main()
