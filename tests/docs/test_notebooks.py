"""Notebooks and examples run to their end and find what was planted."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

DOCS = Path(__file__).resolve().parents[2] / "docs"
# What a reader would see at the end, as statements about the variables of the notebook.
FOUND = {
    "group_study": "assert pairs['ci95_lower'].iloc[0] < -3 < pairs['ci95_upper'].iloc[0]\n"
    "assert lobes['name'].iloc[0] == 'Limbic' and lobes['p_maxt'].iloc[0] < 0.05",
    "own_model": "scores = table.set_index('metric')['value']\n"
    "assert scores['mae'] < 0.6 * scores['mae_mean_age'] and len(members) == 4\n"
    "assert abs(effects['delta_age'][0]) > 5 * abs(effects['delta_age'][1])",
}


def test_every_notebook_has_its_findings() -> None:
    assert {path.stem for path in DOCS.glob("notebooks/*.ipynb")} == set(FOUND)


@pytest.fixture
def own_programs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Commands of a notebook are those of this environment, and it imports this tree."""
    folders = (str(Path(sys.executable).parent), os.environ.get("PATH", ""))
    monkeypatch.setenv("PATH", os.pathsep.join(folders))
    monkeypatch.setenv("PYTHONPATH", str(DOCS.parent))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")


@pytest.mark.usefixtures("own_programs")
@pytest.mark.parametrize("name", sorted(FOUND))
def test_notebook(name: str, tmp_path: Path) -> None:
    notebook = nbformat.read(DOCS / "notebooks" / f"{name}.ipynb", as_version=4)
    assert not any(cell.get("outputs") for cell in notebook.cells), "kept without outputs"
    notebook.cells.append(nbformat.v4.new_code_cell(FOUND[name]))
    place = {"metadata": {"path": str(tmp_path)}}
    NotebookClient(notebook, timeout=600, resources=place).execute()
    shown = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    assert any("image/png" in output.get("data", {}) for output in shown)


@pytest.mark.usefixtures("own_programs")
def test_examples_of_the_gallery(tmp_path: Path) -> None:
    """One after another in one process: each but the first reads what the first made."""
    scripts = [str(path) for path in sorted(DOCS.glob("gallery/plot_*.py"))]
    assert len(scripts) > 1
    program = (
        "import runpy, sys\n"
        "import matplotlib.pyplot as plt\n"
        "for script in sys.argv[1:]:\n"
        "    plt.close('all')\n"
        "    runpy.run_path(script)\n"
        "    assert plt.get_fignums(), script\n"
    )
    environment = {**os.environ, "MPLBACKEND": "Agg"}
    done = subprocess.run(
        [sys.executable, "-W", "ignore:FigureCanvasAgg", "-c", program, *scripts],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
