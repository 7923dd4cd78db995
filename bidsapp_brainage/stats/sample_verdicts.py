"""Whether the results of a sample can be used: facts about all of its scans in, a verdict out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from bidsapp_brainage.stats.verdicts import Level, Reason, Verdict, ordered

#: Of people inside 95 % intervals: below the first even with luck, intervals do not hold; below
#: the second, the model does not know such people.
_HOLDS, _KNOWS = 0.92, 0.80
#: Shares of scans or people.
_FEW, _MANY = 0.10, 0.50
_MOST_LOOKED_AT = 0.20


@dataclass(frozen=True)
class Estimate:
    """A value with its 95 % interval; the ends are None where there is none."""

    value: float
    lower: float | None = None
    upper: float | None = None

    @property
    def excludes_zero(self) -> bool:
        """Whether the interval is known and does not hold 0."""
        if self.lower is None or self.upper is None:
            return False
        return self.lower > 0 or self.upper < 0


@dataclass(frozen=True)
class SampleFacts:
    """What is known of a sample; None where it is not.

    Attributes
    ----------
    n_scans, n_people : int
        With a prediction.
    n_unusable, n_doubtful : int
        Scans whose verdict is ``do not use`` and ``look closer``.
    n_missing : int
        People without any prediction.
    mae, mean_age_mae : float or None
        Mean absolute error of the model, and of answering everybody with the mean age (years).
    gain : Estimate or None
        The second minus the first.
    coverage : Estimate or None
        Share of true ages inside the 95 % intervals.
    slope, corrected_slope : Estimate or None
        Change of the gap, and of the corrected gap, for each year of age.
    age_range : tuple of two floats, or None
        Youngest and oldest (years).
    of_ages : bool
        The model predicts an age; of others nothing is said of accuracy.
    leakage, collection : sequence of str
        Warnings: people of the training cohort; scans that were not processed alike, or tables that
        could not be read.
    """

    n_scans: int
    n_people: int
    n_unusable: int = 0
    n_doubtful: int = 0
    n_missing: int = 0
    mae: float | None = None
    mean_age_mae: float | None = None
    gain: Estimate | None = None
    coverage: Estimate | None = None
    slope: Estimate | None = None
    corrected_slope: Estimate | None = None
    age_range: tuple[float, float] | None = None
    of_ages: bool = True
    leakage: Sequence[str] = ()
    collection: Sequence[str] = ()


def sample_verdict(facts: SampleFacts) -> Verdict:
    """Judge the results of a sample.

    ``do not use``: people of the training cohort, a model that is worse than answering the mean
    age, intervals that hold fewer than 80 % of ages, most scans unusable or without a prediction.
    ``look closer``: a model that is not shown to be better than the mean age, intervals that do not
    hold, a trend of the (corrected) gap with age, more than 10 % of people without a prediction,
    any unusable scan, more than 20 % doubtful ones, scans that were not processed alike.
    """
    reasons = [
        *(_leak(sentence) for sentence in facts.leakage),
        *(_accuracy(facts) if facts.of_ages else ()),
        *_coverage(facts),
        *_trend(facts),
        *_failures(facts),
        *_scans(facts),
        *(_unlike(sentence) for sentence in facts.collection),
    ]
    return ordered(reasons, "sample")


def _leak(sentence: str) -> Reason:
    return Reason(
        "leakage",
        "do not use",
        "Some of these people were probably in the training cohort",
        sentence,
        "Run a model that did not learn from these people; report no accuracy from this one.",
    )


def _unlike(sentence: str) -> Reason:
    title = "Not all scans were processed alike, or a table could not be read"
    remedy = "Run the participant level with one version for all before scans are compared."
    return Reason("collection", "look closer", title, sentence, remedy)


def _accuracy(facts: SampleFacts) -> list[Reason]:
    """Whether the model says more than the mean age."""
    if facts.mae is None or facts.mean_age_mae is None or facts.gain is None:
        return [
            Reason(
                "accuracy",
                "look closer",
                "No chronological age is known",
                "Nobody can say how well the model works for these people.",
                "Add ages of at least some of them.",
            )
        ]
    level, title = _against_mean_age(facts.gain)
    text = (
        f"Mean absolute error {facts.mae:.1f} years; answering everybody with the mean age "
        f"of the sample {facts.mean_age_mae:.1f}."
    )
    if level == "usable":
        return [Reason("accuracy", level, title, text)]
    if facts.gain.lower is None:
        return [Reason("accuracy", level, title, text, "Report no accuracy of this sample.")]
    if facts.age_range is not None:
        low, high = facts.age_range
        text += (
            f" Ages are from {low:.0f} to {high:.0f}: the fewer years they span, the better is the "
            "mean age, which nobody knows of a single new person."
        )
    remedy = (
        "Look at the scatter plot: an offset or a wrong slope can be calibrated on controls of the "
        "same scanner; errors without any order cannot."
    )
    return [Reason("accuracy", level, title, text, remedy)]


def _against_mean_age(gain: Estimate) -> tuple[Level, str]:
    if gain.excludes_zero and gain.value > 0:
        return "usable", "The model beats the mean age"
    if gain.excludes_zero:
        return "do not use", "The model is worse than answering everybody with the mean age"
    if gain.lower is None:
        return "look closer", "Too few people tell whether the model beats the mean age"
    return "look closer", "The model is not shown to beat the mean age"


def _coverage(facts: SampleFacts) -> list[Reason]:
    """Whether the intervals hold as many true ages as they should."""
    found = facts.coverage
    if found is None or found.lower is None or found.upper is None:
        return []
    text = (
        f"{100 * found.value:.0f} % of true ages lie inside their 95 % interval (95 % CI "
        f"{100 * found.lower:.0f} to {100 * found.upper:.0f} %)."
    )
    if found.upper >= _HOLDS:
        few = found.lower < _KNOWS
        title = "Too few people tell whether the intervals hold" if few else "The intervals hold"
        return [Reason("coverage", "usable", title, text)]
    level: Level = "do not use" if found.upper < _KNOWS else "look closer"
    remedy = (
        "The model does not know this scanner or population: calibrate it on controls of each "
        "site, and do not report the intervals as they are."
    )
    return [Reason("coverage", level, "The intervals do not hold", text, remedy)]


def _trend(facts: SampleFacts) -> list[Reason]:
    """Whether the gap changes with age, also after its correction."""
    if facts.slope is None or not facts.slope.excludes_zero:
        return []
    text = f"The gap changes by {_signed(facts.slope.value)} years for each year of age"
    corrected = facts.corrected_slope
    if corrected is not None and not corrected.excludes_zero:
        text += f", the corrected gap by {_signed(corrected.value)} (no more than chance)."
        title = "The gap as predicted depends on age"
        return [Reason("trend", "usable", title, text, "Use the corrected gap.")]
    if corrected is not None:
        text += f", the corrected gap still by {_signed(corrected.value)}"
    title = "The gap depends on age"
    remedy = (
        "Use age as a covariate wherever gaps are compared; groups of different age differ in "
        "their gaps without any disease."
    )
    return [Reason("trend", "look closer", title, f"{text}.", remedy)]


def _failures(facts: SampleFacts) -> list[Reason]:
    total = facts.n_missing + facts.n_people
    if not facts.n_missing:
        return []
    share = facts.n_missing / total
    level: Level = "usable" if share <= _FEW else "look closer" if share <= _MANY else "do not use"
    title = f"{facts.n_missing} of {total} people have no prediction"
    text = "Who fails is not who happens to fail: movement, age and disease make it more likely."
    return [Reason("failures", level, title, text, "Their reasons stand in the table of who was "
        "left out; mend them and run both levels again.")]  # fmt: skip


def _scans(facts: SampleFacts) -> list[Reason]:
    """How many scans have a bad verdict of their own."""
    bad, doubtful, n = facts.n_unusable, facts.n_doubtful, facts.n_scans
    if not bad and not doubtful:
        return []
    level: Level = "look closer" if bad or doubtful > _MOST_LOOKED_AT * n else "usable"
    if bad > _MANY * n:
        level = "do not use"
    parts = [f"{bad} should not be used"] if bad else []
    parts += [f"{doubtful} should be looked at closer"] if doubtful else []
    title = f"Of {n} scans {' and '.join(parts)}"
    text = "They are in all numbers of this page."
    remedy = (
        "Look at the pages of the scans that the table under Quality names, and rate them: then "
        "results with and without those rated low stand under Sensitivity."
    )
    return [Reason("scans", level, title, text, remedy)]


def _signed(value: float) -> str:
    return f"{value:+.2f}".replace("-", "\N{MINUS SIGN}")
