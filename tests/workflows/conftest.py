"""A plan with tiny stand-ins for template, model and atlas: enough to build graphs."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import pandas as pd
import pytest

from bidsapp_brainage.bids.ages import Age
from bidsapp_brainage.bids.collect import Scan
from bidsapp_brainage.workflows.plan import RunPlan
from tests.workflows.templates import make_template


@pytest.fixture
def plan(tmp_path: Path) -> RunPlan:
    resources = tmp_path / "resources"
    resources.mkdir()
    template = make_template(resources, "MNI152NLin2009aSym")
    card_path = resources / "tiny.json"
    card_path.write_text(json.dumps({"name": "tiny"}))
    weights = resources / "tiny.safetensors"
    weights.write_bytes(b"0")
    table = resources / "atlas.tsv"
    pd.DataFrame({"index": [1], "name": ["one"]}).to_csv(table, sep="\t", index=False)
    card = SimpleNamespace(
        name="tiny",
        version="1.0.0",
        architecture={"id": "sfcn"},
        weights=(SimpleNamespace(path=weights, sha256="0" * 64),),
        input={"resolution_mm": 2.0, "shape": [8, 8, 8], "skull_stripped": True},
        age_range=(20.0, 80.0),
        training={},
        bias_correction=None,
        age_head=SimpleNamespace(has_distribution=True),
        licence="CC0",
        citation=(),
        folder=resources,
    )
    atlas = SimpleNamespace(
        name="BrainageDemo", seg=None, scale=40, template=template.name, dseg=template.mask
    )
    return RunPlan(
        output_dir=tmp_path / "out",
        work_dir=tmp_path / "work" / "bidsapp_brainage_wf",
        card=card,  # type: ignore[arg-type]
        card_path=card_path,
        template=template,
        grid=template.mask,
        atlas=atlas,  # type: ignore[arg-type]
        atlas_table=table,
    )


@pytest.fixture
def skeleton(tmp_path: Path) -> Path:
    """A BIDS tree of empty files: two people, sessions, runs."""
    from niworkflows.utils.testing import generate_bids_skeleton

    root = tmp_path / "bids"
    runs = [{"run": "1", "suffix": "T1w"}, {"run": "2", "suffix": "T1w"}]
    generate_bids_skeleton(
        str(root),
        {
            "01": [
                {"session": "1", "anat": [{"suffix": "T1w"}]},
                {"session": "2", "anat": runs},
            ],
            "02": [{"anat": [{"suffix": "T1w"}]}],
        },
    )
    return root


@pytest.fixture
def scans(skeleton: Path) -> list[Scan]:
    from bidsapp_brainage.bids.names import scan_entities

    return [
        Scan(
            path=path,
            entities=scan_entities(path),
            age=Age(value=30.0, source="participants.tsv"),
            relative_path=path.relative_to(skeleton).as_posix(),
        )
        for path in sorted(skeleton.rglob("*_T1w.nii.gz"))
    ]
