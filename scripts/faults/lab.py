"""Runs of the app on a small study that are disturbed, and what came of them."""

from __future__ import annotations

import contextlib
import filecmp
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import filterfalse
from pathlib import Path

import psutil

_GIVE_UP_S = 900
#: What tells of a run, its time and its place, and so differs between runs.
_OF_A_RUN = re.compile(r"(^|/)logs?/|\.html$")
_POLL_S = 0.02


@dataclass(frozen=True)
class Row:
    """One line of the result table."""

    fault: str
    provoked: str
    happened: str
    codes: str
    message: str
    held: bool


@dataclass
class Run:
    """One process of the app, with its log."""

    process: subprocess.Popen[bytes]
    log_file: Path
    marks: dict[str, float] = field(default_factory=dict)

    @property
    def log(self) -> str:
        """What it has said so far."""
        return self.log_file.read_text("utf-8", errors="replace")

    def wait_for(self, happened: Callable[[], bool]) -> bool:
        """Wait until something happens; False if the run ends before."""
        begin = time.monotonic()
        while not happened():
            if self.process.poll() is not None:
                return False
            if time.monotonic() - begin > _GIVE_UP_S:
                raise TimeoutError(self.log)
            time.sleep(_POLL_S)
        return True

    def end(self) -> int:
        """Wait until it ends; a run that hangs is an error of the app."""
        try:
            return self.process.wait(timeout=_GIVE_UP_S)
        except subprocess.TimeoutExpired:
            self.kill()
            raise TimeoutError(f"the run hangs: {self.log}") from None

    def family(self) -> list[psutil.Process]:
        """The process and all that it started."""
        try:
            parent = psutil.Process(self.process.pid)
            return [parent, *parent.children(recursive=True)]
        except psutil.NoSuchProcess:
            return []

    def kill(self, *, front_only: bool = False) -> int:
        """SIGKILL, to all at once or to the front process alone; how many live on for a minute."""
        family = self.family()
        for process in family[:1] if front_only else family:
            _kill(process)
        self.process.wait()
        return len(psutil.wait_procs(family, timeout=60)[1])

    def errors(self) -> str:
        """Last error that the log tells, without time and folders of this machine."""
        lines = [line for line in self.log.splitlines() if " ERROR: " in line]
        rows = re.findall(r"^  (sub-\S+ +.+)$", self.log, re.MULTILINE)
        told = rows[:1] or [line.partition(" ERROR: ")[2] for line in lines[-1:]]
        text = told[0].replace(str(self.log_file.parent), "FOLDER") if told else ""
        return " ".join(text.split())


def _kill(process: psutil.Process) -> None:
    with contextlib.suppress(psutil.NoSuchProcess):
        process.send_signal(signal.SIGKILL)


class Lab:
    """A folder with a study, and runs of the app on it.

    Parameters
    ----------
    root : Path
        Holds ``bids``, ``models`` and ``templateflow``; everything else comes and goes.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self.bids, self.given = root / "bids", root / "given"
        self._count = 0

    def folders(self, name: str) -> tuple[Path, Path]:
        """Output and work folder of a fault; nothing is in them."""
        return self.root / name / "out", self.root / name / "work"

    def command(
        self,
        out: Path,
        work: Path,
        *options: str,
        level: str = "participant",
        registered: bool = True,
    ) -> list[str]:
        """The command line of the cheapest run: registrations come from an earlier one, if any."""
        known = registered and self.given.is_dir()
        given = ["-d", f"small={self.given}"] if known and level != "group" else []
        own = ["--model", "tiny", "--models-dir", str(self.root / "models"), "--level", "minimal"]
        return [
            *(sys.executable, "-m", "bidsapp_brainage", str(self.bids), str(out), level),
            *("-w", str(work), "--nprocs", "2", "--skip-bids-validation"),
            *(() if level == "group" else ("--sloppy", "--device", "cpu", *own, *given)),
            *options,
        ]

    def start(self, command: Sequence[str], *, prefix: Sequence[str] = (), **variables: str) -> Run:
        """Start a run."""
        self._count += 1
        log_file = self.root / f"run-{self._count:03d}.log"
        environment = {
            **os.environ,
            "TEMPLATEFLOW_HOME": str(self.root / "templateflow"),
            "OMP_NUM_THREADS": "1",
            "PYTHONPATH": str(Path.cwd()),
            "PYTHONDONTWRITEBYTECODE": "1",
            **variables,
        }
        with log_file.open("wb") as stream:
            process = subprocess.Popen(
                [*prefix, *command],
                stdout=stream,
                stderr=subprocess.STDOUT,
                env=environment,
                start_new_session=True,
            )
        return Run(process, log_file)

    def start_after(self, run: Run, command: Sequence[str]) -> Run:
        """Start a run when another has ended."""
        run.end()
        return self.start(command)

    def differences(
        self, out: Path, *, whole: bool = True, reference: Path | None = None
    ) -> list[str]:
        """Files that are not as in the undisturbed run: other bytes, too many or (`whole`) missing.

        Pages and logs, which tell of a run, must only be complete. Another `reference` is another
        undisturbed run.
        """
        reference = reference or self.folders("reference")[0]
        wanted, found = (set(_files(folder)) for folder in (reference, out))
        pages = {name for name in found if name.endswith(".html")}
        wanted, found = (set(filterfalse(_OF_A_RUN.search, names)) for names in (wanted, found))
        _, other, unreadable = filecmp.cmpfiles(reference, out, found & wanted, shallow=False)
        surplus = wanted ^ found if whole else found - wanted
        cut = [name for name in pages if not _is_whole(out / name)]
        return sorted({*other, *unreadable, *surplus, *cut})


def temporary(out: Path) -> list[str]:
    """Files that were being written, under their temporary names."""
    return sorted(name for name in _files(out, hidden=True) if ".tmp" in name)


def n_bytes(folder: Path) -> int:
    """Bytes of all files below a folder."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def _files(folder: Path, *, hidden: bool = False) -> list[str]:
    """Names of files below a folder, those of temporary files only if asked for."""
    names = (path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    return [name for name in names if hidden or ".tmp" not in name]


def _is_whole(page: Path) -> bool:
    return page.read_text("utf-8").rstrip().endswith("</html>")
