"""No home, no name, no folder for temporary files, folders with odd names, odd labels."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import pytest

from bidsapp_brainage.bids.collect import collect_scans
from bidsapp_brainage.cli.run import main, public_command_line
from bidsapp_brainage.cli.surroundings import settle
from bidsapp_brainage.configuration import hide_paths
from bidsapp_brainage.settings import Selection, build_settings

ODD = "/data/sp ace \"q'uote\nx"


@pytest.fixture(autouse=True)
def _as_before(monkeypatch: pytest.MonkeyPatch) -> None:
    """What `settle` sets is taken back after each test."""
    monkeypatch.setattr(tempfile, "tempdir", tempfile.tempdir)
    for name in ("HOME", "TMPDIR"):
        monkeypatch.setenv(name, os.environ.get(name, "/"))


def test_a_user_without_home_gets_one_that_is_no_place_of_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("HOME")
    monkeypatch.setattr(os, "getuid", lambda: 54321)  # nobody of that number has an entry
    with pytest.raises(RuntimeError):
        Path.home()
    settle(tmp_path)
    assert Path.home() == tmp_path / "home"
    assert not (tmp_path / "home").exists()


def test_a_home_that_is_there_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/some/where")
    settle(tmp_path)
    assert os.environ["HOME"] == "/some/where"


def test_without_any_place_for_temporary_files_they_go_to_the_work_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def nowhere() -> str:
        raise FileNotFoundError(2, "No usable temporary directory found in ['/tmp']")

    with monkeypatch.context() as context:
        context.setattr(tempfile, "gettempdir", nowhere)
        settle(tmp_path)
    long = len(str(tmp_path / "tmp")) > 60  # for sockets; see below
    assert tempfile.tempdir == ("/tmp" if long else str(tmp_path / "tmp"))
    assert os.environ["TMPDIR"] == str(tmp_path / "tmp")
    assert (tmp_path / "tmp").is_dir()


def test_sockets_find_a_short_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    long = tmp_path / ("x" * 120)
    long.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(long))
    settle(tmp_path)
    assert tempfile.gettempdir() == "/tmp"


@pytest.mark.parametrize(
    "written",
    [
        ODD,
        ODD.replace("\n", " "),
        ODD.replace("\n", "\n\t\t"),
        repr(ODD).strip("'\""),
        ODD.replace('"', '\\"').replace("\n", "\\n"),
    ],
)
def test_a_folder_with_an_odd_name_is_hidden_however_it_is_written(written: str) -> None:
    places = {ODD: "<bids_dir>", "/data": "<data>", "/": "<root>"}
    assert hide_paths(f"in {written}/sub-01: no", places) == "in <bids_dir>/sub-01: no"


def test_the_command_line_tells_no_part_of_an_odd_path(tmp_path: Path) -> None:
    settings = build_settings(tmp_path / "bids", tmp_path / "out", ("participant",), {})
    line = public_command_line(["-d", f"name={ODD}/given", f"--atlas={ODD}/a.nii"], settings)
    assert line == "bidsapp-brainage -d name=<elsewhere>/given --atlas=<elsewhere>/a.nii"


@pytest.mark.parametrize("label", ["-1", "--model", "-w"])
def test_labels_that_look_like_options_are_no_labels(
    two_people: Path, label: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """BIDS labels are letters and digits; what else is given is told, and nothing is run."""
    out = two_people.parent / "out"
    try:
        code = main([str(two_people), str(out), "participant", f"--participant-label={label}"])
    except SystemExit as error:
        code = error.code
    assert code == 2
    assert "label" in capsys.readouterr().err
    assert not out.exists()


@pytest.mark.parametrize(
    "name",
    ["sub--w/anat/sub--w_T1w.nii.gz", "sub-03/anat/sub-02_T1w.nii.gz", "sub-04/anat/T1w.nii"],
)
def test_images_of_nobody_are_left_out_by_name(two_people: Path, name: str) -> None:
    path = two_people / name
    path.parent.mkdir(parents=True)
    path.write_bytes(b"x")
    scans, messages = collect_scans(two_people, Selection())
    assert [scan.label for scan in scans] == ["sub-01", "sub-02"]
    told = [message for message in messages if "left out" in message]
    assert told == [] or str(path) in told[0]
    assert told or name.startswith("sub-04"), "what has no suffix of its own is no T1w image"
