"""``brainage-demo`` writes the sample and calls the app as a user would."""

from __future__ import annotations

from pathlib import Path

import pytest

from bidsapp_brainage.cli import demo
from bidsapp_brainage.cli.parser import build_parser
from bidsapp_brainage.io import read_tsv


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """The app's calls, recorded; the participant level writes one report."""
    recorded: list[list[str]] = []

    def app(arguments: list[str]) -> int:
        recorded.append(list(arguments))
        output = Path(arguments[1])
        output.mkdir(parents=True, exist_ok=True)
        (output / "sub-01.html").write_text("")
        return 0

    monkeypatch.setattr("bidsapp_brainage.cli.run.main", app)
    monkeypatch.setattr("bidsapp_brainage.demo.sample.write_sample", lambda folder: folder)
    monkeypatch.setattr("bidsapp_brainage.cli.models.main", lambda arguments: 0)
    return recorded


def test_run_does_both_levels_and_names_the_reports(
    tmp_path: Path, calls: list[list[str]], capsys: pytest.CaptureFixture[str]
) -> None:
    assert demo.main(["run", str(tmp_path), "--nprocs", "2"]) == 0
    assert [call[2] for call in calls] == ["participant", "group"]
    assert calls[0][-2:] == ["--nprocs", "2"]
    assert calls[0][0] == str(tmp_path / "sample")
    out = capsys.readouterr().out
    assert str(tmp_path / "bidsapp_brainage" / "sub-01.html") in out
    assert "mean nothing" in out


def test_failure_of_a_level_is_the_exit_code(
    tmp_path: Path, calls: list[list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bidsapp_brainage.cli.run.main", lambda arguments: 72)
    assert demo.main(["run", str(tmp_path)]) == 72
    assert calls == []


def test_a_model_that_answers_otherwise_ends_the_demo(
    tmp_path: Path, calls: list[list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[list[str]] = []

    def selftest(arguments: list[str]) -> int:
        asked.append(arguments)
        return 76

    monkeypatch.setattr("bidsapp_brainage.cli.models.main", selftest)
    assert demo.main(["run", str(tmp_path)]) == 76
    assert asked == [["selftest", "--quick"]]
    assert calls == []


@pytest.mark.usefixtures("calls")
def test_sample_only(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert demo.main(["sample", str(tmp_path)]) == 0
    assert str(tmp_path) in capsys.readouterr().out


def test_options_of_the_demo_are_those_of_the_app(tmp_path: Path) -> None:
    from bidsapp_brainage.cli.parser import build_parser

    parsed = build_parser().parse_args(
        [str(tmp_path), str(tmp_path / "out"), "participant", "--work-dir", str(tmp_path / "work")]
    )
    assert vars(parsed)["analysis_level"] == ["participant"]


def test_a_study_is_written_and_its_command_is_one_of_the_app(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "study"
    assert demo.main(["study", str(folder), "--people", "6"]) == 0
    command = capsys.readouterr().out.splitlines()[-1].split()
    asked = vars(build_parser().parse_args(command[1:]))
    assert {path.name for path in folder.iterdir()} == {"raw", "derivatives"}
    people = read_tsv(asked["bids_dir"] / "participants.tsv")
    assert {asked["group_column"], asked["site_column"]} <= set(people)
    tables = asked["output_dir"].glob("*/anat/*_brainage.tsv")
    assert {path.parents[1].name for path in tables} == set(people["participant_id"])


def test_the_command_is_one_that_the_shell_finds(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who calls the demonstration by its path has not activated the environment."""
    programs = tmp_path / "bin"
    programs.mkdir()
    (programs / "bidsapp-brainage").touch(mode=0o755)
    monkeypatch.setattr("sys.argv", [str(programs / "brainage-demo")])
    said = []
    for number, path in enumerate((str(tmp_path), str(programs))):
        monkeypatch.setenv("PATH", path)
        assert demo.main(["study", str(tmp_path / f"study{number}"), "--people", "2"]) == 0
        said.append(capsys.readouterr().out.splitlines()[-1].split()[0])
    assert said == [str(programs / "bidsapp-brainage"), "bidsapp-brainage"]


@pytest.mark.parametrize("people", ["0", "3"])
def test_a_study_needs_people_and_a_new_folder(
    people: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stopped:
        demo.main(["study", str(tmp_path), "--people", people])
    assert stopped.value.code == 2
    remedy = "at least one person" if people == "0" else "name a new folder"
    assert remedy in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []
