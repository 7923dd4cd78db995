"""The Apptainer definition makes what the Dockerfile makes; both say what the app says."""

from __future__ import annotations

import re
import shlex
import subprocess
from pathlib import Path

import pytest
import yaml

from bidsapp_brainage import __version__
from bidsapp_brainage.cli.parser import build_parser
from bidsapp_brainage.model.cards import MODELS_DIR_VARIABLE

ROOT = Path(__file__).resolve().parents[2]
#: HOME stays the caller's under Apptainer, and /tmp is the node's.
OF_THE_CALLER = {"HOME", "MPLCONFIGDIR", "XDG_CACHE_HOME"}


def _read(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def instructions() -> list[tuple[str, str]]:
    """Instructions of the Dockerfile, with lines joined and comments left out."""
    text = re.sub(r"^\s*#.*\n", "", _read("Dockerfile"), flags=re.MULTILINE)
    lines = [line for line in text.replace("\\\n", " ").splitlines() if line.strip()]
    return [(line.split()[0], line.partition(" ")[2].strip()) for line in lines]


@pytest.fixture(scope="module")
def definition() -> dict[str, str]:
    """Sections of the Apptainer definition by name; the header is called ``header``."""
    parts = re.split(
        r"^%(\w+)\n", "%header\n" + _read("containers/bidsapp-brainage.def"), flags=re.M
    )
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def _last(instructions: list[tuple[str, str]], word: str) -> dict[str, str]:
    value = [text for name, text in instructions if name == word][-1]
    return dict(item.split("=", 1) for item in shlex.split(value))


def _arguments(text: str) -> dict[str, str]:
    return dict(line.strip().split("=", 1) for line in text.splitlines() if line.strip())


def _labels(text: str) -> dict[str, str]:
    return dict(line.strip().split(" ", 1) for line in text.splitlines() if line.strip())


def test_both_start_from_one_base(
    definition: dict[str, str], instructions: list[tuple[str, str]]
) -> None:
    digest = re.search(r"^From: python@(sha256:[0-9a-f]{64})$", definition["header"], flags=re.M)
    assert digest, "the base of the definition is pinned by its digest"
    bases = {text.split()[0] for name, text in instructions if name == "FROM"}
    stages = {text.split()[2] for name, text in instructions if name == "FROM" and " AS " in text}
    docker, apptainer = _last(instructions, "LABEL"), _labels(definition["labels"])
    assert {f"docker.io/library/{base}" for base in bases - stages} == {
        docker["org.opencontainers.image.base.name"]
    }
    assert apptainer["org.opencontainers.image.base.digest"] == digest[1]
    varying = {"version", "revision", "ref.name", "url", "base.digest"}
    fixed = {
        name for name in docker if name.removeprefix("org.opencontainers.image.") not in varying
    }
    assert {name: apptainer[name] for name in fixed} == {name: docker[name] for name in fixed}


def test_make_takes_the_base_of_the_definition(definition: dict[str, str]) -> None:
    plan = subprocess.run(
        ["make", "--dry-run", "image"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout
    base = definition["header"].split("From: ")[1].split()[0]
    assert f"docker pull {base}" in plan
    assert f"docker tag {base} python:3.11-slim-bookworm" in plan


def test_both_have_one_environment(
    definition: dict[str, str], instructions: list[tuple[str, str]]
) -> None:
    docker = _last(instructions, "ENV")
    apptainer = dict(re.findall(r"^ *export (\w+)=(.*)$", definition["environment"], flags=re.M))
    shared = docker.keys() - OF_THE_CALLER
    assert shared == apptainer.keys() - OF_THE_CALLER
    assert {name: apptainer[name] for name in shared} == {name: docker[name] for name in shared}
    assert all("$(id -u)" in apptainer[name] for name in OF_THE_CALLER & apptainer.keys())
    assert docker[MODELS_DIR_VARIABLE] in definition["post"]


def test_both_run_the_same_program(
    definition: dict[str, str], instructions: list[tuple[str, str]]
) -> None:
    entrypoint = next(text for name, text in instructions if name == "ENTRYPOINT")
    program = build_parser().prog
    assert entrypoint == f'["{program}"]'
    assert definition["runscript"].split() == ["exec", program, '"$@"']


def test_both_are_made_of_the_same_files_and_packages(
    definition: dict[str, str], instructions: list[tuple[str, str]]
) -> None:
    copied = [text.split()[:-1] for name, text in instructions if name == "COPY"]
    docker = {source for sources in copied for source in sources if not sources[0].startswith("--")}
    files = [line.split() for line in definition["files"].splitlines() if line.strip()]
    assert {source for source, _ in files} == docker
    assert all((ROOT / source).exists() for source in docker)
    steps = " ".join(text for name, text in instructions if name == "RUN")
    for command in (
        r"list_requirements\.py .*? >",
        r"pip install -c \S+ \S+ \S+ -r",
        r"pip install --no-deps .*? \.",
    ):
        found = [re.search(command, " ".join(text.split())) for text in (steps, definition["post"])]
        assert found[0]
        assert found[1]
        assert found[0][0] == found[1][0]


def test_arguments_have_the_defaults_of_the_dockerfile(
    definition: dict[str, str], instructions: list[tuple[str, str]]
) -> None:
    arguments = _arguments(definition["arguments"])
    docker = dict((text + "=").split("=")[:2] for name, text in instructions if name == "ARG")
    assert arguments["VERSION"] == __version__
    assert arguments.keys() <= docker.keys()
    for name, value in arguments.items():
        assert f"{{{{ {name} }}}}" in "".join(definition.values()), f"{name} is not used"
        assert value == (docker[name] or "none")


@pytest.mark.parametrize("section", ["post", "environment", "runscript", "test"])
def test_sections_are_shell(definition: dict[str, str], section: str) -> None:
    done = subprocess.run(["sh", "-n"], input=definition[section], text=True, check=False)
    assert done.returncode == 0


def test_the_configuration_for_babs_names_what_there_is() -> None:
    babs = yaml.safe_load(_read("containers/babs.yaml"))
    words = ["bids", "out", "participant"]
    for flag, value in babs["bids_app_args"].items():
        selects = flag == "$SUBJECT_SELECTION_FLAG"
        words += [value, "sub-01"] if selects else [flag, *str(value or "").split()]
    chosen = build_parser().parse_args(words)
    assert chosen.participant_label == ["01"]
    assert chosen.work_dir == Path("$BABS_TMPDIR")
    version = __version__.replace(".", "-")
    assert babs["zip_foldernames"] == {"bidsapp-brainage": version}
    assert babs["all_results_in_one_zip"] is True
