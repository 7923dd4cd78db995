"""The atlas that comes with the app: ``BrainageDemo``, an approximation for demonstration.

It exists so that the app shows everything it does on a machine without network and without
anybody's licence. It is *not* a validated parcellation: its regions carry the names of the AAL
regions and start from their published centres, but their borders are where the growing fronts
met, not where an anatomist put them. Use a published atlas for research.

How it is made (`build_labels`), from the tissue maps that nilearn bundles and two small tables in
``data/atlases`` (regions and seed points):

1. cerebrum, cerebellum and brainstem: fronts grow from seed points inside the brain mask; dark
   voxels (fluid between cerebellum and occipital lobe) slow them down;
2. fluid (what is neither grey nor white): ventricles against sulci, grown inside the fluid;
3. deep nuclei and corpus callosum: balls around seed points, cut by the tissue maps;
4. cortex: fronts from the seed points, fast in grey matter, slow through white matter, slower
   through sulci, so that opposite banks of a sulcus part where the sulcus is;
5. white matter: the lobe of the nearest cortex; more than 12 mm from it, deep white matter.

One hemisphere is made and mirrored, as the template is symmetric. The plane x = 0 goes to the left.

Seed points marked ``AAL`` are centres of mass of AAL regions (Tzourio-Mazoyer et al. 2002,
doi:10.1006/nimg.2001.0978; listed region by region in the node file of BrainNet Viewer, Xia et al.
2013, doi:10.1371/journal.pone.0068910), left and right averaged in absolute value and rounded to
1 mm. Points marked ``guide`` were placed by this project on the template to follow a gyrus or to
fill a nucleus. Networks are the most frequent of the seven networks of Yeo et al. 2011
(doi:10.1152/jn.00338.2011) among the voxels of a region, read from the Schaefer 2018 parcels.
"""

from __future__ import annotations

import argparse
import colorsys
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from bidsapp_brainage import io

if TYPE_CHECKING:
    import nibabel as nib
    from numpy.typing import NDArray

    Volume = NDArray[np.float32]
    Labels = NDArray[np.int32]
    Mask = NDArray[np.bool_]

ATLAS_NAME = "BrainageDemo"
_ORIGIN = (-98, -134, -72)  # mm of voxel (0, 0, 0) of the 1 mm template, RAS
_LEFT = 99  # planes x = -98 ... 0
_FLUID = 0.4  # fraction of fluid above which a voxel counts as fluid
_RIM = 2.5  # mm that a nucleus may reach beyond its balls, inside grey matter
_DEEP = 12.0  # mm from the cortex of any lobe where white matter counts as deep
# Travel cost per mm. Values were set by looking at the result on the template.
_COST_WHITE, _COST_FLUID, _COST_NUCLEUS = 1.5, 6.0, 8.0
_CEREBRUM, _BRAINSTEM, _CEREBELLUM = 1, 2, 3
_HUES = {
    "Frontal": 0.58, "Insula": 0.80, "Limbic": 0.12, "Occipital": 0.0, "Temporal": 0.33,
    "Parietal": 0.46, "Subcortical": 0.92, "White matter": 0.16, "Cerebellum": 0.70,
    "Brainstem": 0.06, "Ventricles": 0.64, "Cerebrospinal fluid": 0.54,
}  # fmt: skip


@dataclass(frozen=True)
class Tissue:
    """Left half (x from -98 to 0 mm) of the template's tissue maps, 1 mm, RAS.

    All of shape (99, 233, 189): the brain mask, and fractions of tissue (0 to 1); `fluid` is what
    the other two leave over.
    """

    brain: Mask
    grey: Volume
    white: Volume
    fluid: Volume


def load_tissue() -> Tissue:
    """Tissue maps bundled with nilearn (no network)."""
    from nilearn import datasets

    images = (
        datasets.load_mni152_template(resolution=1),
        datasets.load_mni152_gm_template(resolution=1),
        datasets.load_mni152_wm_template(resolution=1),
    )
    t1w, grey, white = (np.asanyarray(img.dataobj)[:_LEFT].astype(np.float32) for img in images)
    brain = t1w > 0
    fluid = np.where(brain, np.clip(1 - grey - white, 0, 1), 0).astype(np.float32)
    return Tissue(brain, grey, white, fluid)


