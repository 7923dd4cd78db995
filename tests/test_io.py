from __future__ import annotations

import json
import math
from pathlib import Path

import nibabel as nib
import numpy as np
import pandas as pd
import pytest

from bidsapp_brainage import io
from bidsapp_brainage.errors import DataError


def image(dtype: type = np.float32) -> nib.Nifti1Image:
    return nib.Nifti1Image(np.arange(60, dtype=dtype).reshape(3, 4, 5), np.eye(4))


def test_final_name_appears_only_when_all_went_well(tmp_path):
    final = tmp_path / "new" / "sub-01_T1w.nii.gz"
    with io.atomic_path(final) as temporary:
        temporary.write_text("x")
        assert temporary.parent == final.parent
        assert temporary.name.startswith(".")
        assert temporary.name.endswith(".nii.gz")
        assert not final.exists()
    assert final.read_text() == "x"
    assert list(final.parent.iterdir()) == [final]


def test_failure_leaves_the_old_file_and_nothing_else(tmp_path):
    final = tmp_path / "a.tsv"
    final.write_text("old")
    with pytest.raises(RuntimeError), io.atomic_path(final) as temporary:
        temporary.write_text("half")
        raise RuntimeError
    assert final.read_text() == "old"
    assert list(tmp_path.iterdir()) == [final]


def test_leftovers_of_ended_processes_are_removed(tmp_path):
    for name in (".a.12.tmp.nii.gz", ".a.123.tmp.nii.gz", "a.nii.gz"):
        (tmp_path / "x").mkdir(exist_ok=True)
        (tmp_path / "x" / name).touch()
    io.remove_temporary(tmp_path, [12])
    assert {p.name for p in (tmp_path / "x").iterdir()} == {".a.123.tmp.nii.gz", "a.nii.gz"}


def test_same_content_is_not_written_again(tmp_path):
    path = tmp_path / "a.txt"
    io.write_text(path, "x")
    before = path.stat().st_ino
    io.write_text(path, "x")
    assert path.stat().st_ino == before
    io.write_text(path, "y")
    assert path.stat().st_ino != before


def test_json_keeps_order_and_knows_numpy(tmp_path):
    path = tmp_path / "a.json"
    io.write_json(path, {"b": np.float32(1.5), "a": np.arange(2), "n": math.nan, "p": Path("x/y")})
    assert list(json.loads(path.read_text()).items()) == [
        ("b", 1.5),
        ("a", [0, 1]),
        ("n", None),
        ("p", "x/y"),
    ]
    assert path.read_text().endswith("}\n")


def test_table_is_written_by_the_conventions(tmp_path):
    path = tmp_path / "a.tsv"
    frame = pd.DataFrame(
        {
            "participant_id": ["sub-01", "sub-02"],
            "run_id": ["01", None],
            "x": [1.23456789, np.nan],
            "flag": [True, False],
            "n": [1, 2],
            "text": ["a\tb\nc", ""],
            "zero": [-0.0, 1e-9],
        }
    )
    io.write_tsv(path, frame)
    assert path.read_bytes().decode().splitlines() == [
        "participant_id\trun_id\tx\tflag\tn\ttext\tzero",
        "sub-01\t01\t1.23457\ttrue\t1\ta b c\t0",
        "sub-02\tn/a\tn/a\tfalse\t2\tn/a\t1e-09",
    ]
    back = io.read_tsv(path)
    assert back["run_id"].tolist()[0] == "01"
    assert back["x"].isna().tolist() == [False, True]


@pytest.mark.parametrize(
    "content", [None, b"", b"a\tb\n1\t2\t3\t4\n1\t2\t3\t4\t5\n", b"\xff\xfe\x00"]
)
def test_tables_that_cannot_be_read(tmp_path, content):
    path = tmp_path / "a.tsv"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(DataError, match="a.tsv"):
        io.read_tsv(path)


@pytest.mark.parametrize("name", ["a.nii.gz", "a.nii"])
def test_images_are_reproducible(tmp_path, name):
    io.save_nifti(image(), tmp_path / name)
    loaded = io.load_nifti(tmp_path / name)
    io.save_nifti(loaded, tmp_path / "b" / name)
    assert (tmp_path / name).read_bytes() == (tmp_path / "b" / name).read_bytes()
    assert np.array_equal(loaded.get_fdata(), image().get_fdata())


