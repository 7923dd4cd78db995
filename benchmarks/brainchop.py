"""Brainchop's MeshNets (neuroneural/brainchop, MIT licence) against MUSE label maps.

``python -m benchmarks.brainchop MODELS BIDS_DIR REFERENCE_DIR --people 3``: MODELS holds a folder
per network with ``model.json`` and its flat float32 ``.bin``. They are not shipped with the app;
they lie in ``public/models`` of that project. Every network runs on the head, conformed to 1 mm and
256^3 voxels and cropped, in a process of its own, which tells processor seconds and memory. Labels
are compared on the reference's grid. The app's own segmentation: :mod:`benchmarks.dice`.
"""

from __future__ import annotations

import argparse
import resource
import sys
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path

import nibabel as nib
import numpy as np
import pandas as pd
import torch
from nibabel.processing import conform, resample_from_to
from numpy.typing import NDArray
from scipy import ndimage
from torch import Tensor
from torch.nn import functional

from bidsapp_brainage import io
from bidsapp_brainage.errors import DataError
from bidsapp_brainage.segmentation.labels import VENTRICLES, muse_labels
from bidsapp_brainage.segmentation.overlap import dice

from .dice import label_map, reference_of

MODELS = ("model5_gw_ae", "model11_gw_ae", "model20chan3cls", "model18cls")
SIZE = 256
ORIENTATION = "LIA"  # of the conformed image, as FreeSurfer's
QUANTILES = (0.05, 0.95)  # that become 0 and 1 where the model asks for quantiles
BRIGHTEST = 0.999  # quantile of the head that becomes 1 elsewhere, as in FreeSurfer's conform
CROP_ABOVE, PADDING = 0.2, 18  # the box of what is brighter, as brainchop crops; voxels around it
SLAB = 32  # planes that a layer computes at a time: bounds what a convolution copies
ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "relu": torch.relu_,
    "elu": lambda x: functional.elu(x, inplace=True),
}
# Labels of the networks and MUSE's regions (both sides) that they are compared with.
WHITE, GREY = "WM", "GM"
TISSUE_LABELS = {WHITE: (1,), GREY: (2,)}
REGION_LABELS = {
    WHITE: (1, 5, 13, 17), GREY: (2, 6, 7, 8, 9, 10, 14, 15, 16), "Ventricles": (3, 4, 11, 12),
    "ThalamusProper": (7,), "Caudate": (8,), "Putamen": (9,), "Pallidum": (10,),
    "Hippocampus": (14,), "Amygdala": (15,), "AccumbensArea": (16,), "BrainStem": (13,),
    "LateralVentricle": (3,), "3rdVentricle": (11,), "4thVentricle": (12,),
    "CerebellumExterior": (6,), "Cerebellum_WM": (5,), "VentralDC": (17,),
}  # fmt: skip


@dataclass(frozen=True)
class Layer:
    """A dilated convolution and what follows it.

    ``weight`` has the shape (out, in, k, k, k).
    """

    weight: Tensor
    bias: Tensor
    dilation: int
    activation: str


@dataclass(frozen=True)
class Network:
    """Layers, and whether the input is scaled between quantiles."""

    layers: tuple[Layer, ...]
    quantiles: bool

    @property
    def n_classes(self) -> int:
        """Classes, the background included."""
        return len(self.layers[-1].weight)


def read_network(folder: Path) -> Network:
    """Read ``model.json`` (layers of TensorFlow.js) and the weights beside it.

    Raises
    ------
    DataError
        No such file, weights of another length, or a layer that is no convolution or activation.
    """
    content = io.read_json(folder / "model.json")
    if not content:
        raise DataError(f"{folder / 'model.json'} is missing or no JSON.")
    manifest = content["weightsManifest"][0]  # type: ignore[index]
    flat = np.fromfile(folder / manifest["paths"][0], dtype="<f4")
    sizes = [int(np.prod(entry["shape"])) for entry in manifest["weights"]]
    if sum(sizes) != len(flat):
        raise DataError(f"{folder}: {len(flat)} weights, {sum(sizes)} expected.")
    parts = iter(np.split(flat, np.cumsum(sizes)[:-1]))
    shapes = (entry["shape"] for entry in manifest["weights"])
    weights = (torch.from_numpy(p.reshape(s).copy()) for p, s in zip(parts, shapes, strict=True))
    topology = content["modelTopology"]["model_config"]["config"]["layers"]  # type: ignore[index]
    layers: list[Layer] = []
    for entry in topology:
        config = entry["config"]
        if entry["class_name"] == "Conv3D":
            kernel = next(weights).permute(4, 3, 0, 1, 2).contiguous()
            bias = next(weights) if config["use_bias"] else torch.zeros(len(kernel))
            layers.append(Layer(kernel, bias, config["dilation_rate"][0], "linear"))
        elif entry["class_name"] == "Activation" and config["activation"] in ACTIVATIONS:
            last = layers.pop()
            layers.append(Layer(last.weight, last.bias, last.dilation, config["activation"]))
        elif entry["class_name"] != "InputLayer":
            raise DataError(f"{folder}: a layer {entry['class_name']} is not known here.")
    return Network(tuple(layers), "quantile" in str(content.get("_comment", "")).lower())


def scaled(volume: NDArray[np.floating], *, quantiles: bool) -> NDArray[np.float32]:
    """Bring a head to about 0 to 1 as a model expects it."""
    values = np.asarray(volume, dtype=np.float32)
    if quantiles:
        low, high = np.quantile(values, QUANTILES)
    else:
        low, high = values.min(), np.quantile(values[values > values.mean()], BRIGHTEST)
        values = np.minimum(values, high)
    return np.asarray((values - low) / max(float(high - low), 1e-6), dtype=np.float32)


