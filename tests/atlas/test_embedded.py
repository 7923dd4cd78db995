"""The embedded atlas: what is shipped, and that the code in this repository made it."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from bidsapp_brainage import io
from bidsapp_brainage.atlas import embedded
from bidsapp_brainage.atlas.tables import read_label_table
from bidsapp_brainage.atlas.templates import embedded_images

DATA = Path(str(files("bidsapp_brainage"))) / "data" / "atlases"


@pytest.fixture(scope="module")
def shipped() -> nib.Nifti1Image:
    return io.load_nifti(DATA / "brainagedemo_dseg.nii.gz")


@pytest.fixture(scope="module")
def labels(shipped: nib.Nifti1Image) -> np.ndarray:
    return np.asanyarray(shipped.dataobj)


def test_small_enough() -> None:
    assert (DATA / "brainagedemo_dseg.nii.gz").stat().st_size < 500_000


def test_every_region_has_a_size_that_is_plausible(labels: np.ndarray) -> None:
    table = read_label_table(DATA / "brainagedemo_dseg.tsv")
    counts = np.bincount(labels.ravel(), minlength=len(table) + 1)[1:]
    assert table["index"].tolist() == list(range(1, len(counts) + 1))
    assert counts.min() > 400  # mm3
    assert table["name"].is_unique
    assert table["abbreviation"].is_unique


def test_sides_mirror_each_other(shipped: nib.Nifti1Image, labels: np.ndarray) -> None:
    middle = 98
    left, right = labels[:middle], labels[:middle:-1]
    assert shipped.affine[0, 3] + middle == 0
    np.testing.assert_array_equal(left + (left > 0), right)
    assert set(np.unique(left)) - {0} == set(range(1, labels.max(), 2))


def test_whole_brain_is_covered(labels: np.ndarray, merged_home: Path) -> None:
    mask = io.load_nifti(
        merged_home / "tpl-MNI152NLin2009aSym/tpl-MNI152NLin2009aSym_res-01_desc-brain_mask.nii.gz"
    )
    np.testing.assert_array_equal(labels > 0, np.asanyarray(mask.dataobj) > 0)


@pytest.mark.parametrize(
    ("point", "abbreviation"),
    [
        ((-12, -18, 8), "THA_L"),
        ((12, -18, 8), "THA_R"),
        ((-12, 14, 8), "CAU_L"),
        ((26, 4, 2), "PUT_R"),
        ((-28, -22, -14), "HIP_L"),
        ((24, -3, -19), "AMYG_R"),
        ((-12, -8, 22), "LV_L"),
        ((5, -26, -32), "BS_R"),
        ((-30, -66, -40), "CBC_L"),
        ((-37, 6, 0), "INS_L"),
        ((8, -80, 6), "CAL_R"),
        ((-48, -4, 50), "PreCG_L"),
    ],
)
def test_landmarks(
    shipped: nib.Nifti1Image, labels: np.ndarray, point: tuple, abbreviation: str
) -> None:
    table = read_label_table(DATA / "brainagedemo_dseg.tsv").set_index("index")
    voxel = np.rint(np.linalg.inv(shipped.affine) @ (*point, 1))[:3].astype(int)
    assert table["abbreviation"][labels[tuple(voxel)]] == abbreviation


def test_seed_points_name_known_regions() -> None:
    regions, seeds = embedded.read_tables()
    assert set(seeds["abbreviation"]) <= set(regions["abbreviation"])
    assert set(seeds["source"]) == {"AAL", "guide"}
    published = seeds[seeds["source"] == "AAL"]["abbreviation"]
    assert published.is_unique
    assert len(published) == 45  # pairs of regions of the AAL cerebrum
    networks = regions.loc[regions["kind"] == "cortex", "network"]
    assert networks.notna().all()


@pytest.mark.slow
def test_code_makes_the_shipped_files(labels: np.ndarray, tmp_path: Path) -> None:
    assert embedded.main([str(tmp_path)]) == 0
    made = np.asanyarray(io.load_nifti(tmp_path / "brainagedemo_dseg.nii.gz").dataobj)
    # Two fronts that arrive at the same cost may swap with another version of scipy.
    assert (made != labels).mean() < 1e-4
    name = "brainagedemo_dseg.tsv"
    assert (tmp_path / name).read_bytes() == (DATA / name).read_bytes()


@settings(max_examples=25, deadline=None)
@given(
    npst.arrays(bool, (4, 5, 6), elements=st.booleans()),
    st.integers(0, 119),
    st.integers(0, 119),
)
def test_fronts_fill_what_they_can_reach(domain: np.ndarray, first: int, second: int) -> None:
    """On equal costs each voxel goes to a seed of its own connected part, the nearer one."""
    from scipy import ndimage

    a, b = (tuple(int(i) for i in np.unravel_index(k, domain.shape)) for k in (first, second))
    domain[a] = domain[b] = True
    grown = embedded.grow(domain, np.ones(domain.shape, np.float32), [a, b], [7, 9])
    parts, _ = ndimage.label(domain)
    reachable = domain & np.isin(parts, [parts[a], parts[b]])
    np.testing.assert_array_equal(grown > 0, reachable)
    assert grown[a] == 7
    if parts[a] != parts[b]:
        np.testing.assert_array_equal(grown == 9, parts == parts[b])


def test_the_embedded_template_is_that_of_nilearn() -> None:
    from nilearn.datasets import load_mni152_template

    t1w, mask = embedded_images()
    theirs = load_mni152_template(resolution=1)
    values = np.rint(np.asanyarray(theirs.dataobj) * 255).astype(np.uint8)
    assert np.array_equal(np.asanyarray(t1w.dataobj), values)
    assert np.array_equal(t1w.affine, theirs.affine)
    assert np.asanyarray(mask.dataobj)[values > 0].all()
