"""Figures: small, valid, complete for odd inputs, and clear about what cannot be drawn."""

from __future__ import annotations

import base64
import io
import re
from pathlib import Path
from xml.etree import ElementTree

import nibabel as nib
import numpy as np
import pandas as pd
import pytest
from PIL import Image

from bidsapp_brainage.errors import DataError
from bidsapp_brainage.io import save_nifti, write_tsv
from bidsapp_brainage.model.provenance import TrainingCohort
from bidsapp_brainage.reports.figures import mosaic
from bidsapp_brainage.reports.figures import overlays as figures
from bidsapp_brainage.reports.figures.age import plot_age_distribution
from bidsapp_brainage.reports.figures.regions import plot_regions
from tests.reports.synthetic import Pictures

AGES = {"predicted_age": 40.0, "ci95_lower": 30.0, "ci95_upper": 50.0, "chronological_age": 44.0}


def _save(path: Path, data: np.ndarray, affine: np.ndarray) -> Path:
    save_nifti(nib.Nifti1Image(np.asarray(data, dtype=np.float32), affine), path)
    return path


@pytest.fixture
def pair(tmp_path: Path) -> tuple[Path, Path]:
    pictures = Pictures.small()
    head = _save(tmp_path / "t1w.nii.gz", pictures.head.get_fdata(), pictures.head.affine)
    mask = _save(tmp_path / "mask.nii.gz", pictures.mask.get_fdata(), pictures.head.affine)
    return head, mask


def _svg(path: Path) -> ElementTree.Element:
    assert path.stat().st_size < 300_000
    return ElementTree.fromstring(path.read_text("utf-8"))


def _raster(path: Path) -> np.ndarray:
    code = re.search(r"base64,([^\"]+)", path.read_text("utf-8"))
    assert code
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(code[1]))))


def _words(root: ElementTree.Element) -> list[str]:
    return [str(item.text) for item in root.iter("{http://www.w3.org/2000/svg}text")]


def test_mask_has_outlines_and_sides(pair, tmp_path):
    out = tmp_path / "mask.svg"
    figures.plot_mask(*pair, out)
    root = _svg(out)
    assert len(list(root.iter("{http://www.w3.org/2000/svg}path"))) == 20
    assert _words(root) == ["L", "R", "L", "R", "P", "A"]


