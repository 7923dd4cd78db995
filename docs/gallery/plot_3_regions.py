"""
Regions with intervals
======================

The twenty regions with the clearest mean contribution: by how many years the predicted age changes
when the region is hidden. Hollow points have another sign with another baseline. Do not report
them.
"""

# %%
# Made by the first example; or your output folder.
from pathlib import Path

import matplotlib.pyplot as plt

from bidsapp_brainage.io import read_tsv

results = Path("study/derivatives")
regions = read_tsv(results / "group_atlas-Simulated_desc-sfcn2mm_occlusionstats.tsv")
regions = regions[(regions["level"] == "region") & (regions["baseline"] == "background")]
regions = regions.sort_values("p").head(20).sort_values("mean_delta_age").reset_index(drop=True)

# %%
figure, axes = plt.subplots(figsize=(7, 6))
axes.axvline(0, color="grey", linewidth=1)
axes.hlines(regions.index, regions["ci95_lower"], regions["ci95_upper"], color="tab:blue")
faces = ["tab:blue" if stable else "white" for stable in regions["stable"].eq(True)]
axes.scatter(regions["mean_delta_age"], regions.index, c=faces, edgecolors="tab:blue", zorder=3)
axes.set_yticks(regions.index, regions["name"])
axes.set_xlabel("Mean contribution (years) with 95 % interval")
figure.tight_layout()
plt.show()