def segment(network: Network, volume: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Labels of a scaled, conformed head (D, H, W): the largest connected piece of them."""
    x = torch.from_numpy(volume)[None, None]
    with torch.inference_mode():
        for layer in network.layers[:-1]:
            x = _convolved(layer, x)
        last = network.layers[-1]
        parts = [
            functional.conv3d(part, last.weight, last.bias).argmax(dim=1)[0].to(torch.uint8)
            for part in x.split(SLAB, dim=2)
        ]
    labels = torch.cat(parts).numpy()
    pieces, number = ndimage.label(labels > 0)
    if number > 1:
        largest = 1 + int(np.argmax(np.bincount(pieces.ravel())[1:]))
        labels = np.where(pieces == largest, labels, np.uint8(0))
    return labels


def segment_file(folder: Path, path: Path) -> tuple[nib.Nifti1Image, float, float]:
    """Label map of an image, processor seconds and peak memory (GB) of this process."""
    network = read_network(folder)
    image = nib.as_closest_canonical(io.load_nifti(path))
    head = conform(image, (SIZE,) * 3, (1.0,) * 3, order=1, orientation=ORIENTATION)
    before = _cpu_seconds()
    values = np.asarray(head.dataobj, dtype=np.float32)
    scaled_head = scaled(values, quantiles=network.quantiles)
    box = _box(scaled_head > CROP_ABOVE)
    labels = np.zeros(values.shape, np.uint8)
    labels[box] = segment(network, scaled_head[box])
    seconds = _cpu_seconds() - before
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    return nib.Nifti1Image(labels, head.affine), seconds, memory


def overlaps(found: NDArray[np.integer], truth: NDArray[np.integer], n: int) -> dict[str, float]:
    """Dice of what a network of ``n`` classes knows, against MUSE indices on the same grid."""
    table = muse_labels().table
    names = table["name"].str.replace(r"_[LR]$", "", regex=True)
    result = {}
    for name, own in (TISSUE_LABELS if n == len(TISSUE_LABELS) + 1 else REGION_LABELS).items():
        wanted = table["index"][(table["tissue"] == name) | (names == name)]
        if name == "Ventricles":
            wanted = pd.Series(VENTRICLES)
        result[name] = dice(np.isin(found, own), np.isin(truth, wanted))
    tissue = table["index"][table["tissue"] != "CSF"]
    own_tissue = np.isin(found, (*REGION_LABELS[WHITE], *REGION_LABELS[GREY]))
    result["GM and WM"] = dice(own_tissue, np.isin(truth, tissue))
    return result


def measured(folder: Path, path: Path, reference: Path) -> dict[str, float]:
    """Cost and Dice of one network on one head, in a process of its own."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        labels, seconds, memory = pool.submit(segment_file, folder, path).result()
    truth = label_map(reference)
    found = resample_from_to(labels, truth, order=0)
    n_classes = read_network(folder).n_classes
    scores = overlaps(np.asarray(found.dataobj), np.asarray(truth.dataobj), n_classes)
    return {"cpu_s": seconds, "memory_gb": memory, **scores}


def main(arguments: list[str] | None = None) -> int:
    """Print one row per network: medians over people."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("models_dir", type=Path)
    parser.add_argument("bids_dir", type=Path)
    parser.add_argument("reference_dir", type=Path)
    parser.add_argument("--people", type=int, default=3)
    parser.add_argument("--models", nargs="+", default=list(MODELS))
    args = parser.parse_args(arguments)
    heads = [
        (path, reference)
        for path in sorted(args.bids_dir.glob("sub-*/**/*_T1w.nii.gz"))
        if (reference := reference_of(args.reference_dir, path.name.split("_")[0]))
    ]
    if not heads:
        parser.error("no T1w image of a person with a reference")
    chosen = heads[:: max(1, len(heads) // args.people)][: args.people]
    rows = {}
    for name in args.models:
        found = []
        for path, reference in chosen:
            found.append(measured(args.models_dir / name, path, reference))
            print(name, path.name, found[-1], file=sys.stderr)
        rows[name] = pd.DataFrame(found).median()
    table = pd.DataFrame(rows)
    print(f"Medians of {len(chosen)} people: " + ", ".join(p.name.split("_")[0] for p, _ in chosen))
    print(table.to_string(float_format="%.2f", na_rep=""))
    return 0


def _convolved(layer: Layer, x: Tensor) -> Tensor:
    """The layer's output, computed in slabs."""
    reach = layer.dilation * (layer.weight.shape[-1] // 2)
    depth = x.shape[2]
    out = torch.empty(1, len(layer.weight), *x.shape[2:])
    for first in range(0, depth, SLAB):
        last = min(first + SLAB, depth)
        low, high = first - reach, last + reach
        part = x[:, :, max(low, 0) : min(high, depth)]
        part = functional.pad(part, (0, 0, 0, 0, max(-low, 0), max(high - depth, 0)))
        out[:, :, first:last] = functional.conv3d(
            part, layer.weight, layer.bias, padding=(0, reach, reach), dilation=layer.dilation
        )
    return out if layer.activation == "linear" else ACTIVATIONS[layer.activation](out)


def _box(mask: NDArray[np.bool_]) -> tuple[slice, ...]:
    places = np.nonzero(mask)
    return tuple(slice(max(0, int(p.min()) - PADDING), int(p.max()) + PADDING) for p in places)


def _cpu_seconds() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


if __name__ == "__main__":
    sys.exit(main())
