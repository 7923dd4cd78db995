"""Methods of explanation as they are listed; those that read results of others run after them."""

from __future__ import annotations

from typing import Literal

from . import explanation_columns as e
from .cards import ATLAS, Column, Method, Output

_TABLE = ("space", *ATLAS, "desc")
_MAP = ("space", "res", "desc")


def _table(
    key: str, suffix: str, title: str, description: str, columns: tuple[Column, ...], *,
    pooled: bool = False, reading: str = "", always: bool = True,
) -> Output:  # fmt: skip
    return Output(
        key, suffix, ".tsv", description, title, always=always,
        entities=_TABLE, required=("space", "atlas", "desc"), desc="{model}",
        columns=columns, pooled=pooled, reading=reading,
    )  # fmt: skip


def _map(
    key: str, suffix: str, title: str, description: str, *, units: str = "year",
    desc: str = "{model}", reading: str = "",
    drawn: Literal["", "contributions", "ages"] = "",
) -> Output:  # fmt: skip
    return Output(
        key, suffix, ".nii.gz", description, title,
        entities=_MAP, required=_MAP, units=units, desc=desc,
        reading=reading, drawn=drawn,
    )  # fmt: skip


_OF_ONE_NETWORK: tuple[Method, ...] = (
    Method(
        key="occlusion",
        family="occlusion",
        chosen="always",
        stage="occlusion",
        title="Occlusion",
        help="of regions, networks, lobes and hemispheres; always done",
        text="Each region of the atlas {atlas} was brought to the T1w image by the inverse of the "
        "nonlinear registration and replaced, one at a time, by {baseline}; the signed change of "
        "the predicted age is the region's contribution (occlusion [@occlusion]; network occlusion "
        "sensitivity analysis [@nosa]). Networks, lobes, hemispheres, homologous pairs and tissue "
        "compartments were occluded in the same way.",
        further_text=(
            (
                "other_baselines",
                "All regions were also replaced by {other_baselines}, and the rank agreement of "
                "the results is reported. The sign of a contribution counts as stable where it is "
                "the same with all of them and larger than its standard deviation over the members "
                "of the ensemble.",
            ),
            (
                "null_parcels",
                "Contributions were compared with those of random connected parcels of the same "
                "size.",
            ),
        ),
        outputs=(
            _table(
                "table",
                "occlusion",
                "Contributions of regions",
                "contributions: one row per atlas region, also for empty ones",
                e.OCCLUSION,
                pooled=True,
            ),
            _table(
                "groups",
                "occlusiongroups",
                "Networks, lobes and hemispheres",
                "contributions of networks, lobes and hemispheres, each occluded as a whole",
                e.GROUPS,
                pooled=True,
                reading="Each group was hidden as a whole. Where this differs from the sum of its "
                "regions, the regions act together.",
            ),
            _table(
                "baselines",
                "occlusionbaselines",
                "Contributions with every baseline",
                "contributions with every baseline of the run, long; the first baseline is that "
                "of the main table",
                e.BASELINES,
                pooled=True,
            ),
            _table(
                "controls",
                "occlusioncontrols",
                "Controls",
                "per baseline: outside the brain, outside the atlas, all regions at once against "
                "the sum of single regions",
                e.CONTROLS,
                reading="Hiding what should not matter, and everything at once, shows how far the "
                "numbers of single regions can be trusted.",
            ),
        ),
        randomised=True,
        inputs="any",
    ),
    Method(
        key="modalities",
        family="occlusion",
        chosen="automatic",
        stage="occlusion in single modalities",
        title="Occlusion in single modalities",
        help="of regions in one modality alone; of models that see several",
        text="Each region was also occluded in one modality alone.",
        outputs=(
            _table(
                "modality_table",
                "occlusionmodalities",
                "Contributions of regions by modality",
                "contributions of regions, occluded in one modality alone, and in all; only of "
                "models that see several",
                e.MODALITIES,
                always=False,
                reading="What a region contributes by each image of the person. The answer is the "
                "mean over the images, so the contributions add up to that with the region hidden "
                "in all of them.",
            ),
        ),
        inputs="several",
    ),
    Method(
        key="cubes",
        family="occlusion",
        stage="occlusion of cubes",
        title="Occlusion of cubes",
        help="a map by sliding cubes",
        text="A map was made by occluding cubes of {cube_mm:g} mm.",
        outputs=(
            _map(
                "cubes_map",
                "occlusionmap",
                "Cube by cube",
                "Change of the predicted age when a cube around the voxel is occluded.",
                desc="{model}cubes",
                reading="The brain was hidden cube by cube, without an atlas.",
                drawn="contributions",
            ),
        ),
    ),
    Method(
        key="shapley",
        family="occlusion",
        stage="Shapley values",
        title="Shapley values",
        help="values of regions that add up",
        text="Shapley values of the regions were estimated from {shapley_permutations} random "
        "orders [@shapley].",
        inputs="any",
        outputs=(
            _table(
                "shapley",
                "shapley",
                "Shapley values",
                "values of regions that add up to the change with all regions occluded",
                e.SHAPLEY,
                reading="The mean effect of hiding a region after others, in random order.",
            ),
        ),
    ),
    Method(
        key="patches",
        family="occlusion",
        stage="ages of patches",
        title="Ages of patches",
        help="an age of every patch and region; only of models of the architecture patches",
        text="Every patch of the brain was given an age of its own [after @patchage], and every "
        "region the mean over its voxels.",
        outputs=(
            _table(
                "patches",
                "patchage",
                "An age of every region",
                "the age that the patches around each region give, beside their error in people "
                "not trained on",
                e.PATCHES,
                pooled=True,
                reading="Each region has the mean age of the patches that it lies in. Patches "
                "overlap and are larger than most regions, so neighbours have similar ages, and "
                "ages of patches are drawn to the mean age of the training people: look at the "
                "corrected gap, and at how large errors are where nothing is wrong.",
            ),
            _map(
                "patches_map",
                "patchagemap",
                "An age at every voxel",
                "Mean age of the patches around the voxel.",
                reading="Every voxel has the mean age of the patches around it. Patches are "
                "large, so the map is smooth and shows no borders of regions.",
                drawn="ages",
            ),
        ),
        architecture="patches",
    ),
    Method(
        key="curves",
        family="check",
        stage="deletion and insertion curves",
        title="Deletion and insertion",
        help="deletion and insertion of ranked regions",
        text="Regions were removed and restored one after another, ranked by their contribution, "
        "to see how far the ranking is faithful to the model.",
        outputs=(
            _table(
                "curves",
                "occlusioncurve",
                "Is the ranking faithful?",
                "deletion and insertion of ranked regions, beside random orders",
                e.CURVES,
                reading="Regions were hidden (deletion) or shown again (insertion) one after "
                "another, the most important first. The ranking is faithful to the network if the "
                "area is larger than with random orders.",
            ),
        ),
    ),
    Method(
        key="pairs",
        family="occlusion",
        stage="pairs of regions",
        title="Pairs of regions",
        help="interactions of the top regions",
        text="The regions with the largest contributions were also occluded in pairs.",
        inputs="any",
        outputs=(
            _table(
                "pairs",
                "occlusionpairs",
                "Interactions of the top regions",
                "interactions of the regions with the largest contributions",
                e.PAIRS,
                reading="What hiding two regions at once does beyond hiding each of them.",
            ),
        ),
    ),
    Method(
        key="lrp",
        family="attribution",
        stage="relevance propagation",
        title="Layer-wise relevance propagation",
        help="layer-wise relevance propagation",
        text="Layer-wise relevance propagation [@lrp; for brain age @hofmann] with the rules "
        "{lrp_rules} gave a second opinion, summed over the same regions.",
        outputs=(
            _table(
                "lrp",
                "lrp",
                "Layer-wise relevance propagation",
                "relevance summed over the same regions",
                e.LRP,
                pooled=True,
            ),
            _map(
                "lrp_map",
                "lrpmap",
                "Layer-wise relevance propagation",
                "Minus the relevance of each voxel for the predicted age (first order).",
            ),
        ),
        randomised=True,
    ),
    Method(
        key="ig",
        family="attribution",
        stage="integrated gradients",
        title="Integrated gradients",
        help="integrated gradients",
        text="Integrated gradients [@ig] with the same baselines gave a second opinion, summed "
        "over the same regions.",
        outputs=(
            _table(
                "ig",
                "ig",
                "Integrated gradients",
                "integrated gradients summed over the same regions, with every baseline",
                e.IG,
                pooled=True,
            ),
            _map(
                "ig_map",
                "igmap",
                "Integrated gradients",
                "Minus the integrated gradients of the predicted age at each voxel.",
            ),
        ),
        needs=("captum.attr",),
        randomised=True,
    ),
    Method(
        key="noise",
        family="attribution",
        stage="learned-noise map",
        title="Learned noise",
        help="learned-noise map",
        text="A map of how little noise each part of the brain bears before the prediction "
        "changes [after @bintsi] gave a second opinion, summed over the same regions.",
        outputs=(
            _table(
                "noise",
                "noise",
                "Learned noise",
                "how little noise each region bears before the prediction changes",
                e.NOISE,
                pooled=True,
            ),
            _map(
                "noise_map",
                "noisemap",
                "Learned noise",
                "Importance: 1 minus the noise borne over the largest allowed.",
                units="1",
            ),
        ),
    ),
)

