"""Who the people are: sex, site, group and covariates, from participants.tsv."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from bidsapp_brainage.errors import DataError, UsageError
from bidsapp_brainage.io import read_tsv

DEFAULT_SITE = "site"
#: Columns that the group level makes itself; a covariate of this name would replace them.
RESERVED = ("age", "gap", "participant_id")


@dataclass(frozen=True)
class Roles:
    """Which columns of participants.tsv mean what.

    Attributes
    ----------
    group : str
        Column with the groups that are compared; empty for none.
    reference : str
        Group that the others are compared with and that a correction is fitted on; empty for
        the most frequent one.
    site : str
        Column with the place of acquisition.
    covariates : tuple of str
        Further columns for the linear models; also columns of the quality table.
    """

    group: str = ""
    reference: str = ""
    site: str = ""
    covariates: tuple[str, ...] = ()


def load_people(
    output_dir: Path, bids_dir: Path, roles: Roles, *, scan_columns: Iterable[str] = ()
) -> tuple[pd.DataFrame, list[str]]:
    """Read sex, site, group and covariates.

    Parameters
    ----------
    output_dir : Path
        Derivatives; their ``participants.tsv`` is a subset of the columns of the raw one.
    bids_dir : Path
        Raw dataset. Only its ``participants.tsv`` is read, and only if it is there.
    roles : Roles
    scan_columns : iterable of str
        Columns of the quality table, which may serve as covariates, too.

    Returns
    -------
    people : DataFrame
        One row per participant: ``participant_id``, ``sex``, ``site``, ``group`` and covariates,
        as far as they are known.
    problems : list of str
        Sentences about tables that could not be read.

    Raises
    ------
    UsageError
        If a named column or group does not exist.
    """
    tables, problems = [], []
    for folder in (output_dir, bids_dir):
        path = folder / "participants.tsv"
        if not path.is_file() and folder == bids_dir:
            continue
        try:
            tables.append(_by_person(read_tsv(path), path))
        except DataError as error:
            problems.append(f"Sex and site may be unknown: {error}")
    known = pd.DataFrame(index=pd.Index([], name="participant_id"))
    for table in tables:
        known = known.combine_first(table)
    _check(roles, [str(name) for name in known.columns], [*map(str, scan_columns)])
    people = pd.DataFrame(index=known.index)
    sources = {"sex": "sex", "site": roles.site or DEFAULT_SITE, "group": roles.group}
    for name, source in sources.items():
        if source and source in known:
            people[name] = known[source].map(_text)
    for name in (name for name in roles.covariates if name in known):
        people[name] = known[name]
    _check_reference(roles, people)
    return people.rename_axis("participant_id").reset_index(), problems


def _by_person(table: pd.DataFrame, path: Path) -> pd.DataFrame:
    if "participant_id" not in table:
        raise DataError(f"{path} has no column participant_id.")
    labels = table["participant_id"].astype(str).str.removeprefix("sub-")
    table = table.assign(participant_id="sub-" + labels).drop_duplicates("participant_id")
    return table.set_index("participant_id").dropna(axis="columns", how="all")


def _text(value: object) -> str | None:
    """A label as text; sites and groups that are numbers are written without ``.0``."""
    if value is None or value != value:
        return None
    return str(value).removesuffix(".0") if isinstance(value, float) else str(value)


def _check(roles: Roles, known: list[str], of_scans: list[str]) -> None:
    asked = [("`group_column`", roles.group), ("`site_column`", roles.site)]
    for option, name in asked:
        if name and name not in known:
            raise UsageError(_unknown(option, name, known))
    for name in roles.covariates:
        if name in RESERVED:
            raise UsageError(
                f"`covariates` {name}: age is in the models already, and the gap is what they "
                "explain; leave it out."
            )
        if name not in known and name not in of_scans:
            raise UsageError(_unknown("`covariates`", name, [*known, *of_scans]))
    if roles.reference and not roles.group:
        raise UsageError("`reference_group` needs `group_column`: name the column of the groups.")


def _unknown(option: str, name: str, known: list[str]) -> str:
    close = difflib.get_close_matches(name, known, n=1)
    hint = f" Did you mean {close[0]!r}?" if close else ""
    return (
        f"{option} {name}: participants.tsv (in OUTPUT_DIR or BIDS_DIR) has no such column with "
        f"values.{hint} Known: {', '.join(sorted(known)) or 'none'}."
    )


def _check_reference(roles: Roles, people: pd.DataFrame) -> None:
    if not roles.reference:
        return
    groups = sorted(people["group"].dropna().unique())
    if roles.reference not in groups:
        close = difflib.get_close_matches(roles.reference, groups, n=1)
        hint = f" Did you mean {close[0]!r}?" if close else ""
        raise UsageError(
            f"`reference_group` {roles.reference}: no such value in column {roles.group!r}.{hint} "
            f"Known: {', '.join(groups)}."
        )
