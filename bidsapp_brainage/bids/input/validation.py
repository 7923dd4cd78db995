"""Validation of the input with ``bids-validator-deno`` where it is installed."""

from __future__ import annotations

import json
import logging
import shutil
import subprocess
import sys
from pathlib import Path

LOGGER = logging.getLogger(__name__)

_COMMAND = "bids-validator-deno"
_SHOWN = 5
_TIMEOUT_SECONDS = 300


def check_dataset(bids_dir: Path) -> list[str]:
    """Errors that the BIDS validator finds, as a few lines of warning.

    They do not stop the run: most concern files that this app does not read, and what it reads
    it checks itself. Nothing when the dataset is valid or the validator is not installed.
    """
    command = shutil.which(_COMMAND) or shutil.which(_COMMAND, path=str(Path(sys.prefix) / "bin"))
    if command is None:
        LOGGER.info("The input is not validated: %s is not installed.", _COMMAND)
        return []
    try:
        finished = subprocess.run(
            [command, "--format", "json", str(bids_dir)],
            capture_output=True,
            text=True,
            timeout=_TIMEOUT_SECONDS,
            check=False,
        )
        issues = json.loads(finished.stdout)["issues"]["issues"]
    except (OSError, ValueError, KeyError, TypeError, subprocess.TimeoutExpired) as error:
        return [f"The input could not be validated ({type(error).__name__}); going on."]
    errors = [issue for issue in issues if issue.get("severity") == "error"]
    if not errors:
        LOGGER.info("The input is valid BIDS.")
        return []
    lines = [
        f"The BIDS validator finds {len(errors)} errors in {bids_dir} (going on; "
        "`skip_bids_validation` leaves this out)."
    ]
    for issue in errors[:_SHOWN]:
        lines.append(f"  {issue.get('code', '?')}: {issue.get('location', '')}")
    return lines
