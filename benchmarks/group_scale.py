"""Time and memory of the group level on simulated derivatives of many people.

    python -m benchmarks.group_scale --people 1000

The people are those of ``brainage-demo study``. The group level runs three times: on a fresh
folder, again with nothing new, and with a few new people. With ``--others N`` every person has N
further files, as after a whole participant run.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from bidsapp_brainage.demo.study import Study


def _measured(root: Path, what: str, *, profile: Path | None = None) -> int:
    """Run the group level in a process of its own, and print what it took."""
    command = [sys.executable, *(["-m", "cProfile", "-o", str(profile)] if profile else [])]
    command += ["-m", "bidsapp_brainage.cli.run", str(root / "raw"), str(root), "group"]
    command += ["--group-column", "diagnosis", "--reference-group", "control"]
    start = time.perf_counter()
    process = subprocess.Popen(command)
    _, status, used = os.wait4(process.pid, 0)
    wall, code = time.perf_counter() - start, os.waitstatus_to_exitcode(status)
    pages = [*root.glob("group_*.html"), root / "index.html", root / "runs.html"]
    sizes = ", ".join(f"{page.name} {page.stat().st_size / 1e6:.1f} MB" for page in pages)
    print(
        f"{what}: exit code {code}, {wall:.0f} s ({used.ru_utime + used.ru_stime:.0f} s of "
        f"processor time), at most {used.ru_maxrss / 1024:.0f} MiB; {sizes}",
        flush=True,
    )
    return code


def main() -> int:
    """Simulate, run the group level, print what it took."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--people", type=int, default=1000)
    parser.add_argument("--regions", type=int, default=246)
    parser.add_argument("--new", type=int, default=10, help="people of the third run")
    parser.add_argument("--others", type=int, default=0, help="further files of each person")
    parser.add_argument("--keep", type=Path, help="keep the derivatives in this new folder")
    parser.add_argument("--once", action="store_true", help="the first of the three runs only")
    parser.add_argument("--profile", type=Path, help="write a profile of the first run")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        root = options.keep or Path(folder) / "derivatives"
        root.mkdir(parents=True)
        start = time.perf_counter()
        people = Study(root, options.regions, others=options.others)
        people.add(1, options.people)
        print(f"simulated {options.people} in {time.perf_counter() - start:.0f} s", flush=True)
        code = _measured(root, f"group level of {options.people}", profile=options.profile)
        if not options.once:
            code = code or _measured(root, "again, nothing new")
            people.add(options.people + 1, options.new)
            code = code or _measured(root, f"with {options.new} new people")
    return code


if __name__ == "__main__":
    raise SystemExit(main())
