"""Outputs of networks as tables, and tables of several networks as one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
import torch

from bidsapp_brainage.model.outputs import AGE, Head, split

#: Column: how much the parts of a mixture, or members, differ.
MEMBER_SD = "member_sd"
#: Beginning of the columns with the age from one branch alone; its channel follows.
OF_BRANCH = "branch_age_"


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

    The SD of a number is that of the mixture, so networks that disagree widen it. Answers that are
    NaN, of branches whose image is not there, do not count.
    """
    result = tables[0].copy()
    for name in (MEMBER_SD, *(column for column in result if str(column).startswith(OF_BRANCH))):
        if name in result:
            result[name] = np.mean([table[name] for table in tables], axis=0)
    for head in heads:
        name = f"predicted_{head.name}"
        if head.coding == "classes":
            columns = [f"probability_{head.name}_{label}" for label in head.classes]
            result[columns] = np.nanmean([table[columns] for table in tables], axis=0)
            result[name] = _likeliest(result[columns].to_numpy(), head)
            continue
        means = np.array([table[name] for table in tables], dtype=float)
        sds = np.array([table[f"{name}_sd"] for table in tables], dtype=float)
        result[name] = np.nanmean(means, axis=0)
        result[f"{name}_sd"] = np.sqrt(np.nanmean(sds**2, axis=0) + np.nanvar(means, axis=0))
    return result


def join_branches(tables: Mapping[str, pd.DataFrame], heads: Sequence[Head]) -> pd.DataFrame:
    """Answer of a network with branches from those of its branches, by channel.

    Ages of the single branches are columns ``branch_age_<channel>``, NaN where the image of a
    channel is not there; ``member_sd`` is their SD.
    """
    result = average_tables(list(tables.values()), heads)
    name = f"predicted_{AGE}"
    if name not in result:
        return result
    ages = {f"{OF_BRANCH}{channel}": table[name] for channel, table in tables.items()}
    result = result.assign(**ages)
    return result.assign(**{MEMBER_SD: result[list(ages)].std(axis=1, ddof=1)})


def _likeliest(probabilities: np.ndarray, head: Head) -> list[str]:
    return [head.classes[index] for index in probabilities.argmax(axis=1)]
