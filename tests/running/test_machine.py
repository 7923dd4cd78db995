from __future__ import annotations

import os

import pytest

from bidsapp_brainage.options import read_memory
from bidsapp_brainage.running.machine import (
    available_cpus,
    available_memory_gb,
    default_threads,
)


@pytest.mark.parametrize(
    ("text", "gigabytes"),
    [
        ("8G", 8.0),
        ("8g", 8.0),
        ("8GB", 8.0),
        ("8 GiB", 8.0),
        ("2048", 2.0),
        ("2048M", 2.0),
        ("1T", 1024.0),
        ("1.5G", 1.5),
        ("1048576K", 1.0),
    ],
)
def test_memory(text, gigabytes):
    assert read_memory(text) == pytest.approx(gigabytes)


@pytest.mark.parametrize("text", ["", "G", "-1", "0", "8X", "eight"])
def test_bad_memory(text):
    with pytest.raises(ValueError, match="8G"):
        read_memory(text)


@pytest.fixture
def group(tmp_path, monkeypatch):
    """A fake control group two levels deep, without Slurm, on 64 processors."""
    monkeypatch.delenv("SLURM_CPUS_PER_TASK", raising=False)
    monkeypatch.delenv("SLURM_MEM_PER_NODE", raising=False)
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(64)))
    membership = tmp_path / "membership"
    membership.write_text("0::/slurm/job_1\n")
    (tmp_path / "slurm" / "job_1").mkdir(parents=True)
    return tmp_path, membership


def test_no_limit_means_the_affinity(group):
    assert available_cpus(*group) == 64


def test_quota_of_the_group_or_of_one_above(group):
    root, membership = group
    (root / "slurm" / "job_1" / "cpu.max").write_text("800000 100000\n")
    assert available_cpus(root, membership) == 8
    (root / "slurm" / "cpu.max").write_text("250000 100000\n")
    assert available_cpus(root, membership) == 3
    (root / "cpu.max").write_text("max 100000\n")
    assert available_cpus(root, membership) == 3


def test_quota_of_version_one(group):
    root, membership = group
    (root / "cpu").mkdir()
    (root / "cpu" / "cpu.cfs_quota_us").write_text("200000")
    (root / "cpu" / "cpu.cfs_period_us").write_text("100000")
    assert available_cpus(root, membership) == 2
    (root / "cpu" / "cpu.cfs_quota_us").write_text("-1")
    assert available_cpus(root, membership) == 64


def test_slurm_without_binding(group, monkeypatch):
    monkeypatch.setenv("SLURM_CPUS_PER_TASK", "4")
    assert available_cpus(*group) == 4


def test_memory_limit_of_the_group(group):
    root, membership = group
    (root / "slurm" / "job_1" / "memory.max").write_text(str(2 * 1024**3))
    assert available_memory_gb(root, membership) == pytest.approx(1.8, abs=0.01)
    (root / "slurm" / "memory.max").write_text("max")
    assert available_memory_gb(root, membership) == pytest.approx(1.8, abs=0.01)


def test_threads():
    assert [default_threads(count) for count in (1, 2, 4, 64)] == [1, 1, 3, 8]
