"""Methods sections of the pages: in four forms to copy, and the text of a group."""

from __future__ import annotations

from collections.abc import Mapping

from markupsafe import Markup

from bidsapp_brainage.bids.citation import (
    bibliography,
    cited_keys,
    render_html,
    render_latex,
    render_markdown,
)
from bidsapp_brainage.catalogue.quantity import AN_AGE, Quantity

_READ = (
    "Predictions, region contributions and quality measures were read from the tables of the "
    "participant level of *bidsapp-brainage*, a BIDS App [@bidsapps]; no image was processed "
    "again."
)
_ACCURACY = (
    "Accuracy was computed from raw predictions: mean absolute error, the same divided by the age "
    "range [@mindthegap], root mean squared error, coefficient of determination (1 - SSE/SST), "
    "Pearson correlation, mean gap (predicted minus chronological age), slope of the gap on age, "
    "and the error of answering everybody with the sample's mean age. Each scan counted; "
    "intervals are bias-corrected and accelerated bootstrap intervals [@bca] with {n_boot} "
    "resamples of participants, each with all of their scans, and percentile intervals where "
    "those are undefined; fewer than five participants have none. The coverage of the prediction "
    "intervals has a Wilson interval [@wilson], in which the scans of a participant count as one "
    "observation. Scans with a quality or doubt flag were kept; the accuracy without them stands "
    "beside. Outliers are more than 3.5 scaled median absolute deviations from the median "
    "[@iglewicz]. A gap is no rate of ageing [@rateofchange], and its clinical use has not been "
    "shown [@dorfel]."
)
_CALIBRATION = (
    "Predictions were calibrated for their site. A line of predicted on chronological age was "
    "fitted to the reference people of each site; its slope was shrunk towards that of the model "
    "card. Gaps are the predicted age minus that expected by this line, on the scale of the "
    "model's own line. Calibrated ages are the best guess from prediction, line and the ages of "
    "the reference people; the 95 % intervals about them are as wide as the errors of reference "
    "people who were left out demand. Every reference person has the values of the fit on the "
    "others; everybody else has those of the fit on all reference people of the site. All results "
    "but the contributions of regions are of these values."
)
_CONTRIBUTIONS = (
    "A region's contribution is the change of predicted age, with its sign, when the region is "
    "occluded, as in network occlusion sensitivity analysis [@abrol; @nosa]. Contributions were "
    "averaged within participants, then over participants, with t intervals; networks, lobes, "
    "hemispheres and other groups were occluded as one, so that their contribution is no sum or "
    'mean of those of their regions; where a table says "mean over its regions", each region was '
    "occluded by itself and the mean is weighted by volume. The mean was tested against zero by t "
    "tests with control of the false discovery rate [@fdr] within each level. Whether it has the "
    "same sign whatever replaces the region was tested by the largest p over all baselines where "
    "their means agree in sign, else 1, which is an intersection-union test [@berger], with the "
    "same control over all regions of the atlas: regions were not chosen by their sign before "
    "they were tested."
)


_RATINGS = (
    "People rated scans from 1 (exclude) to 4 (excellent); of several ratings of a scan the median "
    "counted, of two the lower. Results with and without scans of low ratings stand side by side. "
    "Agreement of raters is Cohen's kappa [@cohen], with quadratic weights [@weightedkappa] and "
    "without, with a jackknife interval over participants [@kappajackknife]."
)


_TARGETS = (
    "Every target of the model was scored by its type: numbers by errors, correlation and coverage "
    "of the intervals; classes by balanced accuracy (mean recall of the classes), area under the "
    "ROC curve, Brier score [@brier] and mean probability minus share of each class. Intervals are "
    "bootstrap intervals [@bca] with {n_boot} resamples of participants, that of the coverage is "
    "Wilson's [@wilson]."
)


def group_methods(
    *,
    n_boot: int,
    calibrated: bool,
    contributions: bool,
    ratings: bool = False,
    targets: bool = False,
    about: Quantity = AN_AGE,
) -> str:
    """Methods section of the page of a group, with citation keys (Markdown).

    `about` is what contributions explain; `targets` says whether there are others than an age.
    """
    parts = [
        f"{about.worded(_READ)} {_ACCURACY.format(n_boot=n_boot) if about.is_age else ''}".strip(),
        _TARGETS.format(n_boot=n_boot) if targets else "",
        _CALIBRATION if calibrated else "",
        about.worded(_CONTRIBUTIONS) if contributions else "",
        _RATINGS if ratings else "",
    ]
    return "\n\n".join(filter(None, parts))


def methods_forms(text: str) -> Mapping[str, object]:
    """A methods text with citation keys as HTML (``html``), ``md``, ``tex`` and ``bib``."""
    references = bibliography()
    return {
        "html": Markup(raised(render_html(text))),
        "md": render_markdown(text),
        "tex": render_latex(text),
        "bib": "\n\n".join(references[key].bibtex for key in cited_keys(text)),
    }


def raised(html: str) -> str:
    """Headings one level higher: on the page they stand right below that of the section."""
    return html.replace("<h4>", "<h3>").replace("</h4>", "</h3>")
