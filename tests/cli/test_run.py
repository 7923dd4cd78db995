from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from bidsapp_brainage import errors
from bidsapp_brainage.bids.names import log_dir
from bidsapp_brainage.bids.run_records import run_folder
from bidsapp_brainage.cli import run
from bidsapp_brainage.cli.logs import library_level, own_level
from bidsapp_brainage.cli.signals import Terminated
from tests.model.tiny import make_card
from tests.signals import heed_interrupts


@pytest.fixture
def line(two_people: Path, monkeypatch) -> Callable[..., list[str]]:
    """Arguments for a run that passes all checks; what it would start is replaced."""
    root = two_people.parent
    models = root / "models"
    models.mkdir()
    (models / "tiny.json").write_text("{}")

    def make(*more: str, level: str = "participant") -> list[str]:
        folders = [str(two_people), str(root / "out"), level, "-w", str(root / "work")]
        model = ["--model", "tiny", "--models-dir", str(models)]
        return [*folders, *model, "--skip-bids-validation", *more]

    return make


@pytest.fixture
def level(monkeypatch) -> Callable[..., list[str]]:
    """Replace what runs a level: it gives a code or raises; what was run is listed."""

    # Whatever ends a level here, the children of this process belong to other tests.
    monkeypatch.setattr(run, "end_children", list)

    def install(participant: object = 0, group: object = 0) -> list[str]:
        started: list[str] = []

        def fake(name: str, settings: object) -> int:
            started.append(name)
            outcome = {"participant": participant, "group": group}[name]
            if isinstance(outcome, BaseException):
                raise outcome
            return int(outcome)  # type: ignore[call-overload]

        monkeypatch.setattr(run, "_run_level", fake)
        return started

    return install


def test_success(line, level):
    started = level()
    assert run.main(line()) == 0
    assert started == ["participant"]


@pytest.mark.parametrize(
    ("outcome", "code"),
    [
        (1, 1),
        (errors.UsageError("x"), 2),
        (errors.DataError("x"), 65),
        (errors.NoInputError("x"), 66),
        (errors.WorkflowError("x"), 70),
        (errors.ResourceError("x"), 72),
        (errors.MissingExecutableError("x"), 127),
        (ModuleNotFoundError("No module named 'x'", name="x"), 127),
        (RuntimeError("x"), 70),
        (OSError(errno.EACCES, "x"), 70),
        (OSError(errno.ENOSPC, "No space left on device"), 74),
        (KeyboardInterrupt(), 130),
        (Terminated(), 143),
    ],
)
def test_exit_codes(line, level, outcome, code):
    level(outcome)
    assert run.main(line()) == code


def test_known_errors_are_one_line_and_unknown_ones_have_a_traceback(line, level, capsys):
    level(errors.DataError("image.nii.gz is truncated: copy it again."))
    run.main(line())
    message = capsys.readouterr().err
    assert "image.nii.gz is truncated: copy it again." in message
    assert "Traceback" not in message
    level(RuntimeError("oops"))
    run.main(line())
    assert "Traceback" in capsys.readouterr().err


def test_fields_in_messages_are_shown_as_flags(line, level, capsys):
    level(errors.UsageError("Check `models_dir`."))
    assert run.main(line()) == 2
    assert "Check --models-dir." in capsys.readouterr().err


def test_a_full_disk_is_said_in_one_line(line, level, capsys):
    level(OSError(errno.ENOSPC, "No space left on device"))
    run.main(line())
    message = capsys.readouterr().err
    assert "No space left on device" in message
    assert "free space first" in message
    assert "Traceback" not in message


def test_group_runs_after_participants_even_if_some_failed(line, level):
    arguments = line()
    arguments.insert(2, "group")
    started = level(participant=1, group=0)
    assert run.main(arguments) == 1
    assert started == ["participant", "group"]


def test_warnings_do_not_change_the_exit_code(line, level, capsys):
    level()
    assert run.main(line("--sloppy")) == 0
    assert "testing only" in capsys.readouterr().err


