"""
Gaps of groups and sites
========================

The brain-age gap of every person without its dependence on age, by site and group. ``gap_kfold`` is
corrected by lines that were fitted on controls of the sample, never on the person.
"""

# %%
# Made by the first example; or your output folder.
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

from bidsapp_brainage.io import read_tsv

results = Path("study/derivatives")
scans = read_tsv(results / "group_desc-sfcn2mm_brainage.tsv")

# %%
# One column for each site and group; points are moved sideways to be told apart.
rng = np.random.default_rng(0)
figure, axes = plt.subplots(figsize=(7, 4))
places = []
for number, ((site, name), rows) in enumerate(scans.groupby(["site", "group"])):
    colour = "tab:red" if name == "patient" else "tab:blue"
    gaps = rows["gap_kfold"].to_numpy()
    axes.scatter(number + rng.uniform(-0.15, 0.15, len(gaps)), gaps, s=12, color=colour, alpha=0.6)
    axes.hlines(gaps.mean(), number - 0.3, number + 0.3, color=colour)
    places.append(f"{site}\n{name}")
axes.axhline(0, color="grey", linewidth=1)
axes.set_xticks(range(len(places)), places)
axes.set_ylabel("Corrected gap (years)")
plt.show()

# %%
# The numbers to report are those of the model with all covariates, not the means above.
pairs = read_tsv(results / "group_desc-sfcn2mm_grouppairs.tsv")
pairs[["group_a", "group_b", "difference", "ci95_lower", "ci95_upper", "p_holm"]]
