"""Versions, container and Makefile agree with the package."""

from __future__ import annotations

import configparser
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from bidsapp_brainage import __version__
from scripts.oldest_versions import oldest

ROOT = Path(__file__).resolve().parents[2]


def _read(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def _canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def _requirements() -> list[str]:
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg", encoding="utf-8")
    texts = [config["options"]["install_requires"], *config["options.extras_require"].values()]
    return [line.split(">=")[0].strip() for text in texts for line in text.split("\n") if line]


def test_every_requirement_has_an_exact_version() -> None:
    pinned = {
        _canonical(line.split("==")[0]) for line in _read("constraints.txt").splitlines() if line
    }
    missing = [name for name in _requirements() if _canonical(name) not in pinned]
    assert not missing, f"add to constraints.txt: {missing}"


def test_the_oldest_versions_are_the_lower_bounds() -> None:
    setup_cfg, constraints = _read("setup.cfg"), _read("constraints.txt")
    text = oldest(setup_cfg, constraints)
    assert text == _read("constraints-oldest.txt"), "python scripts/oldest_versions.py"
    assert "torch==2.5\n" in text
    raised = oldest(setup_cfg.replace("torch >= 2.5", "torch >= 2.6"), constraints)
    assert "torch==2.6\n" in raised
    with pytest.raises(ValueError, match="torch has no lower bound"):
        oldest(setup_cfg.replace("torch >= 2.5", "torch"), constraints)


def test_the_version_is_the_same_everywhere() -> None:
    assert f"version: {__version__}\n" in _read("CITATION.cff")
    assert f"## {__version__}\n" in _read("CHANGES.md")
    assert f"ARG VERSION={__version__}\n" in _read("Dockerfile")


def test_requirements_for_the_image_are_those_of_the_package() -> None:
    printed = subprocess.run(
        [sys.executable, "scripts/list_requirements.py", "setup.cfg", "xai", "cluster"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split("\n")
    assert {"torch >= 2.5", "captum >= 0.7", "dask-jobqueue >= 0.9"} <= set(printed)
    assert not any("pytest" in line for line in printed)


def test_the_image_needs_no_frontend_from_a_registry() -> None:
    assert not re.search(r"^#\s*syntax\s*=", _read("Dockerfile"), flags=re.MULTILINE)


def test_what_the_image_copies_is_in_the_build_context() -> None:
    kept = {line[1:] for line in _read(".dockerignore").splitlines() if line.startswith("!")}
    for line in re.findall(r"^COPY (?!--from)(.+)$", _read("Dockerfile"), flags=re.MULTILINE):
        for source in line.split()[:-1]:
            assert source in kept, f".dockerignore hides {source}"
            assert (ROOT / source).exists(), f"the Dockerfile copies {source}, which is not there"


@pytest.mark.parametrize(
    "script", sorted(ROOT.glob("scripts/*.sh")) + [ROOT / ".ci/run"], ids=lambda path: path.name
)
def test_shell_scripts_parse_and_can_be_executed(script: Path) -> None:
    subprocess.run(["bash", "-n", str(script)], check=True)
    assert script.stat().st_mode & 0o111


def test_the_slurm_script_explains_itself_and_refuses_an_empty_dataset(tmp_path: Path) -> None:
    script = str(ROOT / "scripts" / "slurm_array.sh")
    usage = subprocess.run([script], capture_output=True, text=True, check=False)
    assert usage.returncode == 2
    assert "BIDS_DIR OUTPUT_DIR WORK_DIR" in usage.stderr
    (tmp_path / "bids").mkdir()
    folders = [str(tmp_path / name) for name in ("bids", "out", "work")]
    empty = subprocess.run([script, *folders], capture_output=True, text=True, check=False)
    assert empty.returncode == 66
    assert "sub-*" in empty.stderr


def test_every_data_file_is_installed() -> None:
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg", encoding="utf-8")
    package = ROOT / "bidsapp_brainage"
    patterns = config["options.package_data"]["bidsapp_brainage"].split()
    installed = {path for pattern in patterns for path in package.glob(pattern)}
    data = {
        path
        for path in package.rglob("*")
        if path.is_file() and path.suffix not in (".py", ".pyc") and not path.name.startswith(".")
    }
    assert not data - installed, "add to package_data in setup.cfg"


def test_the_import_contracts_name_every_package() -> None:
    contracts = tomllib.loads(_read("pyproject.toml"))["tool"]["importlinter"]["contracts"]
    layers, core = contracts[:2]
    assert layers["exhaustive"]
    shell = {"__main__", "api", "cli", "interfaces", "running", "workflows"}
    named = {name.removeprefix("bidsapp_brainage.") for name in core["source_modules"]} | shell
    package = ROOT / "bidsapp_brainage"
    there = {path.stem for path in package.glob("[!_]*.py")} | {"__main__"}
    assert named == there | {path.parent.name for path in package.glob("*/__init__.py")}
