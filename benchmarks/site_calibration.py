"""With how many controls a site is worth calibrating: a simulation with known truth.

    python -m benchmarks.site_calibration

Predictions follow ``intercept + slope * age`` and scatter. At home they do so as the card of
`sfcn2mm` 2.0.0 says; simulated sites shift them, or shrink their scale as the fourth scanner of
``docs/models.md`` does. Controls and patients do not differ, so that every difference found is
false. Patients are older than controls, and most of them come from the simulated site, while a
site like home gives controls and a few patients. Prints the tables of ``docs/calibration.md``.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy import stats

from bidsapp_brainage.model.bias_correction import BiasCorrection
from bidsapp_brainage.stats.correction.site import SLOPE_SD, fit_each_without, fit_site, refusal

HOME = BiasCorrection(slope=0.7621, intercept=11.3717, source="sfcn2mm 2.0.0", residual_sd=6.4344)
HALF_WIDTH = 15.4  # years, mean of the 95 % intervals on that card
CENTRE = 48.0  # age at which a site's offset is measured
N_CONTROLS = (10, 20, 50, 100)
N_NEW, N_PATIENTS, N_PATIENTS_HOME = 500, 50, 10
ADULTS, PATIENTS = (20.0, 80.0), (35.0, 80.0)


@dataclass(frozen=True)
class Site:
    """A scanner: what it does to predictions."""

    name: str
    offset: float
    slope: float
    sd: float

    def predict(self, age: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Predicted ages of people of these ages."""
        at_centre = HOME.intercept + HOME.slope * CENTRE + self.offset
        return at_centre + self.slope * (age - CENTRE) + rng.normal(0, self.sd, len(age))


SITES = (
    Site("like home", 0, HOME.slope, 6.4),
    Site("nine years too old", 9, HOME.slope, 6.4),
    Site("half of the scale, eight years too young", -8, 0.54, 4.6),
)


def card_gap(age: np.ndarray, predicted: np.ndarray) -> np.ndarray:
    """Gap by the line of the card, as the participant level corrects it."""
    return predicted - (HOME.intercept + HOME.slope * age)


def controls_and_patients(
    site: Site,
    n: int,
    rng: np.random.Generator,
    card: BiasCorrection,
    ages: Sequence[tuple[float, float]] = (ADULTS, PATIENTS),
    n_patients: int = N_PATIENTS,
) -> Mapping[str, np.ndarray]:
    """Gaps of controls and patients, and errors of new people like the controls."""
    age, older, new = (
        rng.uniform(*span, k)
        for span, k in zip((*ages, ages[0]), (n, n_patients, N_NEW), strict=True)
    )
    predicted, of_patients, of_new = (site.predict(part, rng) for part in (age, older, new))
    fit, each = fit_site(age, predicted, card), fit_each_without(age, predicted, card)
    people = zip(each, predicted, age, strict=True)
    error = fit.line.best_age(of_new) - new
    return {
        "controls_before": card_gap(age, predicted),
        "controls_after": np.array([float(one.line.gap(y, a)) for one, y, a in people]),
        "patients_before": card_gap(older, of_patients),
        "patients_after": fit.line.gap(of_patients, older),
        "error_before": of_new - new,
        "error_after": error,
        "gap_before": card_gap(new, of_new),
        "gap_after": fit.line.gap(of_new, new),
        "inside_before": np.abs(of_new - new) <= HALF_WIDTH,
        "inside_after": np.abs(error) <= fit.half_width,
    }


