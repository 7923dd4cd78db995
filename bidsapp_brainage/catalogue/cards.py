"""The forms of cards: a column, an output, a baseline and a method of explanation."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

Level = Literal[
    "subject", "figures", "template", "atlas", "group", "phenotype", "ratings", "dataset"
]
Family = Literal["occlusion", "attribution", "comparison", "check"]
Chosen = Literal["always", "option", "automatic"]

#: Entities that together name an atlas.
ATLAS = ("atlas", "seg", "scale")


@dataclass(frozen=True)
class Column:
    """What one column of a table means; the fields are those of a BIDS data dictionary.

    A column of the table of regions with ``shown``, heading and help, stands in the report.
    """

    name: str
    long_name: str
    description: str = ""
    units: str = ""
    levels: Mapping[str, str] = field(default_factory=dict)
    minimum: float | None = None
    maximum: float | None = None
    derivative: bool | None = None
    shown: tuple[str, str] = ("", "")

    def worded(self, description: str) -> Column:
        """The same column where it means something a little different."""
        return replace(self, description=description)

    def as_bids(self) -> dict[str, Any]:
        """Content of a data dictionary; what is not known is left out."""
        facts: dict[str, Any] = {
            "LongName": self.long_name,
            "Description": self.description or None,
            "Units": self.units or None,
            "Levels": dict(self.levels) or None,
            "Minimum": self.minimum,
            "Maximum": self.maximum,
            "Derivative": self.derivative,
        }
        return {key: value for key, value in facts.items() if value is not None}


@dataclass(frozen=True)
class Output:
    """One kind of file that the app writes.

    Attributes
    ----------
    key : str
        Unique name; the field of the workflow that carries the file.
    suffix, extension : str
        End of its name.
    description : str
        What it is, in one sentence, for the documentation and the sidecar of images.
    title, reading : str
        Heading in reports; how to read it there.
    level : str
        Where it lies: beside the images of a participant, among the figures, with a template, at
        the root with an atlas, with the group's tables, in ``phenotype``, in ``ratings`` or at the
        root.
    entities : tuple of str
        Short BIDS entities beyond those of the scan, in the order of the name.
    required : tuple of str
        Those without which there is no such name.
    desc : str
        Its ``desc`` label; ``{model}`` stands for the name of the model.
    units : str
        Of the voxels of an image.
    columns : tuple of Column
        Of a table, in their order.
    space : str
        Label of its space where it is always the same.
    always : bool
        Written whatever the input is like.
    bids : bool
        BIDS knows such names; all others stand in ``.bidsignore``.
    pooled : bool
        The group level gathers this table over the scans.
    drawn : str
        What the picture of this map shows that is made for the individual report, over what the
        network saw: contributions, or ages beside their mean; empty: there is none.
    """

    key: str
    suffix: str
    extension: str
    description: str
    title: str = ""
    level: Level = "subject"
    entities: tuple[str, ...] = ()
    required: tuple[str, ...] = ()
    desc: str = ""
    units: str = ""
    columns: tuple[Column, ...] = ()
    space: str = ""
    always: bool = True
    bids: bool = False
    pooled: bool = False
    reading: str = ""
    drawn: Literal["", "contributions", "ages"] = ""

    @property
    def is_table(self) -> bool:
        """Whether it is a table with a data dictionary."""
        return self.extension == ".tsv"


@dataclass(frozen=True)
class Baseline:
    """What an occluded region is replaced by.

    Attributes
    ----------
    key : str
        Word of ``occlusion_baseline`` and of the column ``baseline``.
    help : str
        For the help of the command line.
    level : str
        What the word means in a data dictionary.
    title : str
        Words for reports.
    text : str
        Words for the methods section, after "replaced by".
    outlined : bool
        The fill depends on the outline of what is occluded.
    only_regions : bool
        Outside of regions the fill is the image itself.
    """

    key: str
    help: str
    level: str
    title: str
    text: str
    outlined: bool = False
    only_regions: bool = False


@dataclass(frozen=True)
class Method:
    """One way to explain a prediction.

    Attributes
    ----------
    key : str
        Word of ``explain``; the module ``explain/methods/<key>.py`` holds its function.
    family : str
        Occlusion, attribution to voxels, comparison of explanations, or a check of them.
    chosen : str
        ``always``: whenever something is explained; ``option``: by ``explain``; ``automatic``:
        when there is something to compare.
    stage : str
        Words for the progress log and the table of timings.
    title : str
        Words for reports.
    help : str
        For the help of the command line.
    text : str
        Sentences of the methods section with their citations; fields of the settings may stand in
        braces, and so may ``atlas``, ``baseline`` and ``other_baselines``.
    further_text : tuple of (str, str)
        A field and a sentence that follows where the field is not empty.
    outputs : tuple of Output
        Tables and maps that it makes.
    needs : tuple of str
        Python modules that must be installed beside the app's own dependencies.
    architecture : str
        Id of the only architecture that it explains; empty: any.
    randomised : bool
        Whether the check with randomised networks repeats it.
    inputs : str
        How many images a model may see that it explains.
    """

    key: str
    family: Family
    stage: str
    title: str
    help: str
    text: str
    outputs: tuple[Output, ...] = ()
    chosen: Chosen = "option"
    needs: tuple[str, ...] = ()
    further_text: tuple[tuple[str, str], ...] = ()
    architecture: str = ""
    randomised: bool = False
    inputs: Literal["one", "any", "several"] = "one"

    def fits(self, n_inputs: int) -> bool:
        """Whether it explains models that see so many images, or parts of the brain."""
        return self.inputs == "any" or (self.inputs == "several") == (n_inputs > 1)

    @property
    def reads_others(self) -> bool:
        """Whether it reads the tables of other methods; see :attr:`is_read`."""
        return self.family in ("comparison", "check")

    @property
    def is_read(self) -> bool:
        """Whether comparisons and checks read its tables."""
        return self.chosen == "always" or self.family == "attribution"

    def sentences(self, facts: Mapping[str, Any]) -> list[str]:
        """What the methods section says about it."""
        further = (text for name, text in self.further_text if facts[name])
        return [text.format(**facts) for text in (self.text, *further) if text]