def read_tables() -> tuple[pd.DataFrame, pd.DataFrame]:
    """Regions (one row per name, in label order) and seed points (mm, x without sign)."""
    folder = Path(str(files("bidsapp_brainage"))) / "data" / "atlases"
    regions = io.read_tsv(folder / "brainagedemo_regions.tsv")
    seeds = io.read_tsv(folder / "brainagedemo_seeds.tsv")
    return regions, seeds.merge(regions[["abbreviation", "kind"]], on="abbreviation")


def build_labels(tissue: Tissue, regions: pd.DataFrame, seeds: pd.DataFrame) -> Labels:
    """Label one hemisphere (int32): 0 outside the brain, else 1 + row number of `regions`.

    `tissue` is the left half of the template, `regions` and `seeds` are those of `read_tables`.
    """
    number = {name: row + 1 for row, name in enumerate(regions["abbreviation"])}
    seeds = seeds.assign(number=seeds["abbreviation"].map(number))
    lobe_white = {
        lobe: number[f"WM{lobe[0]}"] for lobe in ("Frontal", "Parietal", "Temporal", "Occipital")
    }
    trunk = _grow_trunk(tissue, seeds)
    cerebrum = trunk == _CEREBRUM
    fluid = _grow_fluid(tissue, seeds)
    solid = tissue.brain & (fluid == 0)
    nuclei = _fill_nuclei(tissue, seeds, cerebrum & solid)
    cortex = _grow_cortex(tissue, seeds, cerebrum, nuclei)
    white = cerebrum & solid & (nuclei == 0) & _is_white(tissue, fluid, number)
    labels = np.where(cerebrum & solid & (nuclei == 0) & ~white, cortex, 0).astype(np.int32)
    labels = _drop_islands(labels, white)
    nearest_lobe, distance = _nearest_lobe(labels, regions, lobe_white)
    labels[white] = np.where(distance > _DEEP, number["WMD"], nearest_lobe)[white]
    labels[nuclei > 0] = nuclei[nuclei > 0]
    labels[trunk == _BRAINSTEM] = number["BS"]
    labels[trunk == _CEREBELLUM] = number["CBC"]
    labels[(trunk == _CEREBELLUM) & (tissue.white > tissue.grey)] = number["CBW"]
    labels[fluid > 0] = fluid[fluid > 0]
    return labels


def _voxel(x: float, y: float, z: float) -> tuple[int, int, int]:
    """Voxel of the left half at a point in mm (`x` without sign)."""
    return (int(-abs(x) - _ORIGIN[0]), int(y - _ORIGIN[1]), int(z - _ORIGIN[2]))


def _snap(seeds: pd.DataFrame, domain: Mask) -> list[tuple[int, int, int]]:
    """Voxel of `domain` nearest to each seed point."""
    from scipy.spatial import cKDTree

    inside = np.argwhere(domain)
    points = np.array([_voxel(*point) for point in seeds[["x", "y", "z"]].to_numpy(float)])
    nearest = cKDTree(inside).query(points)[1]
    return [(int(i), int(j), int(k)) for i, j, k in inside[nearest]]


def grow(
    domain: Mask, cost: Volume, voxels: list[tuple[int, int, int]], numbers: list[int]
) -> Labels:
    """Give each voxel of `domain` the number of the seed whose front arrives first.

    Fronts go from face to face inside `domain`; a step costs the mean of the `cost` of its two
    voxels. Seeds are the `voxels` (inside `domain`), with the positive labels `numbers`. The result
    (int32) is 0 outside `domain` and where no front arrives.
    """
    from scipy.sparse import csr_matrix
    from scipy.sparse.csgraph import dijkstra

    n_nodes = int(domain.sum())
    node = np.full(domain.shape, -1, np.int32)
    node[domain] = np.arange(n_nodes)
    starts, ends, weights = [], [], []
    for axis in range(domain.ndim):
        lower = tuple(slice(None, -1) if a == axis else slice(None) for a in range(domain.ndim))
        upper = tuple(slice(1, None) if a == axis else slice(None) for a in range(domain.ndim))
        both = domain[lower] & domain[upper]
        starts.append(node[lower][both])
        ends.append(node[upper][both])
        weights.append((cost[lower][both] + cost[upper][both]) / 2)
    edges = (np.concatenate(starts), np.concatenate(ends))
    graph = csr_matrix((np.concatenate(weights), edges), shape=(n_nodes, n_nodes))
    number_of = np.zeros(n_nodes + 1, np.int32)  # the last entry serves "no source" (-9999)
    # Reversed, so that of two seeds in one voxel the first one counts.
    for voxel, number in reversed(list(zip(voxels, numbers, strict=True))):
        number_of[node[voxel]] = number
    sources = np.flatnonzero(number_of)
    _, _, source = dijkstra(
        graph, directed=False, indices=sources, return_predecessors=True, min_only=True
    )
    labels = np.zeros(domain.shape, np.int32)
    labels[domain] = number_of[np.where(source >= 0, source, n_nodes)]
    return labels


