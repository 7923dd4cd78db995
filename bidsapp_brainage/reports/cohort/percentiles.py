"""Where the quality of a scan lies among all scans of the folder and among reference people."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bidsapp_brainage.bids.derivatives import Derivatives
from bidsapp_brainage.imaging.expected import REFERENCE_PEOPLE, reference_percentile
from bidsapp_brainage.reports.cohort.cells import finite, read_rows
from bidsapp_brainage.reports.cohort.columns import quality_metrics
from bidsapp_brainage.reports.html import Cell, Column, Table, number_cell

#: Ascending values of every metric, by model.
QualityOfAll = Mapping[str, Mapping[str, NDArray[np.float64]]]

FEWEST = 5  # scans among which a percentile says something


def read_quality(output_dir: Path) -> QualityOfAll:
    """Read the quality metrics of all scans in a folder; tables that are broken do not count."""
    values: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    for file in Derivatives(output_dir, outputs=["qc"]).files:
        rows = read_rows(file.path)
        for name in quality_metrics():
            for row in rows:
                if (known := finite(row.get(name))) is not None:
                    values[file.model][name].append(known)
    return {
        model: {name: np.sort(np.array(own)) for name, own in metrics.items()}
        for model, metrics in values.items()
    }


def percentile(value: float, values: NDArray[np.float64]) -> float | None:
    """Share (%) of `values`, ascending, below a value; equal ones count half. None for few values.

    Examples
    --------
    >>> percentile(3.0, np.array([1.0, 2.0, 3.0, 4.0, 5.0]))
    50.0
    """
    if len(values) < FEWEST:
        return None
    both = np.searchsorted(values, value, "left") + np.searchsorted(values, value, "right")
    return float(50 * both / len(values))


def with_percentiles(
    table: Table, row: Mapping[str, object], others: Mapping[str, NDArray[np.float64]]
) -> Table:
    """Add two columns to a table of quality metrics: percentiles here and among reference people.

    Parameters
    ----------
    table : Table
        One metric per row; its last cell has the name of the column.
    row : mapping
        The row of ``*_qc.tsv``.
    others : mapping
        Values of all scans of the same model, from :func:`read_quality`.
    """
    n_scans = max((len(values) for values in others.values()), default=0)
    here = f"Percentile among the {n_scans} scans of this folder when this page was written."
    columns = [
        Column("Percentile here", numeric=True, help=here, short=True),
        Column("Reference percentile", numeric=True, help=f"Among {REFERENCE_PEOPLE}.", short=True),
    ]
    rows = [
        [*cells[:-2], *_percentiles(cells[-1].text, row, others), *cells[-2:]]
        for cells in table.rows
    ]
    return replace(table, columns=[*table.columns[:-2], *columns, *table.columns[-2:]], rows=rows)


def _percentiles(
    name: str, row: Mapping[str, object], others: Mapping[str, NDArray[np.float64]]
) -> tuple[Cell, Cell]:
    value = finite(row.get(name)) if name in quality_metrics() else None
    if value is None:  # also a resolution of three axes
        return Cell(""), Cell("")
    known = percentile(value, others.get(name, np.empty(0)))
    reference = reference_percentile(name, value)
    return _cell(known), _cell(reference)


def _cell(value: float | None) -> Cell:
    return Cell("", value="") if value is None else number_cell(value, 0)
