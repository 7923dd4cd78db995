"""The page for clusters: its commands parse, its files exist, its options are the app's."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
from pathlib import Path

import pytest
from boutiques import bosh

from bidsapp_brainage.cli.parser import build_parser

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "hpc.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```bash\n(.*?)^```", PAGE, flags=re.M | re.S)
#: What stands before the arguments of the app in a command of the page.
PROGRAM = re.compile(
    r"(?:brainage\.sif|slurm_array\.sh|\$BRAINAGE|bidsapp-brainage) ((?:/|bids ).*)"
)


def test_the_page_names_files_that_are_there() -> None:
    named = set(re.findall(r"(?<![\w/-])(?:containers|scripts|benchmarks)/[\w./-]+\w", PAGE))
    named |= {f"{name.replace('.', '/')}.py" for name in re.findall(r"-m (benchmarks\.\w+)", PAGE)}
    assert {"containers/bidsapp-brainage.def", "scripts/slurm_array.sh"} <= named
    assert not [name for name in named if not (ROOT / name).exists()]


@pytest.mark.parametrize("block", BLOCKS, ids=lambda block: block.split("\n")[0][:40])
def test_commands_are_shell_and_ask_for_what_the_app_knows(block: str) -> None:
    subprocess.run(["bash", "-n"], input=block, text=True, check=True)
    for line in block.replace("\\\n", " ").splitlines():
        if found := PROGRAM.search(line):
            words = shlex.split(found[1].rstrip('"'))
            if "slurm_array.sh" in line:  # its third argument is the work folder
                words[2:3] = ["participant", "-w", words[2]]
            assert "participant" in build_parser().parse_args(words).analysis_level


def test_commands_of_the_app_are_found() -> None:
    assert sum(len(PROGRAM.findall(block.replace("\\\n", " "))) for block in BLOCKS) >= 4


def test_the_invocation_is_one_for_the_descriptor(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "bids").mkdir()
    (written,) = re.findall(r"^```json\n(.*?)^```", PAGE, flags=re.M | re.S)
    invocation = tmp_path / "invocation.json"
    invocation.write_text(written, encoding="utf-8")
    descriptor = ROOT / "containers" / "bidsapp-brainage.json"
    done = bosh(["exec", "simulate", str(descriptor), "-i", str(invocation)])
    chosen = vars(build_parser().parse_args(shlex.split(done.shell_command)[1:]))
    assert chosen == {
        **json.loads(written),
        "bids_dir": Path("bids"),
        "output_dir": Path("out"),
        "work_dir": Path("work"),
    }
