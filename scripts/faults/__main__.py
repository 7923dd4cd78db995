"""Try faults with whole runs, and write what happened into ``docs/faults.md``.

``python -m scripts.faults FOLDER [NAME ...]``, as root from the root of the repository; without
FOLDER the page alone is written. It takes about a minute of processor time for each fault.
"""

from __future__ import annotations

import sys
from pathlib import Path
from types import MappingProxyType

from scripts.faults import disks, killing, limits, meddling, page
from scripts.faults.lab import Lab
from scripts.faults.small import write_study

FAULTS = MappingProxyType(
    {
        function.__name__: function
        for function in (
            killing.everything,
            killing.front_alone,
            killing.one_worker,
            killing.registration,
            meddling.memory,
            limits.control_group,
            limits.clock,
            disks.output,
            disks.work,
            meddling.same_people,
            meddling.other_people,
            meddling.group_meanwhile,
            meddling.vanishing,
            meddling.changing,
            meddling.strange_place,
            meddling.odd_path,
        )
    }
)


def main(arguments: list[str]) -> int:
    """Try the faults that are named, or all."""
    held = True
    if arguments:
        lab = _lab(Path(arguments[0]).absolute())
        for name in arguments[1:] or FAULTS:
            row = FAULTS[name](lab)
            page.keep([row])
            held &= row.held
            print(f"{name}: {row.happened} (exit status {row.codes})", flush=True)
    page.PAGE.write_text(page.text(), encoding="utf-8")
    return int(not held)


def _lab(root: Path) -> Lab:
    """A study, derivatives that spare its registrations, and an undisturbed run."""
    lab = Lab(root)
    if not lab.bids.is_dir():
        write_study(root)
    reference, work = lab.folders("reference")
    for out, scratch in ((lab.given, root / "first"), (reference, work)):
        if not out.is_dir() and lab.start(lab.command(out, scratch)).end():
            raise RuntimeError(f"the undisturbed run failed; see the logs in {root}")
    return lab


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