def _grow_trunk(tissue: Tissue, seeds: pd.DataFrame) -> Labels:
    """Cerebrum (1), brainstem (2), cerebellum (3)."""
    chosen = seeds[seeds["kind"].isin(["trunk", "cortex", "nucleus"])]
    kinds = {"BS": _BRAINSTEM, "CBC": _CEREBELLUM}
    numbers = [kinds.get(name, _CEREBRUM) for name in chosen["abbreviation"]]
    cost = 1 + 40 * tissue.fluid**2 + 15 * (tissue.fluid > _FLUID)
    voxels = _snap(chosen, tissue.brain & (tissue.fluid < 0.3))
    return grow(tissue.brain, cost.astype(np.float32), voxels, numbers)


def _grow_fluid(tissue: Tissue, seeds: pd.DataFrame) -> Labels:
    """Ventricles and sulcal fluid; 0 elsewhere."""
    from scipy import ndimage

    domain = tissue.brain & (tissue.fluid > _FLUID)
    chosen = seeds[seeds["kind"].isin(["ventricle", "csf"])]
    sulcal = int(chosen.loc[chosen["kind"] == "csf", "number"].iloc[0])
    # The mirrored half continues beyond x = 0: that side is no border of the brain.
    padded = np.concatenate([tissue.brain, tissue.brain[-5:]])
    depth = ndimage.distance_transform_edt(padded)[:_LEFT]
    rim = [(int(i), int(j), int(k)) for i, j, k in np.argwhere(domain & (depth <= 3))]
    voxels = _snap(chosen, domain) + rim
    numbers = [int(number) for number in chosen["number"]] + [sulcal] * len(rim)
    labels = grow(domain, np.ones(domain.shape, np.float32), voxels, numbers)
    labels[domain & (labels == 0)] = sulcal  # fluid enclosed in a fold
    return labels


def _fill_nuclei(tissue: Tissue, seeds: pd.DataFrame, domain: Mask) -> Labels:
    """Deep nuclei and corpus callosum: the ball in whose depth a voxel lies, cut by tissue."""
    grid = np.indices(domain.shape, dtype=np.float32)
    closest = np.ones(domain.shape, np.float32)
    labels = np.zeros(domain.shape, np.int32)
    balls = seeds[seeds["kind"].isin(["nucleus", "tract"]) & (seeds["radius"] > 0)]
    grey_only = tissue.white < 0.6
    allowed = {"CC": tissue.white > 0.5, "THA": domain, "PAL": domain, "VDC": domain}
    for ball in balls.to_dict("records"):
        centre = _voxel(ball["x"], ball["y"], ball["z"])
        squared = sum((grid[a] - centre[a]) ** 2 for a in range(3))
        relative = np.sqrt(squared) / ball["radius"]
        won = domain & allowed.get(ball["abbreviation"], grey_only) & (relative < closest)
        closest[won] = relative[won]
        labels[won] = ball["number"]
    return _fill_rims(labels, domain & grey_only & (tissue.grey > 0.5))


def _fill_rims(labels: Labels, grey: Mask) -> Labels:
    """Give grey voxels within 2.5 mm of a nucleus to it: balls do not fit its outline exactly."""
    from scipy import ndimage

    distance, nearest = ndimage.distance_transform_edt(labels == 0, return_indices=True)
    rim = grey & (labels == 0) & (distance <= _RIM)
    return np.where(rim, labels[tuple(nearest)], labels).astype(np.int32)


def _grow_cortex(tissue: Tissue, seeds: pd.DataFrame, cerebrum: Mask, nuclei: Labels) -> Labels:
    """Cortical region of each voxel of the cerebrum, whatever its tissue."""
    cost = tissue.grey + _COST_WHITE * tissue.white + _COST_FLUID * tissue.fluid
    cost[nuclei > 0] = _COST_NUCLEUS
    chosen = seeds[seeds["kind"] == "cortex"]
    grey = cerebrum & (tissue.grey > 0.6) & (nuclei == 0)
    numbers = [int(number) for number in chosen["number"]]
    return grow(cerebrum, np.maximum(cost, 0.5), _snap(chosen, grey), numbers)


