"""Methods of explanation, in the order in which they run and are listed."""

from __future__ import annotations

from .cards import Method, Output

_TABLE = ("space", "atlas", "seg", "scale", "desc")
_MAP = ("space", "atlas", "seg", "scale", "res", "desc")


def _table(
    key: str, suffix: str, title: str, description: str, *, pooled: bool = False
) -> Output:  # fmt: skip
    return Output(
        key, suffix, ".tsv", description, title,
        entities=_TABLE, required=("desc",), desc="{model}", pooled=pooled,
    )  # fmt: skip


def _map(
    key: str, suffix: str, title: str, description: str, *, units: str = "year",
    desc: str = "{model}",
) -> Output:  # fmt: skip
    return Output(
        key, suffix, ".nii.gz", description, title,
        entities=_MAP, required=("space", "desc"), units=units, desc=desc,
    )  # fmt: skip


METHODS: tuple[Method, ...] = (
    Method(
        key="occlusion",
        family="occlusion",
        chosen="always",
        stage="occlusion",
        title="Occlusion",
        help="of regions, networks, lobes and hemispheres; always done",
        text="",
        outputs=(
            _table(
                "table",
                "occlusion",
                "Contributions of regions",
                "contributions: one row per atlas region, also for empty ones",
                pooled=True,
            ),
            _table(
                "groups",
                "occlusiongroups",
                "Networks, lobes and hemispheres",
                "contributions of networks, lobes and hemispheres, each occluded as a whole",
                pooled=True,
            ),
            _table(
                "baselines",
                "occlusionbaselines",
                "Contributions with every baseline",
                "contributions with every baseline of the run, long; the first baseline is that "
                "of the main table",
                pooled=True,
            ),
            _table(
                "controls",
                "occlusioncontrols",
                "Controls",
                "per baseline: outside the brain, outside the atlas, all regions at once against "
                "the sum of single regions",
            ),
        ),
        options=("null_parcels",),
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
                "Occlusion of cubes",
                "Change of the predicted age when a cube around the voxel is occluded.",
                desc="{model}cubes",
            ),
        ),
        options=("cube_mm",),
    ),
    Method(
        key="shapley",
        family="occlusion",
        stage="Shapley values",
        title="Shapley values",
        help="values of regions that add up",
        text="Shapley values of the regions were estimated from {shapley_permutations} random "
        "orders [@shapley].",
        outputs=(
            _table(
                "shapley",
                "shapley",
                "Shapley values",
                "values of regions that add up to the change with all regions occluded",
            ),
        ),
        options=("shapley_permutations",),
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
        outputs=(
            _table(
                "pairs",
                "occlusionpairs",
                "Interactions of the top regions",
                "interactions of the regions with the largest contributions",
            ),
        ),
    ),
    Method(
        key="lrp",
        family="attribution",
        stage="relevance propagation",
        title="Layer-wise relevance propagation",
        help="layer-wise relevance propagation",
        text="Layer-wise relevance propagation [@lrp; epsilon and z+ rules as in @hofmann] gave a "
        "second opinion, summed over the same regions.",
        outputs=(
            _table(
                "lrp",
                "lrp",
                "Layer-wise relevance propagation",
                "relevance summed over the same regions",
            ),
            _map(
                "lrp_map",
                "lrpmap",
                "Layer-wise relevance propagation",
                "Minus the relevance of each voxel for the predicted age (first order).",
            ),
        ),
        options=("null_parcels",),
        needs=("captum",),
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
            ),
            _map(
                "ig_map",
                "igmap",
                "Integrated gradients",
                "Minus the integrated gradients of the predicted age at each voxel.",
            ),
        ),
        options=("null_parcels",),
        needs=("captum",),
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
            ),
            _map(
                "noise_map",
                "noisemap",
                "Learned noise",
                "Importance: 1 minus the noise borne over the largest allowed.",
                units="1",
            ),
        ),
        options=("null_parcels",),
    ),
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
        text="",
        outputs=(
            _table(
                "agreement",
                "agreement",
                "Do explanations agree?",
                "rank agreement over regions between all explanations of this scan, one row per "
                "pair",
                pooled=True,
            ),
        ),
    ),
)
