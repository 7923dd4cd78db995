"""Baselines of the occlusion; the functions that make the fills are in `explain.baselines`."""

from __future__ import annotations

from .cards import Baseline

BASELINES: tuple[Baseline, ...] = (
    Baseline(
        key="background",
        help="background",
        level="value of the background of the network's input",
        title="background",
        text="the background value of the image",
    ),
    Baseline(
        key="mean",
        help="mean (of the surroundings)",
        level="mean of the brain within two voxels around the region",
        title="mean around",
        text="the mean intensity around the region",
        outlined=True,
        only_regions=True,
    ),
    Baseline(
        key="closed",
        help="closed (by what lies around)",
        level="nearest voxel outside the region, as if the region had shrunk to nothing",
        title="nearest surroundings",
        text="what lies around it, as if it had shrunk to nothing",
        outlined=True,
        only_regions=True,
    ),
    Baseline(
        key="blur",
        help="blur",
        level="brain smoothed by a Gaussian of four voxels, blended in over the rim of the region",
        title="blurred brain",
        text="a heavily smoothed copy of the image",
        outlined=True,
    ),
    Baseline(
        key="template",
        help="template",
        level="the model's template at the same place, scaled like the image",
        title="template",
        text="the template's intensities at the same place",
    ),
)
