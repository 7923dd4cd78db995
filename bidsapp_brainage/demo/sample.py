"""Synthetic people: deformed copies of the MNI152 template inside a made-up head, as BIDS.

Nothing here was measured on anybody. Ventricles and sulci widen and the cortex thins with the age
that a person was given, at rates at which the embedded model predicts about these ages; the ages
themselves are made up. The dataset serves to see the app run on images of several orientations,
voxel sizes and data types. It carries the keyword ``synthetic``, and so does every page about it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from bidsapp_brainage import __version__, io
from bidsapp_brainage.bids.dataset import SYNTHETIC
from bidsapp_brainage.demo.head import (
    ZONE_BRAIN,
    ZONE_SHELL,
    Head,
    atrophy_at,
    build_head,
    thinned_brain,
)

if TYPE_CHECKING:
    import nibabel as nib
    import pandas as pd
    from numpy.typing import NDArray

    Volume = NDArray[np.float32]
    Matrix = NDArray[np.float64]

_FIELD_OF_VIEW = np.array([190.0, 236.0, 236.0])  # mm: left-right, front-back, up-down
_CENTRE = np.array([0.0, -18.0, -4.0])  # mm in template space, shown in the middle of the image
_ROUGH_GRID_MM = 4.0
_BRAIN_EDGE = 0.12  # intensity below which the edge of the brain lets the fluid outside show
_SLAB = 12  # planes that are computed at a time, to bound memory


@dataclass(frozen=True)
class Scan:
    """One image of a synthetic person.

    Attributes
    ----------
    session : str
        Label without ``ses-``; empty for none.
    age : float or None
        Made-up age in years; None writes ``n/a``.
    look : float
        Age in years that the anatomy shows; see `bidsapp_brainage.demo.head.atrophy_at`.
    voxel : tuple of float
        Voxel size in mm along left-right, front-back, up-down.
    orientation : str
        Axis codes of the stored image.
    dtype : str
        Data type of the stored image.
    tilt : tuple of float
        Rotation of the head in degrees about the x, y and z axes.
    oblique : float
        Rotation of the field of view about the x axis in degrees.
    stripped : bool
        Whether only the brain is shown.
    atrophy : float or None
        How much atrophy is shown; None: that of `look`.
    """

    age: float | None
    look: float
    voxel: tuple[float, float, float]
    orientation: str
    dtype: str = "int16"
    session: str = ""
    tilt: tuple[float, float, float] = (0.0, 0.0, 0.0)
    oblique: float = 0.0
    stripped: bool = False
    atrophy: float | None = None


@dataclass(frozen=True)
class Person:
    """One synthetic person.

    Attributes
    ----------
    label : str
        A number, which also seeds the anatomy.
    sex : str
    scans : tuple of Scan
    head : float
        Length of the head against the template's, which is larger than people are.
    """

    label: str
    sex: str
    scans: tuple[Scan, ...]
    head: float = 1.0


_HEAD = 0.92

PEOPLE = (
    Person("01", "F", (Scan(24.0, 24, (1.0, 1.0, 1.0), "RAS", tilt=(4, -3, 5)),), _HEAD),
    Person(
        "02",
        "M",
        (
            Scan(46.0, 46, (1.0, 1.0, 1.2), "LAS", session="1", tilt=(-8, 2, -3)),
            Scan(49.5, 49.5, (1.0, 1.0, 1.2), "LAS", session="2", tilt=(3, -5, 8)),
        ),
        _HEAD,
    ),
    Person(
        "03", "F", (Scan(61.0, 61, (1.3, 1.3, 1.3), "PSR", "float32", tilt=(10, 4, -6)),), _HEAD
    ),
    Person(
        "04", "M", (Scan(74.0, 74, (1.2, 0.94, 0.94), "PIR", tilt=(-5, 20, 12), oblique=12),), _HEAD
    ),
    Person("05", "F", (Scan(None, 38, (1.0, 1.0, 1.0), "LIA", "uint8", stripped=True),), _HEAD),
)


def write_sample(
    folder: Path,
    *,
    people: tuple[Person, ...] = PEOPLE,
    others: tuple[Person, ...] = (),
    seed: int = 20250101,
) -> Path:
    """Write the sample dataset; the same arguments give the same bytes.

    Parameters
    ----------
    folder : Path
        Root of the BIDS dataset; made if missing, files of the same names are replaced.
    people : tuple of Person, optional
        By default five people and six images; one person has two sessions, one no age, one a
        brain that is already extracted.
    others : tuple of Person, optional
        Stand in the tables, too, but get no image.
    seed : int, optional
        Other seeds give other people.

    Returns
    -------
    Path
        `folder`.
    """
    folder = Path(folder)
    head = build_head()
    _write_tables(folder, (*people, *others))
    for person in people:
        for scan in person.scans:
            stem = _stem(person, scan)
            image = synthesise(head, person, scan, seed=seed)
            io.save_nifti(image, folder / f"{stem}_T1w.nii.gz")
            io.write_json(folder / f"{stem}_T1w.json", _sidecar(scan))
    return folder


def _stem(person: Person, scan: Scan) -> str:
    """Path of an image below the root, without suffix and extension."""
    parts = [f"sub-{person.label}"] + ([f"ses-{scan.session}"] if scan.session else [])
    return "/".join([*parts, "anat", "_".join(parts)])


def synthesise(head: Head, person: Person, scan: Scan, *, seed: int) -> nib.Nifti1Image:
    """Make one image.

    Parameters
    ----------
    head : Head
        From `build_head`.
    person : Person
        Seeds the anatomy, so that two sessions show the same head.
    scan : Scan
        Age shown, grid, pose and data type.
    seed : int
        Of the whole dataset.

    Returns
    -------
    nibabel.Nifti1Image
        T1w in the orientation and data type of `scan`, scanner coordinates.
    """
    anatomy = np.random.default_rng([seed, int(person.label)])
    acquisition = np.random.default_rng([seed, int(person.label), int(scan.look * 10)])
    atrophy = atrophy_at(scan.look) if scan.atrophy is None else scan.atrophy
    displacement = _displacement(head, atrophy, anatomy)
    head = replace(head, brain=thinned_brain(head, atrophy))
    to_template = _pose(person, scan, anatomy, acquisition)
    shape, affine = _grid(scan)
    volume = np.empty(shape, np.float32)
    for start in range(0, shape[0], _SLAB):
        stop = min(start + _SLAB, shape[0])
        points = _points((stop - start, *shape[1:]), to_template @ affine @ _shift(start))
        volume[start:stop] = _sample(head, displacement, points, scan.stripped)
    volume = _degrade(volume, scan, acquisition)
    return _stored(volume, affine, scan)


def _displacement(head: Head, atrophy: float, rng: np.random.Generator) -> Volume:
    """Smooth random warp of a person plus the widening of fluid spaces; mm, on the head's box."""
    from scipy import ndimage

    step = float(head.box_affine[0, 0])
    rough = tuple(int(n * step / _ROUGH_GRID_MM) + 2 for n in head.shell.shape)
    total = head.atrophy * np.float32(atrophy)
    for axis in range(3):
        warp = np.zeros(rough, np.float32)
        for sigma, size in ((10.0, 1.3), (28.0, 2.0)):  # mm: smoothness, standard deviation
            noise = rng.standard_normal(rough).astype(np.float32)
            noise = ndimage.gaussian_filter(noise, sigma / _ROUGH_GRID_MM)
            warp += noise * (size / noise.std())
        zoom = [step / _ROUGH_GRID_MM] * 3
        total[axis] += ndimage.affine_transform(warp, zoom, output_shape=head.shell.shape, order=1)
    return total


