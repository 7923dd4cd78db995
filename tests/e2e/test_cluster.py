"""The whole participant level by workers: one is killed, a scan is broken, the bytes are those."""

from __future__ import annotations

from pathlib import Path

import psutil
import pytest

from tests.e2e.app import App, Story, copied, digests

pytest.importorskip("distributed")
pytestmark = pytest.mark.slow


def workers_of(front: int) -> list[psutil.Process]:
    children = psutil.Process(front).children()
    return [child for child in children if "spawn_main" in " ".join(child.cmdline())]


def test_lost_workers_and_a_broken_scan(app: App, story: Story, tmp_path: Path) -> None:
    another = copied(app, tmp_path, "bids", "models")
    front = another.start("--cluster", "local")
    assert front.stderr is not None
    lines = []
    for line in front.stderr:
        lines.append(line)
        if "sub-01: affine registration done" in line:
            for worker in workers_of(front.pid):
                worker.kill()
            break
    log = "".join(lines) + front.stderr.read()
    assert front.wait(timeout=300) == story.resumed[0] == 1, log
    assert "sub-01: affine registration done (from an earlier run)" in log
    assert "1 of 2 scans are complete." in log
    assert "truncated" in log[log.index("Not complete:") :]
    assert "truncated" in (another.out / "sub-02.html").read_text()
    assert not list(another.out.rglob("*.tmp*"))
    assert digests(another) == digests(app)