def test_gzip_header_tells_neither_time_nor_name(tmp_path):
    io.save_nifti(image(), tmp_path / "secret.nii.gz")
    header = (tmp_path / "secret.nii.gz").read_bytes()[:10]
    assert header[3] == 0  # no name
    assert header[4:8] == b"\0\0\0\0"  # no time


def test_long_extensions_of_a_header_are_no_damage(tmp_path):
    whole = image()
    whole.header.extensions.append(nib.nifti1.Nifti1Extension("comment", b"x" * 4000))
    nib.save(whole, tmp_path / "a.nii.gz")
    assert np.array_equal(io.load_nifti(tmp_path / "a.nii.gz").get_fdata(), image().get_fdata())


def test_nifti2_is_read(tmp_path):
    nib.save(nib.Nifti2Image(np.ones((2, 2, 2), np.int16), np.eye(4)), tmp_path / "a.nii")
    assert isinstance(io.load_nifti(tmp_path / "a.nii"), nib.Nifti1Image)


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda content: content[:-30], "truncated or corrupt"),
        (lambda content: content[:20], "truncated or corrupt"),
        (lambda content: content[:60] + b"\0\1\2\3" + content[64:], "truncated or corrupt"),
        (lambda content: b"", "not a NIfTI"),
        (lambda content: b"hello", "not a NIfTI"),
    ],
)
def test_damaged_images_are_named(tmp_path, damage, words):
    whole = tmp_path / "whole.nii.gz"
    rng = np.random.default_rng(0)
    io.save_nifti(nib.Nifti1Image(rng.random((5, 5, 5), np.float32), np.eye(4)), whole)
    path = tmp_path / "sub-01_T1w.nii.gz"
    path.write_bytes(damage(whole.read_bytes()))
    with pytest.raises(DataError, match=rf"sub-01_T1w\.nii\.gz is .*{words}|{words}"):
        io.load_nifti(path)


def test_truncated_without_compression(tmp_path):
    io.save_nifti(image(), tmp_path / "a.nii")
    (tmp_path / "a.nii").write_bytes((tmp_path / "a.nii").read_bytes()[:-8])
    with pytest.raises(DataError, match="truncated"):
        io.load_nifti(tmp_path / "a.nii")


def test_missing_image_and_link_without_target(tmp_path):
    with pytest.raises(DataError, match="does not exist"):
        io.load_nifti(tmp_path / "a.nii.gz")
    (tmp_path / "b.nii.gz").symlink_to(tmp_path / "gone")
    with pytest.raises(DataError, match="datalad get"):
        io.load_nifti(tmp_path / "b.nii.gz")


def test_the_grid_of_an_image_is_read_without_its_voxels(tmp_path):
    path = tmp_path / "a.nii.gz"
    affine = np.diag([2.0, 2.0, 2.0, 1.0])
    noise = np.random.default_rng(0).normal(size=(40, 40, 40)).astype(np.float32)
    io.save_nifti(nib.Nifti1Image(noise, affine), path)
    path.write_bytes(path.read_bytes()[:50_000])  # the header is whole
    grid = io.load_grid(path)
    assert grid.shape == (40, 40, 40)
    assert np.array_equal(grid.affine, affine)
    path.write_bytes(b"hello")
    with pytest.raises(DataError, match="not a NIfTI"):
        io.load_grid(path)
    with pytest.raises(DataError, match="does not exist"):
        io.load_grid(tmp_path / "gone.nii.gz")


def test_rows_of_a_table_are_read_as_text(tmp_path):
    path = tmp_path / "a.tsv"
    path.write_text("\ufeffa\tb\n01\tn/a\n\n2\n")
    assert io.read_rows(path) == [{"a": "01", "b": None}, {"a": "2", "b": None}]
    path.write_text("a\n1\t2\n")
    with pytest.raises(DataError, match="more cells than its header"):
        io.read_rows(path)
    path.write_text("")
    with pytest.raises(DataError, match="not a tab-separated table"):
        io.read_rows(path)
