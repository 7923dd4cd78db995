"""What harmonising sites does to measures and gaps of real people.

    python -m benchmarks.harmonisation measures TABLE --site COLUMN [--group COLUMN]
    python -m benchmarks.harmonisation gaps TABLE --site COLUMN

The first takes a table with ``participant_id``, ``age``, ``sex``, a column of sites and many
columns of numbers (named by a regular expression), one row per person. Effects are fitted on half
of the controls of each site. Printed of the other half: the share of the variance that sites
explain, how well the measures tell the age (ridge, by people left out), what the slopes on age have
become, and how well patients are told from controls of their own site by their gap. The second
takes a table with ``predicted_age`` and runs the group level of the app on it.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.linear_model import RidgeCV
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import KFold, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from bidsapp_brainage.bids.names import output_path
from bidsapp_brainage.io import read_tsv, write_json, write_tsv
from bidsapp_brainage.stats.correction.combat import share_of_sites, site_effects

MODEL = "measured"
LEAST = 10  # controls of a site, half of whom the effects are fitted on
METHODS = ("none", "offset", "combat")


def measures(options: argparse.Namespace) -> pd.DataFrame:
    """One row per method."""
    table = _people(options)
    columns = table.filter(regex=options.measures).columns
    table = table.dropna(subset=columns).reset_index(drop=True)
    control = table["control"].to_numpy()
    counts = table[control].groupby("site").size()
    table = table[table["site"].isin(counts.index[counts >= LEAST])].reset_index(drop=True)
    control, site = table["control"].to_numpy(), table["site"].to_numpy(str)
    rng = np.random.default_rng(0)
    order = pd.Series(rng.random(len(table))).where(control).groupby(site).rank()
    n_controls = pd.Series(control).groupby(site).transform("sum")
    fitted = control & (order <= n_controls / 2).to_numpy()
    held = control & ~fitted
    varies = [table.loc[part, columns].std() > 0 for part in (fitted, held)]
    columns = columns[varies[0] & varies[1]]
    values = table[columns].to_numpy(float)
    x = np.column_stack([table["age"], (table["sex"] == "F").astype(float)])
    print(
        f"{len(columns)} measures of {len(table)} people at {table['site'].nunique()} sites; "
        f"fitted on {fitted.sum()}, judged on {held.sum()} other controls and "
        f"{(~control).sum()} patients"
    )
    rows = []
    for method in METHODS:
        new = values
        if method != "none":
            combat = method == "combat"
            effects = site_effects(
                values[fitted], site[fitted], x[fitted], scales=combat, pooled=combat
            )
            new = effects.removed(values, site, x)
        slopes = [_slopes(part[held], x[held], site[held]) for part in (values, new)]
        predicted = _ages(new, x[:, 0], held)
        gap = predicted - x[:, 0]
        rows.append(
            {
                "method": method,
                "share of sites": share_of_sites(new[held], site[held], x[held]).mean(),
                "by chance": (len(set(site[held])) - 1) / (held.sum() - 3),
                "R2 of age": 1 - (gap[held] ** 2).sum() / x[held, 0].var() / held.sum(),
                "MAE (years)": np.abs(gap[held]).mean(),
                "ratio of slopes": np.polyfit(*slopes, 1)[0],
                "r of slopes": np.corrcoef(*slopes)[0, 1],
                "site in gap": share_of_sites(gap[held, None], site[held], x[held])[0],
                "AUC of patients": _auc(gap, x, control & held, ~control, site),
            }
        )
    return pd.DataFrame(rows)


def _people(options: argparse.Namespace) -> pd.DataFrame:
    table = read_tsv(options.table).rename(columns={options.site: "site"})
    control = pd.Series(True, index=table.index)
    if options.group:
        control = table[options.group].astype(str).str.fullmatch(options.controls)
    facts = {"site": table["site"].astype(str), "control": control}
    table = pd.concat([table.drop(columns="site"), pd.DataFrame(facts)], axis=1)
    return table.dropna(subset=["age", "sex", "site"])


def _slopes(values: np.ndarray, x: np.ndarray, site: np.ndarray) -> np.ndarray:
    """Slope of each measure on age, in SDs of the measure, given sex and site."""
    design = np.hstack([x, site[:, None] == np.unique(site)])
    return np.linalg.lstsq(design, values / values.std(axis=0))[0][0]


def _ages(values: np.ndarray, age: np.ndarray, learned: np.ndarray) -> np.ndarray:
    """Predicted age of everybody; of those that are learned from by people left out."""
    model = make_pipeline(StandardScaler(), RidgeCV(np.logspace(0, 5, 11)))
    predicted = model.fit(values[learned], age[learned]).predict(values)
    folds = KFold(10, shuffle=True, random_state=0)
    predicted[learned] = cross_val_predict(model, values[learned], age[learned], cv=folds)
    return predicted


def _auc(
    gap: np.ndarray, x: np.ndarray, control: np.ndarray, patient: np.ndarray, site: np.ndarray
) -> float:
    """AUC of gaps, given age and sex, of patients against controls at the same site (mean)."""
    both = [
        s
        for s in np.unique(site)
        if min((patient & (site == s)).sum(), (control & (site == s)).sum()) >= 5
    ]
    if not both:
        return np.nan
    ones = np.column_stack([np.ones(len(x)), x])
    rest = gap - ones @ np.linalg.lstsq(ones[control], gap[control])[0]
    areas = []
    for name in both:
        own = (control | patient) & (site == name)
        areas.append(roc_auc_score(patient[own], rest[own]))
    return float(np.mean(areas))


def gaps(options: argparse.Namespace) -> pd.DataFrame:
    """Rows of the table ``harmonisation`` of the group level, for each method."""
    table = _people(options).assign(gap=lambda rows: rows["predicted_age"] - rows["age"])
    found = []
    for method in METHODS[1:]:
        with tempfile.TemporaryDirectory() as folder:
            root = Path(folder) / "derivatives"
            _write(root, table)
            command = [
                sys.executable,
                "-m",
                "bidsapp_brainage.cli.run",
                str(root / "raw"),
                str(root),
            ]
            subprocess.run([*command, "group", "--harmonise", method], check=True)
            rows = read_tsv(output_path(root, "harmonisation", {}, model=MODEL))
            found.append(rows.assign(method=method))
    return pd.concat(found).drop(columns=["n_measures"])


def _write(root: Path, table: pd.DataFrame) -> None:
    """Predictions as the participant level leaves them."""
    root.mkdir(parents=True)
    write_json(root / "dataset_description.json", {"Name": "measured", "BIDSVersion": "1.11.1"})
    people = table[["participant_id", "age", "sex", "site"]]
    write_tsv(root / "participants.tsv", people)
    for row in table.to_dict("records"):
        label = str(row["participant_id"]).removeprefix("sub-")
        facts = {name: row[name] for name in ("predicted_age", "gap")}
        facts |= {"model": MODEL, "chronological_age": row["age"]}
        path = output_path(root, "brainage", {"sub": label}, model=MODEL)
        write_tsv(path, pd.DataFrame([facts]))


def main() -> None:
    """Print the numbers."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=("measures", "gaps"))
    parser.add_argument("table", type=Path)
    parser.add_argument("--site", default="site")
    parser.add_argument("--group", default="")
    parser.add_argument("--controls", default="control", help="regular expression")
    parser.add_argument("--measures", default="thickness$|_volume$", help="regular expression")
    options = parser.parse_args()
    found = measures(options) if options.what == "measures" else gaps(options)
    print(found.round(3).to_string(index=False))


if __name__ == "__main__":
    main()
