"""The whole app on two synthetic people, and what happened in its first runs."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

from bidsapp_brainage.catalogue.methods import METHODS

VOXEL = (2.5, 2.5, 2.5)
EXPLAIN = ",".join(
    card.key for card in METHODS if card.chosen != "automatic" and not card.architecture
)


def make_dataset(folder: Path) -> Path:
    """Two synthetic people; the image of the second is cut short."""
    from bidsapp_brainage.demo.sample import Person, Scan, write_sample

    people = (
        Person("01", "F", (Scan(30.0, 30, VOXEL, "LAS", tilt=(4, -3, 5)),)),
        Person("02", "M", (Scan(60.0, 60, VOXEL, "RAS"),)),
    )
    write_sample(folder, people=people)
    image = folder / "sub-02/anat/sub-02_T1w.nii.gz"
    image.write_bytes(image.read_bytes()[:20000])
    return folder


@dataclass
class App:
    """The command line on one dataset, with a tiny untrained model."""

    root: Path
    logs: list[str] = field(default_factory=list)

    @property
    def out(self) -> Path:
        return self.root / "derivatives" / "bidsapp_brainage"

    def command(self, *options: str) -> list[str]:
        return [
            *(sys.executable, "-m", "bidsapp_brainage"),
            *(str(self.root / "bids"), str(self.out), "participant"),
            *("--work-dir", str(self.root / "work"), "--sloppy", "--device", "cpu"),
            *("--model", "tiny", "--models-dir", str(self.root / "models")),
            *("--explain", EXPLAIN, "--null-parcels", "4"),
            *("--cube-size", "24", "--shapley-permutations", "2"),
            *("--skip-bids-validation", *options),
        ]

    def start(self, *options: str) -> subprocess.Popen[str]:
        home = self.root / "templateflow"
        home.mkdir(exist_ok=True)
        environment = {**os.environ, "TEMPLATEFLOW_HOME": str(home), "OMP_NUM_THREADS": "1"}
        return subprocess.Popen(
            self.command(*options), text=True, stderr=subprocess.PIPE, env=environment
        )

    def run(self, *options: str) -> tuple[int, str]:
        process = self.start(*options)
        _, log = process.communicate(timeout=1800)
        return process.returncode, log

    def terminate_at(self, words: str) -> tuple[int, str]:
        """Send SIGTERM as soon as the log says `words`."""
        process = self.start()
        assert process.stderr is not None
        lines = []
        for line in process.stderr:
            lines.append(line)
            if words in line:
                time.sleep(0.5)  # in the middle of the next stage
                process.send_signal(signal.SIGTERM)
                break
        rest = process.stderr.read()
        return process.wait(timeout=300), "".join(lines) + rest

    def outputs(self) -> list[str]:
        """Files below the output folder, without logs of people; all runs are called RUN."""
        found = (path for path in self.out.rglob("*") if path.is_file())
        names = (path.relative_to(self.out).as_posix() for path in found)
        shown = {re.sub(r"^logs/\d{8}-[^/]+/", "logs/RUN/", name) for name in names}
        return sorted(name for name in shown if "/log/" not in name)


def copied(app: App, root: Path, *folders: str) -> App:
    """The same app elsewhere, so that the other tests find what the story left, in any order."""
    for folder in folders:
        shutil.copytree(app.root / folder, root / folder)
    return App(root)


def digests(app: App) -> dict[str, str]:
    kinds = (".nii.gz", ".tsv", ".h5", ".txt", ".svg")
    return {
        name: hashlib.sha256((app.out / name).read_bytes()).hexdigest()
        for name in app.outputs()
        if name.endswith(kinds)
    }


@dataclass(frozen=True)
class Story:
    """What happened in the first runs, in order."""

    terminated: tuple[int, str]
    files_after_termination: list[str]
    resumed: tuple[int, str]
