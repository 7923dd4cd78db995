"""``python -m bidsapp_brainage.demo FOLDER`` writes the sample dataset."""

from __future__ import annotations

import argparse
from pathlib import Path

from bidsapp_brainage.demo.sample import write_sample


def main(argv: list[str] | None = None) -> int:
    """Write the sample dataset into the given folder."""
    parser = argparse.ArgumentParser(prog="python -m bidsapp_brainage.demo", description=__doc__)
    parser.add_argument("folder", type=Path, help="folder to write the BIDS dataset into")
    write_sample(parser.parse_args(argv).folder)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