def _pose(
    person: Person, scan: Scan, anatomy: np.random.Generator, acquisition: np.random.Generator
) -> Matrix:
    """Scanner mm to template mm: size and shape of the head, its rotation and position."""
    size = person.head * {"F": 0.98, "M": 1.03}.get(person.sex, 1.0)
    size *= 1 + anatomy.uniform(-0.02, 0.02)
    shape = np.eye(4)
    shape[:3, :3] = np.diag(1 / (size * (1 + anatomy.uniform(-0.025, 0.025, 3))))
    shape[0, 1] = anatomy.uniform(-0.02, 0.02)
    shape[:3, 3] = _CENTRE
    move = np.eye(4)
    move[:3, 3] = acquisition.uniform(-1, 1, 3) * (4, 8, 8)
    return np.asarray(shape @ _rotation(scan.tilt) @ move)


def _rotation(degrees: tuple[float, float, float]) -> Matrix:
    """Rotation about x, y and z as a 4 x 4 matrix."""
    from scipy.spatial.transform import Rotation

    matrix = np.eye(4)
    matrix[:3, :3] = Rotation.from_euler("xyz", degrees, degrees=True).as_matrix()
    return matrix


def _grid(scan: Scan) -> tuple[tuple[int, int, int], Matrix]:
    """Shape and affine (scanner mm, origin in the middle) of the image in RAS order."""
    nx, ny, nz = (int(n) for n in np.rint(_FIELD_OF_VIEW / scan.voxel))
    affine = np.diag([*scan.voxel, 1.0])
    affine[:3, 3] = -np.array(scan.voxel) * (np.array([nx, ny, nz]) - 1) / 2
    return (nx, ny, nz), _rotation((scan.oblique, 0.0, 0.0)) @ affine


