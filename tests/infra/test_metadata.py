"""What others read about the app: the Boutiques descriptor and CITATION.cff."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from boutiques import bosh
from boutiques.validator import DescriptorValidationError, validate_descriptor

from bidsapp_brainage import __version__
from bidsapp_brainage.cli.parser import build_parser
from bidsapp_brainage.errors import ExitCode

ROOT = Path(__file__).resolve().parents[2]
DESCRIPTOR = ROOT / "containers" / "bidsapp-brainage.json"
CITATION = ROOT / "CITATION.cff"
CITATION_SCHEMA = Path(__file__).with_name("data") / "citation-1.2.0.schema.json"


@pytest.fixture
def descriptor() -> dict[str, Any]:
    return json.loads(DESCRIPTOR.read_text(encoding="utf-8"))


def test_boutiques_accepts_the_descriptor(descriptor: dict[str, Any]) -> None:
    assert validate_descriptor(descriptor)
    descriptor["inputs"][0]["value-key"] = "[NOWHERE]"
    with pytest.raises(DescriptorValidationError, match="NOWHERE"):
        validate_descriptor(descriptor)


def test_the_descriptor_has_every_option_and_exit_code(descriptor: dict[str, Any]) -> None:
    options = {action.dest for action in build_parser()._actions} - {"help", "version"}
    assert {item["id"] for item in descriptor["inputs"]} == options
    assert {item["code"] for item in descriptor["error-codes"]} == set(ExitCode) - {0}


def test_the_resources_are_those_of_the_array_script(descriptor: dict[str, Any]) -> None:
    script = (ROOT / "scripts" / "slurm_array.sh").read_text(encoding="utf-8")
    defaults = re.search(r"\$\{CPUS:-(\d+)\}.*\$\{MEM:-(\d+)G\}", script)
    assert defaults
    resources = descriptor["suggested-resources"]
    assert (resources["cpu-cores"], resources["ram"]) == (int(defaults[1]), int(defaults[2]))


def test_a_command_line_made_by_boutiques_is_understood(
    descriptor: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "bids").mkdir()
    asked = {
        "bids_dir": str(tmp_path / "bids"),
        "output_dir": "out",
        "analysis_level": ["participant", "group"],
        "participant_label": ["01", "02"],
        "explain": ["cubes", "lrp"],
        "level": "minimal",
        "nprocs": 3,
        "memory_gb": "8G",
        "cube_mm": 10.5,
        "random_seed": 7,
        "dry_run": True,
        "notrack": True,
    }
    invocation = tmp_path / "invocation.json"
    invocation.write_text(json.dumps(asked), encoding="utf-8")
    done = bosh(["exec", "simulate", str(DESCRIPTOR), "-i", str(invocation)])
    capsys.readouterr()
    program, *words = shlex.split(done.shell_command)
    assert program == build_parser().prog
    chosen = vars(build_parser().parse_args(words))
    assert chosen == {
        **asked,
        "bids_dir": tmp_path / "bids",
        "output_dir": Path("out"),
        "explain": ("cubes", "lrp"),
        "memory_gb": 8.0,
    }


def test_the_citation_is_valid() -> None:
    citation = yaml.safe_load(CITATION.read_text(encoding="utf-8"))
    schema = json.loads(CITATION_SCHEMA.read_text(encoding="utf-8"))
    jsonschema.Draft7Validator(schema).validate(citation)
    assert citation["version"] == __version__
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.Draft7Validator(schema).validate(citation | {"doi": "unknown"})


def test_cited_articles_are_those_of_the_bibliography() -> None:
    bibliography = ROOT / "bidsapp_brainage" / "data" / "boilerplate.bib"
    known = re.findall(r"doi = \{(.+?)\}", bibliography.read_text(encoding="utf-8"))
    citation = yaml.safe_load(CITATION.read_text(encoding="utf-8"))
    assert {reference["doi"] for reference in citation["references"]} <= set(known)
