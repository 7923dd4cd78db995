"""A run that computes nothing: it writes what the levels would, from what they are given."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from bidsapp_brainage import io
from bidsapp_brainage.bids.ages import AgeBook
from bidsapp_brainage.bids.names import report_path
from bidsapp_brainage.bids.run_records import record_name, run_folder
from tests.derivatives import contributions, prediction, write_table

BINS = pd.DataFrame({
    "age_lower": [40.0, 50.0], "age_upper": [50.0, 60.0], "age_center": [45.0, 55.0],
    "probability": [0.5, 0.5],
})  # fmt: skip
MODEL_FACTS = {"Name": "sfcn2mm", "AgeRange": [20, 80]}


@dataclass
class StandIn:
    """In the place of `bidsapp_brainage.api.app.run_app`; images called ``bad*`` fail."""

    asked: list[tuple[str, Mapping[str, Any]]] = field(default_factory=list)

    def __call__(
        self, bids_dir: Path, output_dir: Path, level: str, options: Mapping[str, Any]
    ) -> bool:
        self.asked.append((level, options))
        if level == "group":
            write_table(output_dir, "metrics", [{}])
            write_table(output_dir, "group_brainage", [{}])
            return True
        if options.get("explain_only"):
            _write_regions(output_dir, *options["participant_label"])
            return True
        book = AgeBook(bids_dir)
        failed = []
        for image in sorted(bids_dir.glob("sub-*/anat/*")):
            label = image.name.removeprefix("sub-").partition("_")[0]
            age = book.person({"sub": label}, "").age.value
            if label.startswith("bad"):
                reason = f"{image.name}: every voxel has the same value (0). Convert it again."
                failed.append(label)
                _write_record(output_dir, label, reason)
            else:
                _write_record(output_dir, label)
                _write_prediction(output_dir, label, age)
        return not failed


def _write_prediction(output_dir: Path, label: str, age: float | None) -> None:
    scan = (("sub", label),)
    flags = {"flags": "edge_mass", "flag_reasons": "30 % in the last bin"}
    row = prediction(scan, age, 50.0, 1.0, **flags)
    write_table(output_dir, "brainage", row, scan, facts={"Model": MODEL_FACTS})
    write_table(output_dir, "agedist", BINS, scan)
    io.write_text(report_path(output_dir, label), "<html>")


def _write_regions(output_dir: Path, label: str) -> None:
    atlas = pd.DataFrame({"index": [1], "name": ["one"]})
    labels, effects = atlas["index"].to_numpy(), atlas["index"].to_numpy() * 2.0
    rows = contributions(atlas, labels, effects, age=None, intact=50)
    space = {"space": "MNI152NLin2009aSym", "atlas": "BrainageDemo"}
    write_table(output_dir, "table", rows, (("sub", label),), **space)


def _write_record(output_dir: Path, label: str, reason: str = "") -> None:
    failure = {
        "Scan": f"sub-{label}", "Step": "conform", "Reason": reason, "Error": "DataError",
    }  # fmt: skip
    record = {"Started": "2026-01-01T00:00:00Z", "Scans": [f"sub-{label}"]}
    record["Failures"] = [failure] if reason else []  # type: ignore[assignment]
    folder = run_folder(output_dir, "20260101-000000_x", label)
    io.write_json(folder / record_name("participant"), record)
