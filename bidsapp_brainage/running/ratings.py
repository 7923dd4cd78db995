"""Ratings of scans: checked before anything is computed, and those of ``--ratings`` kept."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bidsapp_brainage.settings import Settings

LOGGER = logging.getLogger("bidsapp_brainage")


def take_in_ratings(settings: Settings) -> None:
    """Keep new ratings in the output, and refuse what lies there and cannot be used.

    Raises
    ------
    DataError
        A table of ratings cannot be used.
    """
    from bidsapp_brainage.bids.ratings import FOLDER, stored_ratings, take_in

    output_dir, paths = settings.output_dir, settings.selection.ratings
    if not paths and not (output_dir / FOLDER).is_dir():
        return
    if paths:
        n_rows = take_in(output_dir, paths)
        LOGGER.info("%d ratings were taken in from %d tables", n_rows, len(paths))
    stored = stored_ratings(output_dir)
    LOGGER.info(
        "Ratings of %d scans by %d raters lie in %s",
        stored["scan"].nunique(),
        stored["rater"].nunique(),
        output_dir / FOLDER,
    )
