"""The app in a process of its own: its errors, its messages, its end."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from bidsapp_brainage.api import app
from bidsapp_brainage.errors import DataError, ExitCode, RunError, UsageError
from bidsapp_brainage.settings import all_options


def test_an_error_of_the_app_is_one_of_its_class(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="nowhere is not a folder"):
        app.run_app(tmp_path / "nowhere", tmp_path / "out", "participant", {"nprocs": 1})


@pytest.mark.parametrize(
    ("code", "kind", "known"),
    [
        (65, DataError, ExitCode.DATA),
        (74, RunError, ExitCode.DISK_FULL),
        (-9, RunError, ExitCode.SOFTWARE),
    ],
)
def test_exit_codes_become_errors(monkeypatch, code: int, kind: type, known: ExitCode) -> None:
    monkeypatch.setattr(app, "_run", lambda arguments: (code, "why"))
    with pytest.raises(kind, match="why") as caught:
        app.run_app(Path("a"), Path("b"), "group", {})
    assert caught.value.exit_code == known


def test_incomplete_is_no_error_and_options_are_words(monkeypatch, caplog) -> None:
    said: list[str] = []

    def run(arguments: list[str]) -> tuple[int, str]:
        said.extend(arguments)
        return 1, "Not complete"

    monkeypatch.setattr(app, "_run", run)
    options = app.checked({"explain": "none", "nprocs": 2, "sloppy": True}, all_options())
    assert app.run_app(Path("a"), Path("b"), "participant", options) is False
    assert said[:3] == ["a", "b", "participant"]
    assert said[3:8] == ["--explain", "none", "--nprocs", "2", "--sloppy"]
    assert said[8] == "--work-dir"
    assert not Path(said[9]).exists()
    assert "Not complete" in caplog.text


def test_unknown_options_are_told() -> None:
    with pytest.raises(UsageError, match=r"'modle'.*'model'"):
        app.checked({"modle": "x"}, all_options())
    with pytest.raises(UsageError, match="nprocs"):
        app.checked({"nprocs": 0}, all_options())


def test_messages_come_with_their_levels_and_the_last_error_is_kept(caplog) -> None:
    caplog.set_level(logging.INFO, logger="bidsapp_brainage")
    lines = [
        "10:00:00 INFO: begin\n",
        "10:00:01 ERROR: first\n",
        "10:00:02 WARNING: odd\n",
        "10:00:03 ERROR: Not complete:\n",
        "  sub-01  conform\n",
    ]
    assert app._relay(lines) == "Not complete:\n  sub-01  conform"
    assert [(record.levelname, record.message) for record in caplog.records] == [
        ("INFO", "begin"),
        ("ERROR", "first"),
        ("WARNING", "odd"),
    ]


def test_an_interrupted_call_ends_the_app_in_good_order(tmp_path: Path, monkeypatch) -> None:
    (tmp_path / "sleeper.py").write_text(
        "import pathlib, signal, sys, time\n"
        "def end(*_):\n"
        "    pathlib.Path(sys.argv[1]).write_text('cleared')\n"
        "    sys.exit(143)\n"
        "signal.signal(signal.SIGTERM, end)\n"
        "print('ready', flush=True)\n"
        "time.sleep(600)\n"
    )

    def interrupted(lines) -> str:
        assert next(iter(lines)) == "ready\n"
        raise KeyboardInterrupt

    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(app, "_MODULE", "sleeper")
    monkeypatch.setattr(app, "_relay", interrupted)
    with pytest.raises(KeyboardInterrupt):
        app._run([str(tmp_path / "left")])
    assert (tmp_path / "left").read_text() == "cleared"
