"""Resampling through chains of transforms, and headers."""

from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from bidsapp_brainage import io
from bidsapp_brainage.imaging.transforms import write_affine, write_xfm
from bidsapp_brainage.interfaces.images import DetectStripped, Resample


def image(folder: Path, name: str, data: np.ndarray) -> str:
    path = folder / name
    io.save_nifti(nib.Nifti1Image(data, np.eye(4)), path)
    return str(path)


def quarter_turn() -> np.ndarray:
    """Rotation by 90 degrees about z: x -> y, y -> -x."""
    turn = np.eye(4)
    turn[:2, :2] = [[0, -1], [1, 0]]
    return turn


def shift(x: float) -> np.ndarray:
    move = np.eye(4)
    move[0, 3] = x
    return move


def test_a_point_goes_through_the_first_transform_first(tmp_path: Path) -> None:
    labels = np.zeros((9, 9, 5), np.int32)
    labels[0, 4, 2] = 7
    write_affine(tmp_path / "first.txt", shift(2))  # (x, y) -> (x + 2, y)
    write_xfm(tmp_path / "second.h5", affine=quarter_turn())  # (x, y) -> (-y, x)
    result = Resample(
        in_file=image(tmp_path, "labels.nii.gz", labels),
        reference=image(tmp_path, "grid.nii.gz", np.zeros((9, 9, 5), np.uint8)),
        transforms=[str(tmp_path / "first.txt"), str(tmp_path / "second.h5")],
        interpolation="nearest",
        standard=True,
    ).run(cwd=str(tmp_path))
    out = io.load_nifti(Path(result.outputs.out_file))
    # (2, 0) -> (4, 0) -> (0, 4); in the other order (2, 0) would end at (2, 2).
    assert np.argwhere(np.asarray(out.dataobj) == 7).tolist() == [[2, 0, 2]]
    assert int(out.header["sform_code"]) == int(out.header["qform_code"]) == 4
    assert out.header.get_xyzt_units()[0] == "mm"


def test_without_transforms_world_coordinates_count(tmp_path: Path) -> None:
    data = np.arange(27, dtype=np.float32).reshape(3, 3, 3)
    path = image(tmp_path, "x.nii.gz", data)
    result = Resample(in_file=path, reference=path, dtype="uint8").run(cwd=str(tmp_path))
    out = io.load_nifti(Path(result.outputs.out_file))
    assert out.get_data_dtype() == np.uint8
    assert np.array_equal(np.asarray(out.dataobj), data)


@pytest.mark.parametrize(("mode", "stripped"), [("skip", True), ("force", False)])
def test_the_user_decides_about_skull_stripping(tmp_path: Path, mode: str, stripped: bool) -> None:
    path = image(tmp_path, "x.nii.gz", np.zeros((3, 3, 3), np.float32))
    found = DetectStripped(in_file=path, mode=mode).run(cwd=str(tmp_path))
    assert found.outputs.stripped is stripped
