"""``--dry-run``: what would be done, without doing it."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from bidsapp_brainage.settings import explanations

if TYPE_CHECKING:
    from bidsapp_brainage.bids.collect import Scan
    from bidsapp_brainage.settings import Settings

LOGGER = logging.getLogger("bidsapp_brainage")


def list_work(settings: Settings, level: str) -> int:
    """Print the images (or, for the group level, the tables) that a run would process."""
    return _list_tables(settings) if level == "group" else _list_scans(settings)


def _list_scans(settings: Settings) -> int:
    from bidsapp_brainage.bids.collect import collect_scans, without_scans

    scans, warnings = collect_scans(settings.bids_dir, settings.selection)
    for warning in warnings:
        LOGGER.warning("%s", warning)
    processing = settings.processing
    explained = bool(explanations(processing))
    print(f"{len(scans)} T1w images would be processed with model {processing.model}", end="")
    print(f" and explained with atlas {processing.atlas}:" if explained else ":")
    print("image\tage\tage_source\talready_done\tfile")
    for scan in scans:
        print("\t".join(_row(scan, settings)))
    return 1 if without_scans(settings.selection.participant_label, scans) else 0


def _row(scan: Scan, settings: Settings) -> list[str]:
    from bidsapp_brainage.bids.names import output_path

    model = settings.processing.model
    done = output_path(settings.output_dir, "brainage", scan.entities, model=model).is_file()
    age = "n/a" if scan.age.value is None else f"{scan.age.value:g}"
    return [scan.label, age, scan.age.source, "yes" if done else "no", scan.relative_path]


def _list_tables(settings: Settings) -> int:
    from bidsapp_brainage.bids.derivatives import Derivatives
    from bidsapp_brainage.errors import NoInputError

    tables = Derivatives(settings.output_dir).select("brainage")
    if not tables:
        raise NoInputError(
            f"{settings.output_dir} has no predictions: run the participant level first."
        )
    print(f"{len(tables)} predictions would be summarised:")
    for file in tables:
        print(file.path.relative_to(settings.output_dir).as_posix())
    return 0
