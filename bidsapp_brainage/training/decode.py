"""Outputs of networks as tables, and tables of several networks as one."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
import torch

from bidsapp_brainage.model.outputs import Head, split

#: Column: how much the parts of a mixture, or members, differ.
MEMBER_SD = "member_sd"


def decode_table(outputs: torch.Tensor, heads: Sequence[Head]) -> pd.DataFrame:
    """What a network's outputs (N, n_outputs) say about every scan.

    Columns are for numbers ``predicted_<name>`` and ``predicted_<name>_sd`` (of the distribution
    over bins; 0 for a scalar), for classes ``predicted_<name>`` and ``probability_<name>_<class>``.
    """
    columns: dict[str, object] = {}
    for head, raw in zip(heads, split(heads, outputs).values(), strict=True):
        probabilities, value = head.decode(raw)
        if head.coding == "classes" and probabilities is not None:
            columns[f"predicted_{head.name}"] = _likeliest(probabilities.numpy(), head)
            for index, label in enumerate(head.classes):
                columns[f"probability_{head.name}_{label}"] = probabilities[:, index].numpy()
            continue
        spread = torch.zeros_like(value)
        if probabilities is not None:
            distance = torch.from_numpy(head.bin_centers) - value[:, None]
            spread = (probabilities * distance.square()).sum(dim=1).sqrt()
        columns[f"predicted_{head.name}"] = value.numpy()
        columns[f"predicted_{head.name}_sd"] = spread.numpy()
    return pd.DataFrame(columns)


def average_tables(tables: Sequence[pd.DataFrame], heads: Sequence[Head]) -> pd.DataFrame:
    """Mean of several networks' distributions for the same scans, in the same order.

    The SD of a number is that of the mixture, so networks that disagree widen it.
    """
    result = tables[0].copy()
    if MEMBER_SD in result:
        result[MEMBER_SD] = np.mean([table[MEMBER_SD] for table in tables], axis=0)
    for head in heads:
        name = f"predicted_{head.name}"
        if head.coding == "classes":
            columns = [f"probability_{head.name}_{label}" for label in head.classes]
            result[columns] = np.mean([table[columns] for table in tables], axis=0)
            result[name] = _likeliest(result[columns].to_numpy(), head)
            continue
        means = np.array([table[name] for table in tables], dtype=float)
        sds = np.array([table[f"{name}_sd"] for table in tables], dtype=float)
        result[name] = means.mean(axis=0)
        result[f"{name}_sd"] = np.sqrt((sds**2).mean(axis=0) + means.var(axis=0))
    return result


def _likeliest(probabilities: np.ndarray, head: Head) -> list[str]:
    return [head.classes[index] for index in probabilities.argmax(axis=1)]
