"""
Predicted and true ages
=======================

Every person as a point, with the 95 % interval of the predicted age. Points on the diagonal are
predicted without error. The colour tells whose interval misses the true age.
"""

# %%
# The results of 100 simulated people, and the group level on them. With your own people this is
# what you have already.
from pathlib import Path

import bidsapp_brainage as ba
from bidsapp_brainage.demo.study import write_study

study = Path("study")
if not study.exists():
    write_study(study, 100)
results = study / "derivatives"
group = ba.group(
    results,
    bids_dir=study / "raw",
    group_column="diagnosis",
    reference_group="control",
    site_column="site",
)

# %%
# ``group.table`` finds a table by the end of its name.
import matplotlib.pyplot as plt

scans = group.table("brainage")
age, predicted = scans["chronological_age"], scans["predicted_age"]
missed = (age < scans["ci95_lower"]) | (age > scans["ci95_upper"])

figure, axes = plt.subplots(figsize=(5, 5))
axes.axline((50, 50), slope=1, color="grey", linewidth=1)
for rows, colour, label in ((~missed, "tab:blue", "inside"), (missed, "tab:red", "outside")):
    part = scans[rows]
    lengths = [
        part["predicted_age"] - part["ci95_lower"],
        part["ci95_upper"] - part["predicted_age"],
    ]
    axes.errorbar(age[rows], predicted[rows], lengths, fmt="o", ms=4, lw=0.6, c=colour, label=label)
axes.set(xlabel="Age (years)", ylabel="Predicted age (years)", aspect="equal")
axes.legend(title="True age lies", frameon=False)
plt.show()
