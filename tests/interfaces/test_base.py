"""Hashes of inputs: what a file holds counts, and it is read once."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from bidsapp_brainage import io
from bidsapp_brainage.interfaces.images import Conform


def hash_of(path: Path, method: str = "content") -> str:
    return Conform(in_file=str(path)).inputs.get_hashval(method)[1]


def test_what_a_file_holds_counts_not_its_name_or_time(tmp_path: Path) -> None:
    image, copy = tmp_path / "a.nii", tmp_path / "b.nii"
    image.write_bytes(b"voxels")
    copy.write_bytes(b"voxels")
    first = hash_of(image)
    assert hash_of(copy) == first
    os.utime(image, (1e9, 1e9))
    assert hash_of(image) == first
    image.write_bytes(b"VOXELS")
    assert hash_of(image) != first
    assert hash_of(image, "timestamp") != hash_of(copy, "timestamp")


def test_a_file_is_read_once_until_it_changes(tmp_path: Path, monkeypatch) -> None:
    read: list[Path] = []
    inner = io.file_sha256

    def counted(path: Path) -> str:
        read.append(path)
        return inner(path)

    monkeypatch.setattr(io, "file_sha256", counted)
    image = tmp_path / "a.nii"
    for content in (b"voxels", b"others"):
        image.write_bytes(content)
        os.utime(image, ns=(len(read), len(read)))  # clocks of files are coarse
        for _ in range(3):
            hash_of(image)
    assert read == [image, image]


@pytest.mark.parametrize("given", ["gone.nii.gz", "."])
def test_what_is_no_file_is_a_word(tmp_path: Path, given: str) -> None:
    values, _ = Conform(in_file=str(tmp_path / given)).inputs.get_hashval("content")
    assert dict(values)["in_file"] == str(tmp_path / given)