def _shift(start: int) -> Matrix:
    """Voxel matrix of a slab that starts at plane `start`."""
    matrix = np.eye(4)
    matrix[0, 3] = start
    return matrix


def _points(shape: tuple[int, ...], matrix: Matrix) -> Volume:
    """Template coordinates (mm) of the voxels of a slab, shape (3, ...)."""
    axes = np.ogrid[tuple(slice(n) for n in shape)]
    points = [
        sum(np.float32(row[a]) * axes[a].astype(np.float32) for a in range(3)) + np.float32(row[3])
        for row in matrix[:3]
    ]
    return np.stack(points)


def _sample(head: Head, displacement: Volume, points: Volume, stripped: bool) -> Volume:
    """Intensities at template coordinates, after the warp."""
    from scipy import ndimage

    values = np.zeros(points.shape[1:], np.float32)
    in_box = _to_voxels(points, head.box_affine)
    zone = ndimage.map_coordinates(head.zone, in_box, order=0, prefilter=False)
    for number in (ZONE_BRAIN,) if stripped else (ZONE_BRAIN, ZONE_SHELL):
        chosen = zone >= number if stripped else zone == number
        moved = points[:, chosen]
        there = in_box[:, chosen]
        for axis in range(3):
            moved[axis] += ndimage.map_coordinates(displacement[axis], there, order=1)
        intensities = np.zeros(moved.shape[1], np.float32)
        if number == ZONE_BRAIN:
            in_brain = _to_voxels(moved, head.brain_affine)
            intensities = ndimage.map_coordinates(head.brain, in_brain, order=1)
        if not stripped:
            shell = ndimage.map_coordinates(head.shell, _to_voxels(moved, head.box_affine), order=1)
            intensities = np.where(intensities > _BRAIN_EDGE, intensities, shell)
        values[chosen] = intensities
    return values


def _to_voxels(points: Volume, affine: Matrix) -> Volume:
    """Voxel coordinates of points on a grid whose axes are those of the world."""
    scale = np.float32(1 / affine[0, 0])
    origin = affine[:3, 3].astype(np.float32).reshape(3, *[1] * (points.ndim - 1))
    return (points - origin) * scale


def _degrade(volume: Volume, scan: Scan, rng: np.random.Generator) -> Volume:
    """Bias field of about 20 % and Rician noise of 2 % of white matter; stripped stays clean."""
    from scipy import ndimage

    rough = rng.standard_normal((9, 9, 9)).astype(np.float32)
    rough = ndimage.gaussian_filter(rough, 2.2)
    rough *= 0.1 / rough.std()
    zoom = (np.array(rough.shape) - 1) / (np.array(volume.shape) - 1)
    bias = np.exp(ndimage.affine_transform(rough, zoom, output_shape=volume.shape, order=1))
    inside = volume > 0
    signal = volume * bias
    sd = 0.02
    real = signal + sd * rng.standard_normal(volume.shape, dtype=np.float32)
    noisy = np.hypot(real, sd * rng.standard_normal(volume.shape, dtype=np.float32))
    return np.where(inside, noisy, 0) if scan.stripped else noisy


def _stored(volume: Volume, affine: Matrix, scan: Scan) -> nib.Nifti1Image:
    """The image as a scanner would store it: axis order, data type, header."""
    import nibabel as nib
    from nibabel import orientations

    scale = {"uint8": 180.0, "int16": 400.0}.get(scan.dtype, 250.0)
    values = np.rint(volume * scale)  # whole numbers in float32, too: they compress better
    if scan.dtype == "uint8":
        values = np.clip(values, 0, 255)
    img = nib.Nifti1Image(values.astype(scan.dtype), affine)
    change = orientations.ornt_transform(
        orientations.axcodes2ornt("RAS"), orientations.axcodes2ornt(tuple(scan.orientation))
    )
    img = img.as_reoriented(change)
    img = nib.Nifti1Image(np.ascontiguousarray(img.dataobj), img.affine)
    img.set_qform(img.affine, code="scanner")
    img.set_sform(img.affine, code="scanner")
    img.header.set_xyzt_units("mm", "sec")
    return img


