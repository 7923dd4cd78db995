"""A small table of people of several datasets, for tests of what learns from morphometry."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from bidsapp_brainage.io import write_tsv

from .freesurfer import ASEG, DESIKAN


def write_table(path: Path, n: int = 120) -> Path:
    """Write people of 6 datasets whose cortex thins and whose ventricles grow with age."""
    random = np.random.default_rng(0)
    age = random.uniform(20, 80, n)
    size = random.normal(1.1e6, 8e4, n)
    columns = {
        "participant_id": [f"sub-{k:03d}" for k in range(n)],
        "dataset": [f"ds{k % 6}" for k in range(n)],
        "age": age,
        "BrainSegVolNotVent": size,
        "MaskVol": 1.4 * size,
        "eTIV": 1.4 * size,
        "IQ": random.normal(100, 15, n),
    }
    for _, name, volume in ASEG:
        growth = 1 + (age - 50) / 60 if "Ventricle" in name else 1 - (age - 50) / 400
        noise = random.normal(1, 0.05, n)
        columns[name] = volume * growth * noise * size / 1.1e6
    for side in ("lh", "rh"):
        for place, region in enumerate(DESIKAN):
            thickness = 2 + 0.02 * place - 0.004 * (age - 50) + random.normal(0, 0.1, n)
            columns[f"{side}_{region}_thickness"] = thickness
            columns[f"{side}_{region}_area"] = np.full(n, 500.0 + 10 * place)
            columns[f"{side}_{region}_volume"] = 800 * thickness * size / 1.1e6
    write_tsv(path, pd.DataFrame(columns))
    return path
