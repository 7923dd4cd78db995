"""A plan and scans with tiny stand-ins for everything: enough to build graphs."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import nibabel as nib
import numpy as np
import pandas as pd
from nipype.pipeline.engine.utils import generate_expanded_graph

from bidsapp_brainage.atlas.registry import Atlas
from bidsapp_brainage.atlas.templates import TemplateFiles
from bidsapp_brainage.bids.ages import Age
from bidsapp_brainage.bids.collect import Scan
from bidsapp_brainage.bids.names import scan_entities
from bidsapp_brainage.interfaces.sinks import DerivativeSink, Kept
from bidsapp_brainage.model.outputs import Head
from bidsapp_brainage.workflows.plan import RunPlan

AGE = Head("age", "bins", "year", lower=0.0, width=2.0, n_bins=50)


def kept_outputs(workflow: Any) -> dict[str, Kept]:
    """What the sinks of a graph keep, by part, node and input: ``ds_anat_wf.ds_mask.mask``."""
    graph = generate_expanded_graph(workflow._create_flat_graph())
    return {
        ".".join([*node.fullname.split(".")[-2:], field]): kept
        for node in graph.nodes()
        if isinstance(node.interface, DerivativeSink)
        for field, kept in node.inputs.outputs.items()
    }


def make_template(folder: Path, name: str) -> TemplateFiles:
    paths = []
    for kind in ("T1w", "mask"):
        path = folder / f"tpl-{name}_{kind}.nii.gz"
        nib.save(nib.Nifti1Image(np.ones((4, 4, 4), np.uint8), np.eye(4)), path)
        paths.append(path)
    return TemplateFiles(name, paths[0], paths[1], skull_stripped=True)


def make_plan(folder: Path) -> RunPlan:
    """A plan with tiny stand-ins for template, model and atlas: enough to build graphs."""
    resources = folder / "resources"
    resources.mkdir()
    template = make_template(resources, "MNI152NLin2009aSym")
    card_path = resources / "tiny.json"
    card_path.write_text(json.dumps({"name": "tiny"}))
    weights = resources / "tiny.safetensors"
    weights.write_bytes(b"0")
    table = resources / "atlas.tsv"
    regions = pd.DataFrame({"index": [1], "name": ["one"]})
    regions.to_csv(table, sep="\t", index=False)
    card = SimpleNamespace(
        name="tiny",
        version="1.0.0",
        architecture={"id": "sfcn"},
        weights=(SimpleNamespace(path=weights, sha256="0" * 64),),
        input={
            "resolution_mm": 2.0,
            "shape": [8, 8, 8],
            "skull_stripped": True,
            "intensity": {"scaling": "brain_zscore"},
        },
        age_range=(20.0, 80.0),
        training={},
        bias_correction=None,
        heads=(AGE,),
        main_head=AGE,
        has_age_distribution=True,
        has_targets=False,
        licence="CC0",
        citation=(),
        citation_keys=(),
        metrics={},
        calibration={},
        folder=resources,
    )
    atlas = Atlas("BrainageDemo", None, 40, template.name, template.mask, regions)
    segmentation = SimpleNamespace(
        name="regions",
        version="1.0.0",
        path=card_path,
        weights=card.weights,
        grid={"resolution_mm": 2.0},
        labels=SimpleNamespace(n_classes=3),
        citation_keys=("synthseg",),
        licence="CC0",
        raw={"training": {"text": "It was not trained."}},
    )
    return RunPlan(
        output_dir=folder / "out",
        work_dir=folder / "work" / "bidsapp_brainage_wf",
        card=card,  # type: ignore[arg-type]
        card_path=card_path,
        template=template,
        grid=template.mask,
        atlas=atlas,
        atlas_table=table,
        segmentation=segmentation,  # type: ignore[arg-type]
    )


def make_scans(folder: Path) -> list[Scan]:
    """Scans of a BIDS tree of empty files: two people, sessions, runs."""
    from niworkflows.utils.testing import generate_bids_skeleton

    root = folder / "bids"
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
    return [
        Scan(
            path=path,
            entities=scan_entities(path),
            age=Age(value=30.0, source="participants.tsv"),
            relative_path=path.relative_to(root).as_posix(),
        )
        for path in sorted(root.rglob("*_T1w.nii.gz"))
    ]
