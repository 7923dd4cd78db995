"""
Contributions on the brain
==========================

Mean contributions, painted on the regions of the atlas and drawn by nilearn. The simulated study
has the regions of the embedded atlas; with another atlas, name its image.
"""

# %%
# Made by the first example; or your output folder.
from importlib import resources
from pathlib import Path

import matplotlib.pyplot as plt
import nibabel as nib
import numpy as np
from nilearn.plotting import plot_stat_map

from bidsapp_brainage.explain.scores import paint_map
from bidsapp_brainage.io import read_tsv

results = Path("study/derivatives")
regions = read_tsv(results / "group_atlas-Simulated_desc-sfcn2mm_occlusionstats.tsv")
regions = regions[(regions["level"] == "region") & (regions["baseline"] == "background")]
regions = regions.astype({"index": int})
folder = resources.files("bidsapp_brainage") / "data" / "atlases"
atlas = nib.load(str(folder / "brainagedemo_dseg.nii.gz"))

# %%
# A region's label in the atlas is its ``index`` in the table.
labels = np.asarray(atlas.dataobj).astype(np.int32)
painted = paint_map(labels, regions["index"].tolist(), regions["mean_delta_age"].tolist())
image = nib.Nifti1Image(painted.astype(np.float32), atlas.affine)
plot_stat_map(
    image,
    display_mode="z",
    cut_coords=[-30, -10, 10, 30, 50],
    cmap="RdBu_r",
    title="Mean contribution (years)",
)
plt.show()
