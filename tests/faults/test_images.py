"""Images that claim, hide or hold more than an image can: told by name, without filling memory."""

from __future__ import annotations

import gzip
import resource
import zlib
from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from bidsapp_brainage import io
from bidsapp_brainage.errors import DataError
from bidsapp_brainage.imaging.conform import conform_t1w

SHAPE = (30, 30, 30)


def content(**fields: object) -> bytes:
    """A whole NIfTI file, not packed, with fields of its header replaced."""
    voxels = np.random.default_rng(0).integers(0, 100, SHAPE).astype(np.int16)
    image = nib.Nifti1Image(voxels, np.diag([4.0, 4.0, 4.0, 1.0]))
    raw = bytearray(image.to_bytes())
    header = np.frombuffer(raw, dtype=image.header.structarr.dtype, count=1).copy()
    for name, value in fields.items():
        header[name] = value
    raw[:348] = header.tobytes()
    return bytes(raw)


def bomb(start: bytes, megabytes: int) -> bytes:
    """A small gzip file that unpacks to many zeros."""
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    block = bytes(1 << 20)
    return (
        b"".join([packer.compress(start), *(packer.compress(block) for _ in range(megabytes))])
        + packer.flush()
    )


CLAIM = [3, 10000, 10000, 10000, 1, 1, 1, 1]
BAD: dict[str, tuple[str, Callable[[], bytes], str]] = {
    "10^12 voxels": (
        "a.nii.gz",
        lambda: gzip.compress(content(dim=CLAIM)),
        "header claims 10000 x",
    ),
    "every dimension full": ("a.nii", lambda: content(dim=[7] + [32767] * 7), "header claims"),
    "voxels far away": ("a.nii", lambda: content(vox_offset=1e30), "header claims"),
    "bomb as claimed": (
        "a.nii.gz",
        lambda: bomb(content(dim=[3, 4000, 4000, 4000, 1, 1, 1, 1]), 64),
        "header claims",
    ),
    "bomb behind the voxels": ("a.nii.gz", lambda: bomb(content(), 64), "goes on after the voxels"),
    "foreign data type": ("a.nii", lambda: content(datatype=999), "not a NIfTI image"),
    "negative offset": ("a.nii", lambda: content(vox_offset=-100.0), "not a NIfTI image"),
}


@pytest.mark.parametrize("kind", BAD)
def test_absurd_images_are_told_and_not_unpacked(tmp_path: Path, kind: str) -> None:
    name, make, words = BAD[kind]
    path = tmp_path / name
    path.write_bytes(make())
    before = _peak_mb()
    with pytest.raises(DataError, match=words) as caught:
        io.load_nifti(path)
    assert str(path) in str(caught.value)
    assert _peak_mb() - before < 30


def _peak_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3


def test_a_file_with_a_hole_of_terabytes_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "a.nii"
    with path.open("wb") as stream:
        stream.write(content(dim=CLAIM))
        stream.truncate(1 << 41)
    with pytest.raises(DataError, match="header claims"):
        io.load_nifti(path)


NO_FORMS = {"sform_code": 0, "qform_code": 0}
NAN_ROW = [np.nan] * 4


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"srow_x": NAN_ROW, "srow_y": NAN_ROW, "srow_z": NAN_ROW}, "no usable orientation"),
        ({"sform_code": 0, "qform_code": 1, "quatern_b": np.nan}, "no usable orientation"),
        ({"pixdim": [1, 0, 0, 0, 0, 0, 0, 0], **NO_FORMS}, "correct the voxel sizes"),
        ({"dim": [3, -30, 30, 30, 1, 1, 1, 1]}, "three dimensions"),
    ],
    ids=["NaN in the sform", "NaN in the qform", "voxels of 0 mm", "negative size"],
)
def test_headers_without_a_usable_grid_are_told(
    tmp_path: Path, fields: dict[str, object], words: str
) -> None:
    path = tmp_path / "a.nii"
    path.write_bytes(content(**fields))
    with pytest.raises(DataError, match=words):
        conform_t1w(io.load_nifti(path), path.name)


def test_little_after_the_voxels_is_no_reason_to_refuse(tmp_path: Path) -> None:
    path = tmp_path / "a.nii.gz"
    path.write_bytes(gzip.compress(content() + bytes(1000)))
    assert io.load_nifti(path).shape == SHAPE


def test_a_folder_and_a_file_of_somebody_else_are_not_called_damaged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(DataError, match="that you may read"):
        io.load_nifti(tmp_path)

    def refuse(*_: object) -> None:  # the tests may run as the administrator
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(DataError, match="Permission denied.*that you may read"):
        io.load_nifti(tmp_path / "a.nii")