def test_notrack_is_accepted(line, level):
    level()
    assert run.main(line("--notrack")) == 0


def test_no_arguments_is_usage(capsys):
    with pytest.raises(SystemExit) as caught:
        run.main([])
    assert caught.value.code == 2


def test_dry_run_of_both_levels_lists_both(line, monkeypatch):
    """The tables of the group are made by the level before it: their absence is no error."""
    from bidsapp_brainage.running import dry_run

    listed: list[str] = []
    monkeypatch.setattr(dry_run, "_list_scans", lambda _: listed.append("images") or 0)
    arguments = line("--dry-run")
    arguments.insert(2, "group")
    assert run.main(arguments) == 0
    assert listed == ["images"]


def test_dry_run_of_a_selection_without_images(line, two_people, capsys):
    make_card(two_people.parent / "models")
    assert run.main(line("--dry-run", "--session-label", "9")) == 66
    assert "session=9" in capsys.readouterr().err


def test_levels_of_messages():
    assert [library_level(count) for count in (0, 1, 2, 3, 9)] == [25, 20, 15, 10, 10]
    assert [own_level(count) for count in (0, 1)] == [20, 10]


def test_log_of_a_run_tells_each_participant_only_of_themselves(line, two_people, monkeypatch):
    def fake(name, settings):
        for label in ("01", "02"):
            folder = log_dir(settings.output_dir, label, settings.execution.run_uuid)
            folder.mkdir(parents=True)
            run.LOGGER.info("sub-%s: done in %s", label, settings.bids_dir)
        run_folder(settings.output_dir, settings.execution.run_uuid).mkdir(parents=True)
        return 0

    monkeypatch.setattr(run, "_run_level", fake)
    assert run.main(line()) == 0
    (path,) = (two_people.parent / "out" / "sub-01" / "log").glob("*/run.log")
    text = path.read_text()
    assert "sub-01: done in <bids_dir>" in text
    assert "sub-02" not in text
    assert str(two_people.parent) not in text
    (path,) = (two_people.parent / "out" / "logs").glob("*/run.log")
    text = path.read_text()
    assert "sub-01: done in <bids_dir>" in text
    assert "sub-02: done in <bids_dir>" in text
    assert str(two_people.parent) not in text


def test_module_is_the_command():
    done = subprocess.run(
        [sys.executable, "-m", "bidsapp_brainage", "--version"], capture_output=True, text=True
    )
    assert done.returncode == 0
    assert done.stdout.startswith("bidsapp-brainage v")


#: A run whose worker is in the middle of writing a result when the signal comes.
_BUSY = """
import multiprocessing, os, sys, time
from pathlib import Path
from bidsapp_brainage import io
from bidsapp_brainage.bids.names import log_dir
from bidsapp_brainage.cli import run

def work(out):
    with io.atomic_path(Path(out) / "sub-01" / "result.nii.gz") as path:
        path.write_text("half")
        os.write(1, f"writing {os.getpid()}\\n".encode())  # at once, whatever the buffering
        time.sleep(60)

def level(name, settings):
    worker = multiprocessing.get_context("fork").Process(target=work, args=(settings.output_dir,))
    worker.start()
    os.write(1, b"waiting 0\\n")
    worker.join()
    return 0

run._run_level = level
sys.exit(run.main(sys.argv[1:]))
"""


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)], ids=["SIGTERM", "SIGINT"]
)
def test_signal_ends_workers_and_leaves_no_partial_file(line, two_people, number, code):
    process = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(_BUSY), *line()],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        preexec_fn=heed_interrupts,
    )
    assert process.stdout is not None
    # Python loses an exception that a signal raises while fork() is returning: both lines first.
    said = dict(process.stdout.readline().split() for _ in range(2))
    worker = int(said["writing"])
    process.send_signal(number)
    assert process.wait(timeout=120) == code
    assert not _alive(worker)
    out = two_people.parent / "out"
    assert [path for path in out.rglob("*") if path.is_file()] == []


def _alive(pid: int) -> bool:
    for _ in range(20):
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return False
        time.sleep(0.1)
    return True
