"""Who the people are: sex, site, group and covariates; whether the model has seen them."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from bidsapp_brainage.errors import BrainageError, DataError, UsageError
from bidsapp_brainage.group.notes import Note
from bidsapp_brainage.io import read_tsv
from bidsapp_brainage.model.cards import AgeCard, find_card
from bidsapp_brainage.morphometry import card as morphometry

DEFAULT_SITE = "site"
#: Columns that the group level makes itself; a covariate of this name would replace them.
RESERVED = ("age", "gap", "participant_id")
#: Words that say nothing about which dataset it is.
_COMMON = frozenset(
    {"age", "ages", "and", "brain", "cohort", "control", "controls", "data", "dataset"}
    | {"derivatives", "for", "from", "hospital", "mri", "neuro", "open", "openneuro", "people"}
    | {"raw", "sample", "simulated", "study", "sub", "test", "the", "training", "university"}
    | {"with"}
)


@dataclass(frozen=True)
class ParticipantColumns:
    """Which columns of participants.tsv mean what.

    `group` has the groups that are compared, empty for none; `reference` is the group that others
    are compared with and that a correction is fitted on, empty for the most frequent one;
    covariates are further columns for the linear models, also of the quality table.
    """

    group: str = ""
    reference: str = ""
    site: str = ""
    covariates: tuple[str, ...] = ()


def load_people(
    output_dir: Path,
    bids_dir: Path,
    columns: ParticipantColumns,
    *,
    scan_columns: Iterable[str] = (),
) -> tuple[pd.DataFrame, list[str]]:
    """Read sex, site, group and covariates: one row per participant, as far as they are known.

    The ``participants.tsv`` of the derivatives is a subset of the columns of the raw one, which is
    read only if it is there. `scan_columns` are those of the quality table, which may be
    covariates, too. With the people come sentences about tables that could not be read.

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
    _check(columns, [str(name) for name in known.columns], [*map(str, scan_columns)])
    people = pd.DataFrame(index=known.index)
    sources = {"sex": "sex", "site": columns.site or DEFAULT_SITE, "group": columns.group}
    for name, source in sources.items():
        if source and source in known:
            people[name] = known[source].map(_text)
    for name in (name for name in columns.covariates if name in known):
        people[name] = known[name]
    _check_reference(columns, people)
    return people.rename_axis("participant_id").reset_index(), problems


def load_factors(path: Path) -> pd.DataFrame:
    """Read a table of factors: one row per participant, indexed by ``participant_id``.

    Raises
    ------
    DataError
        It is no table, or a participant has several rows.
    """
    table = read_tsv(path)
    factors = _by_person(table, path)
    if len(factors) < len(table):
        raise DataError(
            f"{path} has several rows for a participant: keep one row for each (`factors`)."
        )
    return factors.drop(columns="session_id", errors="ignore")


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


def _check(columns: ParticipantColumns, known: list[str], of_scans: list[str]) -> None:
    asked = [("`group_column`", columns.group), ("`site_column`", columns.site)]
    for option, name in asked:
        if name and name not in known:
            raise UsageError(_unknown(option, name, known))
    for name in columns.covariates:
        if name in RESERVED:
            raise UsageError(
                f"`covariates` {name}: age is in the models already, and the gap is what they "
                "explain; leave it out."
            )
        if name not in known and name not in of_scans:
            raise UsageError(_unknown("`covariates`", name, [*known, *of_scans]))
    if columns.reference and not columns.group:
        raise UsageError("`reference_group` needs `group_column`: name the column of the groups.")


def _unknown(option: str, name: str, known: list[str]) -> str:
    close = difflib.get_close_matches(name, known, n=1)
    hint = f" Did you mean {close[0]!r}?" if close else ""
    return (
        f"{option} {name}: participants.tsv (in OUTPUT_DIR or BIDS_DIR) has no such column with "
        f"values.{hint} Known: {', '.join(sorted(known)) or 'none'}."
    )


def _check_reference(columns: ParticipantColumns, people: pd.DataFrame) -> None:
    if not columns.reference:
        return
    groups = sorted(people["group"].dropna().unique())
    if columns.reference not in groups:
        close = difflib.get_close_matches(columns.reference, groups, n=1)
        hint = f" Did you mean {close[0]!r}?" if close else ""
        raise UsageError(
            f"`reference_group` {columns.reference}: no such value in column {columns.group!r}."
            f"{hint} Known: {', '.join(groups)}."
        )


def card_of(provenance: dict[str, object], models_dir: Path | None) -> AgeCard | None:
    """Card of the model that made the predictions; None if it is not installed here, or broken."""
    facts = provenance.get("Model")
    name = facts.get("Name") if isinstance(facts, dict) else None
    if not name:
        return None
    try:
        if str(name) in morphometry.list_cards():
            return morphometry.find_card(str(name))
        return find_card(str(name), models_dir)
    except BrainageError:
        return None


def training_notes(
    card: AgeCard | None, dataset_name: str, participants: Sequence[str]
) -> list[Note]:
    """Notes about whether people were in the training set; see :func:`training_overlap`."""
    if card is None:
        sentence = (
            "The card of the model is not installed here, so that nobody checked whether these "
            "people were in its training set."
        )
        return [Note("leakage", sentence)]
    sentence = training_overlap(card, dataset_name, participants)
    return [Note("leakage", sentence, "warning")] if sentence else []


def training_overlap(card: AgeCard, dataset_name: str, participants: Sequence[str]) -> str:
    """Warn if the name of the dataset or of its participants points to the training cohort.

    ``training.cohort`` of the card is compared with the ``Name`` of the dataset description and
    with labels such as ``sub-IXI012``: letters before the number often name the study. Names are
    all that is compared: an empty answer is no proof.
    """
    cohort = str(card.training.get("cohort", ""))
    words, name = _words(cohort), _words(dataset_name)
    prefixes = {_prefix(label) for label in participants}
    shared = [word for word in words if word in name]
    by_label = [word for word in words if word in prefixes]
    if not shared and not by_label:
        return ""
    what = (
        f"the name of this dataset ({dataset_name})" if shared else "the labels of its participants"
    )
    return (
        f"Model {card.name} was trained on '{cohort}', and {what} contains "
        f"'{(shared or by_label)[0].upper()}': some of these people were probably in its training "
        "set. Their errors are too small then, and accuracy, gaps and intervals must not be "
        "reported as those of new people."
    )


def _words(text: str) -> list[str]:
    words = re.findall(r"[a-z]+[a-z0-9]*", text.casefold().replace("-", ""))
    return [word for word in words if len(word) > 2 and word not in _COMMON]


def _prefix(label: str) -> str:
    match = re.match(r"[a-z]+", label.removeprefix("sub-").casefold())
    return match[0] if match else ""
