"""The sample dataset: BIDS, varied, the same bytes each time, older people with more fluid."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import subprocess
import sys
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bidsapp_brainage import io
from bidsapp_brainage.bids.dataset import shows_synthetic_people
from bidsapp_brainage.demo.head import ATROPHY, Head, atrophy_at, build_head, thinned_brain
from bidsapp_brainage.demo.sample import (
    PEOPLE,
    Person,
    Scan,
    _grid,
    _stored,
    synthesise,
    write_sample,
)

COARSE = (3.0, 3.0, 3.0)


@pytest.fixture(scope="module")
def head() -> Head:
    return build_head()


def coarse(look: float, **options: object) -> Scan:
    return Scan(look, look, COARSE, "RAS", "float32", **options)


def test_default_people_cover_what_the_app_must_cope_with() -> None:
    scans = [scan for person in PEOPLE for scan in person.scans]
    assert len({scan.orientation for scan in scans}) >= 4
    assert len({scan.voxel for scan in scans}) >= 3
    assert {scan.dtype for scan in scans} >= {"int16", "float32", "uint8"}
    assert any(scan.stripped for scan in scans)
    assert any(scan.age is None for scan in scans)
    assert any(len(person.scans) == 2 for person in PEOPLE)


def on_coarse_grids(people: tuple[Person, ...]) -> tuple[Person, ...]:
    return tuple(
        dataclasses.replace(
            person,
            scans=tuple(dataclasses.replace(scan, voxel=(5.0, 5.0, 5.0)) for scan in person.scans),
        )
        for person in people
    )


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The default people on coarse grids."""
    return write_sample(tmp_path_factory.mktemp("sample"), people=on_coarse_grids(PEOPLE))


def digests(folder: Path) -> dict[str, str]:
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob("*")
        if path.is_file()
    }


def test_same_bytes_again(sample: Path, tmp_path: Path) -> None:
    everyone = digests(sample)
    some = digests(write_sample(tmp_path, people=on_coarse_grids(PEOPLE[3:])))
    assert sum(name.endswith("_T1w.nii.gz") for name in everyone) == 6
    assert len([name for name in some if name.endswith("_T1w.nii.gz")]) == 2
    for name, digest in some.items():
        if name != "participants.tsv":
            assert everyone[name] == digest


def test_validator_finds_no_error(sample: Path) -> None:
    validator = Path(sys.executable).parent / "bids-validator-deno"
    if not validator.is_file():
        pytest.skip("bids-validator-deno is not installed")
    done = subprocess.run(
        [str(validator), "--json", str(sample)], capture_output=True, text=True, check=False
    )
    issues = json.loads(done.stdout)["issues"]["issues"]
    assert [issue for issue in issues if issue["severity"] == "error"] == []


def test_tables_say_that_ages_are_made_up(sample: Path) -> None:
    folder = sample
    table = io.read_tsv(folder / "participants.tsv")
    assert table["age"].isna().sum() == 1
    sessions = io.read_tsv(folder / "sub-02" / "sub-02_sessions.tsv")
    assert sessions["age"].is_monotonic_increasing
    assert "made up" in (folder / "README.md").read_text()
    assert "Made-up" in json.loads((folder / "participants.json").read_text())["age"]["Description"]


def test_the_dataset_says_that_its_people_are_synthetic(sample: Path, tmp_path: Path) -> None:
    assert shows_synthetic_people(sample)
    description = json.loads((sample / "dataset_description.json").read_text())
    assert "Synthetic people" in description["GeneratedBy"][0]["Description"]
    assert not shows_synthetic_people(tmp_path)


def test_atrophy_rises_with_age_along_the_fitted_points() -> None:
    for age, amount in ATROPHY:
        assert atrophy_at(age) == pytest.approx(amount)
    amounts = [atrophy_at(age) for age in range(18, 95)]
    assert all(np.diff(amounts) > 0)


def test_the_cortex_thins_where_fluid_is_and_nowhere_else(head: Head) -> None:
    thin = thinned_brain(head, 1.0)
    lost = head.brain - thin
    assert lost.min() > -1e-5
    assert (thin[head.brain == 0] == 0).all()
    from scipy import ndimage

    depth = ndimage.distance_transform_edt(head.fluid < 0.5)  # mm from fluid
    brain = head.brain > 0
    assert lost[brain & (depth > 0) & (depth <= 2)].mean() > 0.1
    assert lost[brain & (depth > 6)].mean() < 0.02
    assert (lost > 0.1).sum() / 1000 > 50  # ml
    assert thinned_brain(head, 0.0) is head.brain


def test_ageing_widens_the_ventricles(head: Head) -> None:
    """Volume of dark voxels deep inside the brain of one and the same person at three ages."""
    from scipy import ndimage

    volumes = []
    for look in (25, 50, 75):
        scan = coarse(look, stripped=True)
        values = synthesise(head, Person("07", "F", ()), scan, seed=1).get_fdata()
        depth = ndimage.distance_transform_edt(values > 0, sampling=COARSE)
        dark = values < 0.5 * np.percentile(values[values > 0], 90)
        volumes.append((dark & (depth > 30)).sum() * np.prod(COARSE) / 1000)
    assert volumes[0] < volumes[1] < volumes[2]
    assert volumes[0] > 10
    assert volumes[2] < 90  # ml


def test_head_has_something_to_strip(head: Head) -> None:
    person = Person("07", "F", ())
    whole = synthesise(head, person, coarse(40), seed=1).get_fdata()
    brain = synthesise(head, person, coarse(40, stripped=True), seed=1).get_fdata()
    outside = whole[brain == 0]
    assert (outside > 0.3 * np.percentile(whole, 99)).sum() > 0.3 * (brain > 0).sum()
    assert (brain[whole > 0] == 0).any()


def test_people_differ_and_sessions_show_one_person(head: Head) -> None:
    def brain(label: str, look: float, seed: int = 1) -> np.ndarray:
        scan = coarse(look, stripped=True)
        return synthesise(head, Person(label, "F", ()), scan, seed=seed).get_fdata().ravel()

    base = brain("01", 40)
    assert not np.array_equal(base, brain("02", 40))
    assert not np.array_equal(base, brain("01", 40, seed=2))


@settings(max_examples=20, deadline=None)
@given(
    st.permutations(["RL", "AP", "SI"]),
    st.tuples(st.booleans(), st.booleans(), st.booleans()),
    st.floats(-30, 30),
    st.sampled_from(["uint8", "int16", "float32"]),
)
def test_storage_keeps_every_point_in_its_place(
    axes: list[str], flips: tuple[bool, ...], oblique: float, dtype: str
) -> None:
    """Whatever the axis order, a voxel's value stays at its place in the world."""
    codes = "".join(axis[flip] for axis, flip in zip(axes, flips, strict=True))
    scan = Scan(30.0, 30, (20.0, 24.0, 30.0), codes, dtype, oblique=oblique)
    shape, affine = _grid(scan)
    volume = np.random.default_rng(0).uniform(0.1, 1, shape).astype(np.float32)
    stored = _stored(volume, affine, scan)
    assert "".join(nib.aff2axcodes(stored.affine)) == codes
    assert stored.get_data_dtype() == np.dtype(dtype)
    voxel = (1, 2, 3)
    world = nib.affines.apply_affine(affine, voxel)
    there = np.rint(nib.affines.apply_affine(np.linalg.inv(stored.affine), world)).astype(int)
    ratio = stored.get_fdata()[tuple(there)] / volume[voxel]
    assert ratio == pytest.approx(stored.get_fdata().max() / volume.max(), rel=0.1)
