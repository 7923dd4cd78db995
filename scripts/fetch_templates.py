"""Fetch the templates and atlases that the documentation recommends into TEMPLATEFLOW_HOME.

Usage: fetch_templates.py {auto,yes,no}. Used while the container image is built, and by hand
to fill a folder that is then given to the app on a machine without network.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

QUERIES: tuple[tuple[str, dict[str, Any]], ...] = (
    ("MNI152NLin2009cAsym", {"resolution": 1, "desc": None, "suffix": "T1w"}),
    ("MNI152NLin2009cAsym", {"resolution": 1, "desc": "brain", "suffix": "mask"}),
    ("MNI152NLin2009cAsym", {"resolution": 1, "atlas": "Schaefer2018", "suffix": "dseg"}),
    ("MNI152NLin2009cAsym", {"atlas": "Schaefer2018", "suffix": "dseg", "extension": ".tsv"}),
    ("MNI152NLin6Asym", {"resolution": 1, "desc": None, "suffix": "T1w"}),
    ("MNI152NLin6Asym", {"resolution": 1, "desc": "brain", "suffix": "mask"}),
    ("MNI152NLin6Asym", {"resolution": 1, "atlas": "HOCPA", "suffix": "dseg"}),
    ("MNI152NLin6Asym", {"resolution": 1, "atlas": "HOSPA", "suffix": "dseg"}),
    ("MNI152NLin6Asym", {"atlas": ["HOCPA", "HOSPA"], "suffix": "dseg", "extension": ".tsv"}),
    ("MNI152NLin2009cSym", {"resolution": 1, "desc": None, "suffix": "T1w"}),
    ("MNI152NLin2009cSym", {"resolution": 1, "desc": "brain", "suffix": "mask"}),
    ("MNI152NLin2009cSym", {"atlas": ["CerebrA", "CerebA"], "suffix": "dseg"}),
)


def fetch(template: str, query: dict[str, Any]) -> list[Path]:
    """Return the files of one query; an empty or zero-byte answer is an error."""
    from templateflow import api

    found = api.get(template, **query)
    files = [Path(path) for path in (found if isinstance(found, list) else [found])]
    empty = [path for path in files if path.stat().st_size == 0]
    if not files or empty:
        raise OSError(f"TemplateFlow gave nothing for {template} {query}")
    return files


def main() -> int:
    """Fetch everything, or say what could not be fetched."""
    mode = sys.argv[1] if len(sys.argv) > 1 else "yes"
    if mode not in ("auto", "yes", "no"):
        print(__doc__, file=sys.stderr)
        return 2
    if mode == "no":
        print("Templates are not fetched: the embedded template and atlas remain.")
        return 0
    try:
        for template, query in QUERIES:
            for path in fetch(template, query):
                print(f"{path.name}: {path.stat().st_size} bytes")
    except Exception as error:  # the client raises errors of several libraries when offline
        print(f"TemplateFlow could not be read: {error!r}", file=sys.stderr)
        print("Only the embedded template and atlas are available.", file=sys.stderr)
        return 1 if mode == "yes" else 0
    return 0


if __name__ == "__main__":
    sys.exit(main())