def _is_white(tissue: Tissue, fluid: Labels, number: dict[str, int]) -> Mask:
    """White matter, with the grey-looking rim that partial volume draws around the ventricles."""
    from scipy import ndimage

    inner = np.isin(fluid, [number["LV"], number["3V"]])
    rim = ndimage.binary_dilation(inner, iterations=3)
    return np.asarray((tissue.white > tissue.grey) | rim)


def _drop_islands(labels: Labels, white: Mask) -> Labels:
    """Move grey islands that do not reach the cortical sheet to white matter (`white` grows)."""
    from scipy import ndimage

    parts, _ = ndimage.label(labels > 0)
    sizes = np.bincount(parts.ravel())
    sizes[0] = 0
    island = (labels > 0) & (parts != sizes.argmax())
    white |= island
    return np.where(island, 0, labels).astype(np.int32)


def _nearest_lobe(
    labels: Labels, regions: pd.DataFrame, lobe_white: dict[str, int]
) -> tuple[Labels, Volume]:
    """White-matter label of the lobe whose cortex is nearest, and how far it is (mm)."""
    from scipy import ndimage

    lobes = np.zeros(len(regions) + 1, np.int32)
    for position, (kind, lobe) in enumerate(zip(regions["kind"], regions["lobe"], strict=True)):
        if kind == "cortex":
            lobes[position + 1] = lobe_white.get(lobe, 0)
    lobe_of = lobes[labels]
    distance, nearest = ndimage.distance_transform_edt(lobe_of == 0, return_indices=True)
    return np.asarray(lobe_of[tuple(nearest)], np.int32), distance.astype(np.float32)


def build_table(regions: pd.DataFrame) -> pd.DataFrame:
    """Label table of both hemispheres: region k has index 2k - 1 (left) and 2k (right)."""
    rows = []
    for position, region in enumerate(regions.to_dict("records")):
        for offset, side in ((1, "Left"), (2, "Right")):
            name = region["name"]
            name = name if name.startswith("Heschl") else name[:1].lower() + name[1:]
            rows.append(
                {
                    "index": 2 * position + offset,
                    "name": f"{side} {name}",
                    "abbreviation": f"{region['abbreviation']}_{side[0]}",
                    "color": _color(region["lobe"], position),
                    "hemisphere": side[0],
                    "lobe": region["lobe"],
                    "network": region["network"],
                }
            )
    return pd.DataFrame(rows)


def _color(lobe: str, position: int) -> str:
    """Colour of a region: the hue says the lobe, neighbours in the table differ in shade."""
    hue = (_HUES[lobe] + 0.05 * ((position * 0.618) % 1 - 0.5)) % 1
    rgb = colorsys.hsv_to_rgb(
        hue, 0.35 + 0.55 * ((position * 0.382) % 1), 0.95 - 0.12 * (position % 4)
    )
    return "#" + "".join(f"{round(255 * channel):02x}" for channel in rgb)


def build_atlas() -> tuple[nib.Nifti1Image, pd.DataFrame]:
    """Make the atlas from nilearn's bundled maps (about 40 s of CPU time).

    Gives uint8 labels on the 1 mm grid of the embedded template, and the table of their regions.
    """
    import nibabel as nib

    regions, seeds = read_tables()
    half = build_labels(load_tissue(), regions, seeds)
    left = np.where(half > 0, 2 * half - 1, 0)
    right = np.where(half > 0, 2 * half, 0)[-2::-1]  # without the plane x = 0
    data = np.concatenate([left, right]).astype(np.uint8)
    affine = np.eye(4)
    affine[:3, 3] = _ORIGIN
    img = nib.Nifti1Image(data, affine)
    img.set_sform(affine, code="mni")
    img.set_qform(affine, code="mni")
    img.header.set_xyzt_units("mm")
    return img, build_table(regions)


def main(argv: list[str] | None = None) -> int:
    """Write the shipped files again: ``python -m bidsapp_brainage.atlas.embedded FOLDER``."""
    parser = argparse.ArgumentParser(description="Build the BrainageDemo atlas.")
    parser.add_argument("folder", type=Path)
    folder = parser.parse_args(argv).folder
    img, table = build_atlas()
    io.save_nifti(img, folder / "brainagedemo_dseg.nii.gz")
    io.write_tsv(folder / "brainagedemo_dseg.tsv", table)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
