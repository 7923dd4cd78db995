"""Writing of what a model of morphometry says: the tables of the participant level, no images."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from bidsapp_brainage import __version__, io
from bidsapp_brainage.bids.dictionaries import sidecar
from bidsapp_brainage.bids.names import output_path, sidecar_path
from bidsapp_brainage.catalogue.lookup import output

if TYPE_CHECKING:
    import pandas as pd

    from bidsapp_brainage.bids.collect import Scan


def write_answer(
    output_dir: Path,
    scan: Scan,
    model: Mapping[str, object],
    tables: Mapping[str, pd.DataFrame],
    software: str = "",
) -> None:
    """Write the tables of one person with their data dictionaries.

    Parameters
    ----------
    output_dir : Path
        Root of the derivatives.
    scan : Scan
        Labels of the person.
    model : mapping
        Facts about the model, with its ``Name``; see :func:`..model.provenance.model_facts`.
    tables : mapping of str to DataFrame
        By the key of their output, ``brainage`` and ``morphometry``.
    software : str
        What measured the regions, if it is known.
    """
    facts = {
        "Model": dict(model),
        "Software": f"bidsapp_brainage {__version__}",
        "MorphometrySoftware": software or None,
    }
    for key, table in tables.items():
        path = output_path(output_dir, key, scan.entities, model=str(model["Name"]))
        io.write_tsv(path, table)
        columns = [str(name) for name in table.columns]
        io.write_json(sidecar_path(path), sidecar(output(key).suffix, columns, **facts))
