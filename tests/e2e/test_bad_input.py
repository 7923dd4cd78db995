"""Every kind of unusable image: told by name with its remedy, and nobody gets an age from it."""

from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from tests.e2e.app import App
from tests.model.tiny import make_card

RNG = np.random.default_rng(0)


def _noise(*shape: int) -> np.ndarray:
    return RNG.uniform(1, 100, shape).astype(np.float32)


#: Label, voxels, voxel size in mm, and what the table of failures says.
BAD = (
    ("zeros", np.zeros((50, 50, 50), np.float32), 4.0, "same value"),
    ("nan", np.full((50, 50, 50), np.nan, np.float32), 4.0, "NaN or infinite"),
    ("volumes", _noise(50, 50, 50, 3), 4.0, "3 volumes"),
    ("thick", _noise(30, 30, 30), 10.0, "too coarse"),
    ("small", _noise(50, 50, 10), 4.0, "field of view"),
    ("noise", _noise(50, 60, 50), 4.0, "resembles a brain"),
)


@pytest.fixture(scope="module")
def outcome(tmp_path_factory: pytest.TempPathFactory) -> tuple[App, int, str]:
    root = tmp_path_factory.mktemp("bad")
    make_card(root / "models")
    (root / "bids").mkdir()
    (root / "bids/dataset_description.json").write_text('{"Name": "bad", "BIDSVersion": "1.10.0"}')
    for label, voxels, size, _ in BAD:
        path = root / f"bids/sub-{label}/anat/sub-{label}_T1w.nii.gz"
        path.parent.mkdir(parents=True)
        nib.save(nib.Nifti1Image(voxels, np.diag([size, size, size, 1.0])), path)
    app = App(root)
    code, log = app.run("--explain", "none")
    return app, code, log


def test_exit_code_and_count(outcome: tuple[App, int, str]) -> None:
    _, code, log = outcome
    assert code == 1, log
    assert f"0 of {len(BAD)} scans are complete." in log


@pytest.mark.parametrize(("label", "words"), [(label, words) for label, _, _, words in BAD])
def test_reason_is_told(outcome: tuple[App, int, str], label: str, words: str) -> None:
    app, _, log = outcome
    table = log[log.index("Not complete:") :]
    line = next(line for line in table.splitlines() if f"sub-{label}" in line)
    assert words in " ".join(table.split()), line
    assert words in (app.out / f"sub-{label}.html").read_text()


def test_nobody_gets_an_age(outcome: tuple[App, int, str]) -> None:
    app, _, _ = outcome
    assert not list(Path(app.out).rglob("*_brainage.tsv"))