def replicate(site: Site, n: int, rng: np.random.Generator) -> dict[str, float]:
    """Results of one simulated study."""
    here = controls_and_patients(site, n, rng, HOME)
    home = controls_and_patients(SITES[0], n, rng, HOME, n_patients=N_PATIENTS_HOME)
    row = {}
    for when in ("before", "after"):
        controls, patients = (
            np.concatenate([part[f"{who}_{when}"] for part in (here, home)])
            for who in ("controls", "patients")
        )
        row |= {
            f"mae_{when}": np.abs(here[f"error_{when}"]).mean(),
            f"bias_{when}": abs(here[f"gap_{when}"].mean()),
            f"false_{when}": abs(patients.mean() - controls.mean()),
            f"found_{when}": stats.ttest_ind(patients, controls, equal_var=False).pvalue < 0.05,
            f"inside_{when}": here[f"inside_{when}"].mean(),
        }
    return row | {"better": row["mae_after"] < row["mae_before"]}


def worth(repeats: int, seed: int) -> str:
    """The main table: every site with every number of controls."""
    lines = [
        "| site | controls | MAE | bias of the gap | false difference of groups | found false, p < "
        ".05 | inside the 95 % interval | MAE better in |",
        "|---|---|---|---|---|---|---|---|",
    ]
    rng = np.random.default_rng(seed)
    for site in SITES:
        for n in N_CONTROLS:
            rows = [replicate(site, n, rng) for _ in range(repeats)]
            mean = {name: float(np.mean([row[name] for row in rows])) for name in rows[0]}
            lines.append(
                f"| {site.name} | {n} | {_both(mean, 'mae')} | {_both(mean, 'bias')} | "
                f"{_both(mean, 'false')} | {_both(mean, 'found', percent=True)} | "
                f"{_both(mean, 'inside', percent=True)} | {100 * mean['better']:.0f} % |"
            )
    return "\n".join(lines)


def _both(mean: Mapping[str, float], name: str, *, percent: bool = False) -> str:
    before, after = mean[f"{name}_before"], mean[f"{name}_after"]
    return f"{100 * before:.0f} → {100 * after:.0f} %" if percent else f"{before:.1f} → {after:.1f}"


def shrinkage(repeats: int, seed: int) -> str:
    """False difference of patients 20 years older, by how far the card's slope is believed."""
    beliefs = {
        "offset only": replace(HOME, residual_sd=1e6),
        "SD 0.1": replace(HOME, residual_sd=HOME.residual_sd * SLOPE_SD / 0.1),
        f"SD {SLOPE_SD} (used)": HOME,
        "own slope only": replace(HOME, residual_sd=None),
    }
    lines = [
        f"| site | ages of controls | controls | {' | '.join(beliefs)} | refused |",
        "|---|---|---|" + "---|" * (len(beliefs) + 1),
    ]
    for site in (SITES[0], SITES[2]):
        for ages in ((38.0, 48.0), (33.0, 53.0), (20.0, 66.0)):
            for n in (10, 20, 50):
                cells = [
                    f"{_false(site, n, ages, card, repeats, seed):.1f}" for card in beliefs.values()
                ]
                share = _refused(site, n, ages, repeats, seed)
                span = f"{ages[0]:.0f}-{ages[1]:.0f}"
                cells.append(f"{100 * share:.0f} %")
                lines.append(f"| {site.name} | {span} | {n} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _false(
    site: Site, n: int, ages: tuple[float, float], card: BiasCorrection, repeats: int, seed: int
) -> float:
    rng = np.random.default_rng(seed)
    older = (ages[0] + 20, ages[1] + 20)
    differences = []
    for _ in range(repeats):
        got = controls_and_patients(site, n, rng, card, (ages, older), n_patients=200)
        differences.append(got["patients_after"].mean() - got["gap_after"].mean())
    return float(np.sqrt(np.mean(np.square(differences))))


def _refused(site: Site, n: int, ages: tuple[float, float], repeats: int, seed: int) -> float:
    rng = np.random.default_rng(seed)
    samples = [rng.uniform(*ages, n) for _ in range(repeats)]
    return float(np.mean([bool(refusal(age, site.predict(age, rng), HOME)) for age in samples]))


def main(arguments: Sequence[str] | None = None) -> int:
    """Print both tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=300)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args(arguments)
    print(worth(options.repeats, options.seed), end="\n\n", flush=True)
    print(shrinkage(options.repeats, options.seed))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