def _sidecar(scan: Scan) -> dict[str, Any]:
    """Sidecar of an image: that it is synthetic."""
    text = "Synthetic: a deformed copy of the ICBM152 2009a template"
    text += ", skull-stripped." if scan.stripped else " in a made-up head."
    return {"Modality": "MR", "Manufacturer": "none (synthetic)", "ImageComments": text}


def _write_tables(folder: Path, people: tuple[Person, ...]) -> None:
    """Everything of the dataset but its images."""
    import pandas as pd

    io.write_json(
        folder / "dataset_description.json",
        {
            "Name": "Synthetic heads for trying bidsapp-brainage",
            "BIDSVersion": "1.9.0",
            "DatasetType": "raw",
            "License": "CC0-1.0 for what was added; the template is the MNI's (see README)",
            "Authors": ["bidsapp-brainage developers", "McConnell Brain Imaging Centre (template)"],
            "Keywords": [SYNTHETIC],
            "GeneratedBy": [
                {
                    "Name": "bidsapp_brainage.demo",
                    "Version": __version__,
                    "Description": "Synthetic people with made-up ages; nobody was scanned.",
                }
            ],
        },
    )
    io.write_text(folder / "README.md", _README)
    io.write_text(folder / "CHANGES", f"{__version__} 2025-01-01\n  - Written by code.\n")
    table = pd.DataFrame(
        [{"participant_id": f"sub-{p.label}", "age": p.scans[0].age, "sex": p.sex} for p in people]
    )
    io.write_tsv(folder / "participants.tsv", table)
    io.write_json(folder / "participants.json", _COLUMNS)
    for person in people:
        if any(scan.session for scan in person.scans):
            _write_sessions(folder / f"sub-{person.label}", person, pd)


def _write_sessions(folder: Path, person: Person, pd: Any) -> None:
    """Ages at the sessions of one person."""
    rows = [{"session_id": f"ses-{scan.session}", "age": scan.age} for scan in person.scans]
    stem = f"{folder.name}_sessions"
    frame: pd.DataFrame = pd.DataFrame(rows)
    io.write_tsv(folder / f"{stem}.tsv", frame)
    io.write_json(
        folder / f"{stem}.json",
        {
            "session_id": {"Description": "Session"},
            "age": {"Description": "Made-up age at the session", "Units": "year"},
        },
    )


_COLUMNS = {
    "participant_id": {"Description": "Synthetic person"},
    "age": {
        "Description": "Made-up age (at the first session); n/a where none was invented",
        "Units": "year",
    },
    "sex": {
        "Description": "Made-up sex; it sets the size of the head",
        "Levels": {"F": "female", "M": "male"},
    },
}

_README = """\
# Synthetic heads for trying bidsapp-brainage

Nobody was scanned for this dataset. Each image is a smoothly deformed copy of the ICBM 152
nonlinear symmetric template (version 2009a, as bundled with nilearn; Fonov et al. 2011,
doi:10.1016/j.neuroimage.2010.07.033) inside a skull, scalp, face and neck made of ellipsoids, with
a bias field and noise.

**Ages and sexes are made up.** Ventricles and sulci widen and the cortex thins with the invented
age, at rates that were chosen so that the model that comes with the app predicts about that age. A
predicted age or gap that is computed from these images tells nothing about any person or model;
they show that the software runs. Reports about them say so (keyword `synthetic`).

On purpose the images differ in axis order (RAS, LAS, PSR, PIR, LIA), voxel size (1 mm,
1 x 1 x 1.2 mm, 1.3 mm, 0.94 x 0.94 x 1.2 mm oblique), data type (int16, float32, uint8) and pose
(rotations up to 20 degrees). sub-02 has two sessions; sub-05 has no age, and an image that is
already skull-stripped.

The same version of the software writes the same bytes again.

Template: Copyright (C) 1993-2009 Louis Collins, McConnell Brain Imaging Centre, Montreal
Neurological Institute, McGill University.
"""
