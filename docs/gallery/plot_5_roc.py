"""
How well the gap tells groups apart
===================================

Curves of sensitivity against false alarms on people who were left out: age and sex alone, the gap
alone, and both. The table beside it has the areas and what the gap adds, with intervals.
"""

# %%
# Made by the first example; or your output folder.
from pathlib import Path

import matplotlib.pyplot as plt

from bidsapp_brainage.io import read_tsv

results = Path("study/derivatives")
curves = read_tsv(results / "group_desc-sfcn2mm_grouproc.tsv")
areas = read_tsv(results / "group_desc-sfcn2mm_groupseparation.tsv").set_index("predictors")

# %%
figure, axes = plt.subplots(figsize=(4.5, 4.5))
axes.axline((0, 0), slope=1, color="grey", linewidth=1)
for predictors, curve in curves.groupby("predictors"):
    label = f"{predictors}: {areas.loc[predictors, 'auc']:.2f}"
    axes.step(curve["false_positive_rate"], curve["true_positive_rate"], where="post", label=label)
axes.set(xlabel="False alarms", ylabel="Sensitivity", aspect="equal")
axes.legend(title="Area under the curve", frameon=False)
plt.show()

# %%
areas[["auc", "ci95_lower", "ci95_upper", "added"]]