def test_left_of_the_picture_is_left_of_the_brain(tmp_path):
    """Whatever the orientation of the file."""
    data = np.full((20, 24, 18), 10.0)
    data[:10] = 100.0  # bright on the left: x grows to the right in the RAS frame
    affine = np.diag([8.0, 8, 8, 1])
    mask = _save(tmp_path / "mask.nii.gz", np.ones_like(data), affine)
    plain = _save(tmp_path / "ras.nii.gz", data, affine)
    image = nib.load(plain)
    turned = image.as_reoriented(
        nib.orientations.ornt_transform(
            nib.orientations.io_orientation(affine), nib.orientations.axcodes2ornt("SLP")
        )
    )
    save_nifti(turned, tmp_path / "slp.nii.gz")
    figures.plot_mask(plain, mask, tmp_path / "a.svg")
    figures.plot_mask(tmp_path / "slp.nii.gz", mask, tmp_path / "b.svg")
    assert (tmp_path / "a.svg").read_bytes() == (tmp_path / "b.svg").read_bytes()
    picture = _raster(tmp_path / "a.svg")
    tile = picture[: picture.shape[0] // 3, : picture.shape[1] // 7]
    half = tile.shape[1] // 2
    assert tile[:, :half].mean() > tile[:, half:].mean() + 50


def test_an_empty_mask_is_drawn_without_outline(pair, tmp_path):
    empty = _save(tmp_path / "empty.nii.gz", np.zeros((23, 28, 21)), nib.load(pair[0]).affine)
    figures.plot_mask(pair[0], empty, tmp_path / "out.svg")
    assert not list(_svg(tmp_path / "out.svg").iter("{http://www.w3.org/2000/svg}path"))


def test_thick_slices_keep_their_proportions(tmp_path):
    affine = np.diag([1.0, 1, 6, 1])
    data = np.random.default_rng(0).random((64, 80, 14)) + 1
    head = _save(tmp_path / "t.nii.gz", data, affine)
    figures.plot_mask(head, head, tmp_path / "out.svg")
    height, width = _raster(tmp_path / "out.svg").shape[:2]
    # rows: axial 80 mm, coronal and sagittal 84 mm high; six sagittal slices of 80 mm fill it
    assert height / width == pytest.approx((80 + 84 + 84) / 480, rel=0.05)


def test_other_grid_is_a_clear_error(pair, tmp_path):
    other = _save(tmp_path / "other.nii.gz", np.ones((10, 10, 10)), np.eye(4))
    with pytest.raises(DataError, match=r"other\.nii\.gz.*not on the grid"):
        figures.plot_mask(pair[0], other, tmp_path / "out.svg")
    assert not (tmp_path / "out.svg").exists()


def test_four_dimensions_are_a_clear_error(tmp_path):
    path = _save(tmp_path / "four.nii.gz", np.ones((4, 4, 4, 3)), np.eye(4))
    with pytest.raises(DataError, match="3D"):
        figures.plot_model_input(path, tmp_path / "out.svg")


def test_regions_have_the_colours_of_their_table(tmp_path):
    affine = np.diag([8.0, 8, 8, 1])
    labels = np.zeros((20, 24, 18))
    labels[4:10, 4:20, 4:14], labels[10:16, 4:20, 4:14] = 7, 9
    t1w = _save(tmp_path / "t1w.nii.gz", 100.0 * (labels > 0), affine)
    dseg = _save(tmp_path / "dseg.nii.gz", labels, affine)
    table = tmp_path / "dseg.tsv"
    write_tsv(table, pd.DataFrame({"index": [3, 7], "color": ["#00ff00", "#ff0000"]}))
    out = tmp_path / "out.svg"
    figures.plot_segmentation(t1w, dseg, table, out)
    _svg(out)
    picture = _raster(out).astype(int)
    red = picture[..., 0] - picture[..., 1] > 60
    grey = (picture.min(axis=-1) > 150) & (np.ptp(picture, axis=-1) < 30)
    assert red.sum() > 10_000
    assert grey.sum() > 10_000  # a region that the table does not know stays as it is
    assert np.argwhere(red)[:, 1].mean() != pytest.approx(np.argwhere(grey)[:, 1].mean(), abs=5)


def test_a_picture_without_any_region(tmp_path):
    affine = np.diag([8.0, 8, 8, 1])
    empty = np.zeros((20, 24, 18))
    t1w = _save(tmp_path / "t1w.nii.gz", empty + 5, affine)
    dseg = _save(tmp_path / "dseg.nii.gz", empty, affine)
    write_tsv(tmp_path / "t.tsv", pd.DataFrame({"index": [3], "color": ["#00ff00"]}))
    figures.plot_segmentation(t1w, dseg, tmp_path / "t.tsv", tmp_path / "out.svg")
    _svg(tmp_path / "out.svg")


def test_registration_pair_has_one_layout(pair, tmp_path):
    before, after = tmp_path / "before.svg", tmp_path / "after.svg"
    head = figures.Head(*pair)
    figures.plot_registration(head, head, before, after)
    assert _svg(before).attrib == _svg(after).attrib
    assert any(word.startswith("z = ") for word in _words(_svg(before)))


def test_registration_compares_brains_and_shows_what_leaves_the_mask(tmp_path):
    """The template may come without a skull, the participant's image never does."""
    affine = np.diag([4.0, 4, 4, 1])
    mask = np.zeros((44, 50, 40))
    mask[10:30, 10:40, 10:30] = 1
    larger = np.zeros_like(mask)
    larger[10:36, 10:40, 10:30] = 1
    brain = _save(tmp_path / "template.nii.gz", 100 * mask, affine)
    head = _save(tmp_path / "t1w.nii.gz", 40 + 60 * larger, affine)
    masks = [
        _save(tmp_path / f"{name}.nii.gz", data, affine)
        for name, data in (("mask", mask), ("own", larger))
    ]
    before, after = tmp_path / "before.svg", tmp_path / "after.svg"
    figures.plot_registration(
        figures.Head(brain, masks[0]), figures.Head(head, masks[1]), before, after
    )
    bright = [(_raster(path) > 100).sum() for path in (before, after)]
    assert bright[1] > 1.05 * bright[0]  # beyond the template's mask it is still there
    grey = [((_raster(path) > 20) & (_raster(path) < 80)).mean() for path in (before, after)]
    assert max(grey) < 0.05  # no head around the brain


@pytest.fixture
def atlas(tmp_path: Path) -> dict[str, Path]:
    """Files of 30 slabs of a block: contributions 0.1, -0.2, 0.3, ... years."""
    affine = np.diag([2.0, 2, 2, 1])
    labels = np.zeros((70, 60, 60))
    for label in range(1, 31):
        labels[5 + 2 * (label - 1) : 5 + 2 * label, 10:50, 10:50] = label
    rows = pd.DataFrame({"index": range(1, 31), "baseline": "mean"})
    rows["delta_age"] = rows["index"] * np.where(rows["index"] % 2, 0.1, -0.1)
    other = rows.assign(baseline="blur")
    other.loc[other["index"] > 28, "delta_age"] *= -1  # the two strongest
    paths = {name: tmp_path / f"{name}.tsv" for name in ("table", "baselines")}
    write_tsv(paths["table"], rows)
    write_tsv(paths["baselines"], pd.concat([rows, other]))
    paths["labels"] = _save(tmp_path / "labels.nii.gz", labels, affine)
    paths["t1w"] = _save(tmp_path / "t1w.nii.gz", 100 * (labels > 0), affine)
    return paths


def _coloured(path: Path) -> np.ndarray:
    """Share of pixels of the first axial slice that have a colour, by column."""
    picture = _raster(path).astype(int)
    tile = picture[20 : picture.shape[0] // 4, : picture.shape[1] // 7]
    return (np.ptp(tile, axis=-1) > 40).mean(axis=0)


def test_slices_show_the_strongest_regions_and_say_how_many(atlas, tmp_path):
    plot_regions(
        atlas["labels"], atlas["table"], None, atlas["t1w"], tmp_path / "r.svg", fill="mean"
    )
    words = " ".join(_words(_svg(tmp_path / "r.svg")))
    assert "the 20 strongest of 30 regions (at least 1.10 years)" in words
    assert "striped" not in words
    columns = np.flatnonzero(_coloured(tmp_path / "r.svg") > 0.5)
    assert len(columns) > 50
    where = (columns[0] + 0.5) / (columns[-1] + 1)  # the weak third on the left has no colour
    assert where > 0.3


def test_regions_without_a_stable_sign_are_striped_in_the_slices(atlas, tmp_path):
    for name, baselines in (("plain", None), ("striped", atlas["baselines"])):
        plot_regions(
            atlas["labels"], atlas["table"], baselines, atlas["t1w"], tmp_path / f"{name}.svg",
            fill="mean",
        )  # fmt: skip
    assert "striped: the sign is not stable" in " ".join(_words(_svg(tmp_path / "striped.svg")))
    plain, striped = _coloured(tmp_path / "plain.svg"), _coloured(tmp_path / "striped.svg")
    last = np.flatnonzero(plain > 0.5)[-1]
    assert striped[last - 5 : last].mean() < 0.75 * plain[last - 5 : last].mean()
    middle = slice(last - 50, last - 15)
    assert striped[middle] == pytest.approx(plain[middle], abs=0.02)


def test_borders_of_regions_are_smooth_and_labels_stay_themselves(tmp_path):
    """A slanting border: nearest neighbours would make steps as large as voxels."""
    grid = np.indices((30, 30, 30))
    labels = np.where(grid[0] + 0.4 * grid[1] > 20, 7.0, 1000.0)
    volume = mosaic.Volume(labels.astype(np.float32), np.diag([8.0, 8, 8, 1]))
    place = mosaic.layout(volume, np.ones(labels.shape, bool))
    tile = place.tiles[3]
    picture = place.cut_labels(volume, tile)
    assert set(np.unique(picture)) == {7, 1000}
    nearest = place.cut(volume, tile, smooth=False)
    assert (picture == nearest).mean() > 0.9
    jumps = [np.abs(np.diff((image == 7).sum(axis=1)))[5:-5].max() for image in (picture, nearest)]
    assert jumps[0] < jumps[1]


@pytest.mark.parametrize("value", [0.0, 3.0])
def test_constant_input_is_drawn(tmp_path, value):
    path = _save(tmp_path / "flat.nii.gz", np.full((8, 9, 8), value), np.diag([8.0, 8, 8, 1]))
    figures.plot_model_input(path, tmp_path / "out.svg")
    assert "intensity as the network received it" in _words(_svg(tmp_path / "out.svg"))


@pytest.mark.parametrize("effect", [-2.5, 0.0, 1.5])
def test_contributions_are_red_for_older_and_blue_for_younger(pair, tmp_path, effect):
    image = nib.load(pair[1])
    path = _save(tmp_path / "map.nii.gz", effect * image.get_fdata(), image.affine)
    figures.plot_occlusion(path, pair[0], tmp_path / "out.svg", fill="blurred brain")
    words = " ".join(_words(_svg(tmp_path / "out.svg")))
    assert "is replaced by: blurred brain" in words
    red, _, blue = _raster(tmp_path / "out.svg").reshape(-1, 3).astype(float).mean(axis=0)
    assert np.sign(round(red - blue)) == -np.sign(effect)


def test_ages_of_patches_are_red_where_they_are_above_their_mean(pair, tmp_path):
    image = nib.load(pair[1])
    ages = 60.0 * image.get_fdata()
    ages[: ages.shape[0] // 2] *= 50 / 60  # the left half of the brain is younger
    path = _save(tmp_path / "map.nii.gz", ages, image.affine)
    figures.plot_ages(path, pair[0], tmp_path / "out.svg")
    words = " ".join(_words(_svg(tmp_path / "out.svg")))
    mean = ages[ages != 0].mean()
    assert f"their mean over the map: {mean:.1f}" in words
    assert "(older)" in words
    picture = _raster(tmp_path / "out.svg").astype(float)
    tile = picture[: picture.shape[0] // 3, 3 * picture.shape[1] // 7 : 4 * picture.shape[1] // 7]
    left, right = np.array_split(tile[..., 0] - tile[..., 2], 2, axis=1)
    assert left.mean() < -5 < 5 < right.mean()
    _save(path, np.zeros(image.shape), image.affine)
    figures.plot_ages(path, pair[0], tmp_path / "out.svg")
    assert "0.0 (older)" not in (tmp_path / "out.svg").read_text("utf-8")


@pytest.mark.parametrize(
    "special",
    [
        {},
        {"chronological_age": None},
        {"ci95_lower": None, "ci95_upper": None},
        {"predicted_age": 15.0, "chronological_age": 14.9},
        {"predicted_age": 87.0, "chronological_age": 16.0},
        {"chronological_age": 96.0},
    ],
)
@pytest.mark.parametrize(
    "cohort",
    [
        TrainingCohort((20, 82), "IXI", 141, 47.4, 16.8, 0.76, 11.1, 7.1),
        TrainingCohort((20, 82)),
        TrainingCohort(),
    ],
)
@pytest.mark.parametrize("binned", [True, False])
def test_age_distribution(tmp_path, special, cohort, binned):
    lower = np.arange(14.0, 88.0, 2.0)
    table = {"age_lower": lower, "age_upper": lower + 2, "probability": np.full(37, 1 / 37)}
    write_tsv(tmp_path / "d.tsv", pd.DataFrame(table))
    write_tsv(tmp_path / "b.tsv", pd.DataFrame([AGES | special]))
    out = tmp_path / "out.svg"
    bins = tmp_path / "d.tsv" if binned else None
    plot_age_distribution(tmp_path / "b.tsv", bins, cohort, out)
    first = out.read_bytes()
    plot_age_distribution(tmp_path / "b.tsv", bins, cohort, out)
    assert out.read_bytes() == first
    _svg(out)


@pytest.mark.parametrize(
    ("predicted", "actual", "interval"),
    [(40.0, 40.2, (30, 50)), (82, 84, (68, 97)), (17, 15, (4, 30)), (87, 16, (80, 94)),
     (16, 86, (10, 30)), (50, 50, (40, 60)), (70, 80, (55, 85))],
)  # fmt: skip
def test_words_about_close_ages_lie_apart_and_intervals_are_whole(
    tmp_path, predicted, actual, interval
):
    lower = np.arange(14.0, 88.0, 2.0)
    bins = {"age_lower": lower, "age_upper": lower + 2, "probability": np.full(37, 1 / 37)}
    low, high = map(float, interval)
    ages = {"predicted_age": predicted, "chronological_age": actual}
    write_tsv(tmp_path / "d.tsv", pd.DataFrame(bins))
    write_tsv(tmp_path / "b.tsv", pd.DataFrame([{**ages, "ci95_lower": low, "ci95_upper": high}]))
    cohort = TrainingCohort((20, 82))
    plot_age_distribution(tmp_path / "b.tsv", tmp_path / "d.tsv", cohort, tmp_path / "out.svg")
    svg = (tmp_path / "out.svg").read_text("utf-8")
    width = float(_svg(tmp_path / "out.svg").get("viewBox", "").split()[2])
    places = re.findall(r"<!-- (.+?) -->\s*<g[^>]*?translate\(([-\d.]+) ([-\d.]+)\)", svg)
    words = [place for place in places if place[0].split()[0] in _ABOVE]
    assert len(words) == 3
    for text, start, _ in words:
        assert float(start) >= 0
        assert float(start) + 5.5 * len(text) <= width
    assert min(np.diff(sorted(float(place[2]) for place in words))) > 10
    ticks = [(float(text), float(start) + 6) for text, start, _ in places if text.isdigit()]
    (age, at), (other, beside) = ticks[0], ticks[-1]
    scale = (beside - at) / (other - age)
    assert at + scale * (low - age) >= 0
    assert at + scale * (high - age) <= width


_ABOVE = ("predicted", "chronological", "gap")
