"""What sidecars say about a model and the people that it was trained on: written, and read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from bidsapp_brainage.io import file_sha256
from bidsapp_brainage.model.cards import AgeCard
from bidsapp_brainage.model.description import interval_text


@dataclass(frozen=True)
class TrainingCohort:
    """Training cohort of a model; ages in years, None where the model card does not tell.

    Predictions for people of the cohort whom the network had not seen are on average
    ``slope * age + intercept``, with ``residual_sd`` years around it.
    """

    age_range: tuple[float, float] | None = None
    name: str = ""
    n_people: int | None = None
    age_mean: float | None = None
    age_sd: float | None = None
    slope: float | None = None
    intercept: float | None = None
    residual_sd: float | None = None

    @classmethod
    def from_model(cls, model: object) -> TrainingCohort:
        """Read the object ``Model`` of a sidecar; what is missing or odd becomes None."""
        facts = model if isinstance(model, Mapping) else {}
        trained, expected = (_part(facts, key) for key in ("TrainingCohort", "ExpectedPrediction"))
        people = _number(trained, "NumberOfPeople")
        return cls(
            age_range=_range(facts.get("AgeRange")),
            name=str(trained.get("Name") or ""),
            n_people=None if people is None else int(people),
            age_mean=_number(trained, "AgeMean"),
            age_sd=_number(trained, "AgeSD"),
            slope=_number(expected, "Slope"),
            intercept=_number(expected, "Intercept"),
            residual_sd=_number(expected, "ResidualSD"),
        )

    def expected(self, age: float) -> tuple[float, float] | None:
        """Mean and SD (years) of predictions for unseen people of this age; None if unknown."""
        if self.slope is None or self.intercept is None or self.residual_sd is None:
            return None
        return self.slope * age + self.intercept, self.residual_sd


def model_facts(card: AgeCard) -> dict[str, object]:
    """Object ``Model`` of the sidecars of all tables; the people as far as the card tells."""
    return {
        "Name": card.name,
        "Version": card.version,
        "WeightsSHA256": weights_sha256(card),
        "AgeRange": list(card.age_range),
        "License": card.licence,
        **({} if (told := card.main_head.quantity).is_age else {"Explained": told.facts()}),
        **({"Interval": text} if (text := interval_text(card)) else {}),
        **_cohort_facts(card),
    }


def weights_sha256(card: AgeCard) -> list[str]:
    """SHA-256 of every weight file."""
    return [weight.sha256 or file_sha256(weight.path) for weight in card.weights]


def _cohort_facts(card: AgeCard) -> dict[str, dict[str, object]]:
    people = {
        "Name": card.training.get("cohort"),
        "NumberOfPeople": card.training.get("n_people"),
        "AgeMean": card.training.get("age_mean"),
        "AgeSD": card.training.get("age_sd"),
    }
    facts: dict[str, dict[str, object]] = {
        "TrainingCohort": {key: value for key, value in people.items() if value is not None}
    }
    bias = card.bias_correction
    if bias is not None and bias.residual_sd is not None:
        facts["ExpectedPrediction"] = {
            "Slope": bias.slope,
            "Intercept": bias.intercept,
            "ResidualSD": bias.residual_sd,
            "Source": bias.source,
        }
    return {key: value for key, value in facts.items() if value}


def _part(facts: Mapping[str, object], key: str) -> Mapping[str, object]:
    part = facts.get(key)
    return part if isinstance(part, Mapping) else {}


def _number(facts: Mapping[str, object], key: str) -> float | None:
    return _float(facts.get(key))


def _float(value: object) -> float | None:
    try:
        return float(str(value))
    except ValueError:
        return None


def _range(pair: object) -> tuple[float, float] | None:
    if not isinstance(pair, (list, tuple)) or len(pair) != 2:
        return None
    low, high = map(_float, pair)
    return None if low is None or high is None else (low, high)
