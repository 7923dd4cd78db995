"""Find out whether people were among those that the model was trained on."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bidsapp_brainage.errors import BrainageError
from bidsapp_brainage.model.cards import ModelCard, find_card

#: Words that say nothing about which dataset it is.
_COMMON = frozenset(
    {"age", "ages", "and", "brain", "cohort", "control", "controls", "data", "dataset"}
    | {"derivatives", "for", "from", "hospital", "mri", "neuro", "open", "openneuro", "people"}
    | {"raw", "sample", "simulated", "study", "sub", "test", "the", "training", "university"}
    | {"with"}
)


def card_of(provenance: dict[str, Any], models_dir: Path | None) -> ModelCard | None:
    """Card of the model that made the predictions, or None if it is not installed here."""
    facts = provenance.get("Model")
    name = facts.get("Name") if isinstance(facts, dict) else None
    if not name:
        return None
    try:
        return find_card(str(name), models_dir)
    except BrainageError:
        return None


def training_overlap(card: ModelCard, dataset_name: str, participants: Sequence[str]) -> str:
    """Warn if the name of the dataset or of its participants points to the training cohort.

    Parameters
    ----------
    card : ModelCard
        ``training.cohort`` is compared.
    dataset_name : str
        ``Name`` of the dataset description.
    participants : sequence of str
        Labels such as ``sub-IXI012``: letters before the number often name the study.

    Returns
    -------
    str
        A sentence; empty if nothing was found. Names are all that is compared: an empty answer
        is no proof.
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
    found = re.findall(r"[a-z]+[a-z0-9]*", text.casefold().replace("-", ""))
    return [word for word in found if len(word) > 2 and word not in _COMMON]


def _prefix(label: str) -> str:
    match = re.match(r"[a-z]+", label.removeprefix("sub-").casefold())
    return match[0] if match else ""
