"""What the page of all scans can show of a scan; words and units come from the cards of tables."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from bidsapp_brainage.catalogue.cards import Column
from bidsapp_brainage.catalogue.lookup import output
from bidsapp_brainage.imaging.expected import VOLUME_LIMITS

Kind = Literal["text", "number", "level", "words"]
_NO_METRICS = frozenset(
    {"decision", "decision_reason", *VOLUME_LIMITS, "sform_code", "qform_code", "n_orientations"}
)


@dataclass(frozen=True)
class Shown:
    """A column of the page.

    Attributes
    ----------
    key, title : str
    kind : str
        ``number``, ``text``, ``level`` (a badge; the level stands before a colon) or ``words``
        (sentences, cut where they are long).
    digits : int or None
        After the decimal point; None: as many as the value needs.
    unit, help : str
    visible : bool
        From the beginning, not only when it is chosen.
    metric : bool
        Its distribution over scans is drawn.
    signed : bool
        Positive numbers have a sign, too.
    """

    key: str
    title: str
    kind: Kind = "text"
    digits: int | None = None
    unit: str = ""
    help: str = ""
    visible: bool = False
    metric: bool = False
    signed: bool = False

    def described(self) -> dict[str, object]:
        """What the script of the page needs to know; what is as usual is left out."""
        facts = {"key": self.key, "title": self.title, "kind": self.kind, "digits": self.digits}
        facts |= {"unit": self.unit, "help": self.help, "visible": self.visible}
        facts |= {"signed": self.signed}
        return {key: value for key, value in facts.items() if value not in ("", None, False)}


def quality_metrics() -> list[str]:
    """Columns of the table of image quality that hold numbers."""
    return [column.name for column in output("qc").columns if column.name not in _NO_METRICS]


def columns() -> list[Shown]:
    """All columns, in their order."""
    prediction, quality = (
        {column.name: column for column in output(key).columns} for key in ("brainage", "qc")
    )
    processing = [
        Shown("step", "Failed step", help="Where the newest run of this scan stopped."),
        Shown("reason", "Why it failed", "words"),
        Shown("minutes", "Processing", "number", 1, "min", "Sum over all stages; some may have run "
            "side by side.", visible=True),
        Shown("memory_gb", "Memory", "number", 1, "GB", "Peak of the hungriest stage.",
            visible=True),
        Shown("started", "Newest run", help="When the newest run of this scan began."),
    ]  # fmt: skip
    return [
        Shown("verdict", "Verdict", "level", help="Of all that is known of the scan: flags, image "
            "quality, interval, ratings.", visible=True),
        Shown("rating", "Rating", "number", 0, help="By people, 1 (exclude) to 4 (excellent); the "
            "median, if several rated, of two the lower.", visible=True),
        Shown("raters", "Rated by"),
        Shown("doubts", "What speaks against it", "words", visible=True),
        *_described(prediction, {"chronological_age": "Age"}, visible=True),
        *_described(prediction, {"predicted_age": "Predicted"}, visible=True),
        *_described(prediction, {"ci95_lower": "95 % from", "ci95_upper": "95 % to"}),
        *_described(prediction, {"gap": "Gap", "gap_corrected": "Corrected gap"}, visible=True),
        *_described(prediction, {"gap_z": ""}),
        Shown("targets", "Other targets", help="What the model predicts beside an age: numbers, "
            "and the likeliest class with its probability.", visible=True),
        Shown("flags", "Flags", help=prediction["flags"].description),
        *processing,
        Shown("sex", "Sex"),
        Shown("site", "Site"),
        Shown("model", "Model"),
        Shown("decision", "Quality checks", help=quality["decision"].description),
        *_described(prediction, {"training_distance": "", "member_sd": ""}, metric=True),
        *_described(quality, dict.fromkeys(quality_metrics(), ""), metric=True),
    ]  # fmt: skip


def _described(
    cards: Mapping[str, Column], titles: Mapping[str, str], *, visible: bool = False,
    metric: bool = False,
) -> list[Shown]:  # fmt: skip
    """Columns of numbers by the words of their cards; ages and gaps need no unit."""
    return [
        Shown(
            key,
            title or cards[key].long_name,
            "number",
            1 if cards[key].units == "year" else None,
            cards[key].units.replace("year", "years" if metric else ""),
            cards[key].description,
            visible,
            metric,
            signed=key.startswith("gap"),
        )
        for key, title in titles.items()
    ]