METHODS: tuple[Method, ...] = (
    *_OF_ONE_NETWORK,
    Method(
        key="randomisation",
        family="check",
        stage="weight randomisation",
        title="Randomised networks",
        help="explanations of a destroyed network",
        text="As a sanity check the explanations were repeated for networks with ever more "
        "randomised layers, from the output down [@sanity].",
        outputs=(
            _table(
                "randomisation",
                "randomisation",
                "Randomised networks",
                "agreement of explanations with those of ever more randomised networks",
                e.randomisation(
                    {card.key: card.title for card in _OF_ONE_NETWORK if card.randomised}
                ),
                reading="Weights were replaced by random ones, from the output down. An "
                "explanation that depends on what the network learned changes: its rank "
                "correlation with that of the trained network falls.",
            ),
        ),
    ),
    Method(
        key="agreement",
        family="comparison",
        chosen="automatic",
        stage="agreement of explanations",
        title="Agreement",
        help="",
        text="",  # part of the text of the occlusion
        outputs=(
            _table(
                "agreement",
                "agreement",
                "Do explanations agree?",
                "rank agreement over regions between all explanations of this scan, one row per "
                "pair",
                e.AGREEMENT,
                pooled=True,
                reading="Rank correlation over regions between explanations of this scan: 1 is "
                "the same order, 0 none. Numbers marked (size) compare sizes only, because one of "
                "the two has no sign; they tend to be high, as large regions have large "
                "contributions in every explanation.",
            ),
        ),
    ),
)
