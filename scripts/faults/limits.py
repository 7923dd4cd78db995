"""Limits and clocks of the system: a control group without memory, a clock that goes back."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bidsapp_brainage.bids.run_records import read_runs
from scripts.faults.lab import Lab, Row

_MEMORY = Path("/sys/fs/cgroup/memory")  # of version 1
_ROOM_BYTES = 20_000_000
_BACK_S = 3600
#: What every Python process of a run does at its start.
_CLOCK = """import os
import time

clock = time.time
time.time = lambda: clock() - ({back} if os.path.exists({flag!r}) else 0)
"""


def control_group(lab: Lab) -> Row:
    """Let the system kill what a control group has no memory for."""
    out, work = lab.folders("cgroup")
    with _group() as (folder, prefix):
        run = lab.start(lab.command(out, work), prefix=prefix)
        run.wait_for(lambda: "Processing 2 scans" in run.log and len(run.family()) > 3)
        limit = _resident(folder) + _ROOM_BYTES
        (folder / "memory.limit_in_bytes").write_text(str(limit))
        codes = [run.end()]
        killed = (folder / "memory.oom_control").read_text().split("oom_kill ")[-1].strip()
    codes.append(lab.start(lab.command(out, work)).end())
    wrong = lab.differences(out)
    shutil.rmtree(out.parent)
    return Row(
        "A memory limit by control group",
        "a group (cgroup, version 1) around the whole run, limited to what it has when the "
        f"workers begin and {_ROOM_BYTES / 1e6:.0f} MB ({limit / 1e6:.0f} MB); then without the "
        "limit",
        f"the system killed {killed} processes, {'with' if codes[0] == -9 else 'without'} the "
        f"front one; no hang; {len(wrong)} files with other bytes than those of an undisturbed run "
        "at the end",
        ", ".join(map(str, codes)),
        run.errors(),
        killed != "0" and codes[0] in (1, -9) and codes[1] == 0 and not wrong,
    )


@contextmanager
def _group() -> Iterator[tuple[Path, list[str]]]:
    """A control group, and the beginning of a command line that runs in it."""
    folder = _MEMORY / f"brainage-fault-{os.getpid()}"
    folder.mkdir()
    try:
        enter = f'echo $$ > {folder}/cgroup.procs; exec "$@"'
        yield folder, ["bash", "-c", enter, "bash"]
    finally:
        while (folder / "cgroup.procs").read_text().strip():
            time.sleep(1)
        folder.rmdir()


def _resident(folder: Path) -> int:
    """Bytes that the processes of a group hold, without files that are cached."""
    lines = (folder / "memory.stat").read_text().splitlines()
    return int(dict(line.split() for line in lines)["total_rss"])


def clock(lab: Lab) -> Row:
    """Set the clock back in mid-run, in one time zone, and go on in another."""
    out, work = lab.folders("clock")
    shim, flag = lab.root / "shim", lab.root / "shim" / "back"
    shim.mkdir(exist_ok=True)
    (shim / "sitecustomize.py").write_text(_CLOCK.format(back=_BACK_S, flag=str(flag)))
    run = lab.start(
        lab.command(out, work),
        PYTHONPATH=f"{shim}:{Path.cwd()}",
        TZ="Pacific/Kiritimati",
    )
    run.wait_for(lambda: "Processing 2 scans" in run.log)
    flag.touch()
    codes = [run.end()]
    shutil.rmtree(shim)
    (record,) = read_runs(out)
    went_back = record.ended < record.started
    again = lab.start(lab.command(out, work), TZ="Pacific/Pago_Pago", LANG="de_DE.UTF-8")
    codes.append(again.end())
    page = (out / "runs.html").read_text("utf-8")
    odd = [text for text in (">-", "−") if f"{text}1 h" in page or f"{text}59 min" in page]
    wrong = lab.differences(out)
    shutil.rmtree(out.parent)
    return Row(
        "A clock that goes back; other time zones and locales",
        f"Python's clock goes back by {_BACK_S // 3600} h when a run has begun, with TZ "
        "Pacific/Kiritimati; the same command again with TZ Pacific/Pago_Pago, LANG de_DE.UTF-8",
        f"{len(wrong)} files with other bytes than those of an undisturbed run at the end; the "
        f"record {'ends before it begins' if went_back else 'does not tell'}, and the page of runs "
        f"has {len(odd)} negative durations",
        ", ".join(map(str, codes)),
        run.errors(),
        codes == [0, 0] and went_back and not wrong and not odd,
    )
