"""All choices of one run, as one frozen value that is passed explicitly.

Each option stands here once: type, default, check, spellings and help. The parser, configuration
files, their checks and ``docs/options.md`` follow. To add one, add a field to the section that it
belongs to, and use it.
"""

from __future__ import annotations

import dataclasses
import difflib
import functools
import hashlib
import json
import re
import typing
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from bidsapp_brainage.catalogue.baselines import BASELINES
from bidsapp_brainage.catalogue.methods import METHODS
from bidsapp_brainage.catalogue.ratings import BEST, EXCLUDE, GRADES
from bidsapp_brainage.errors import UsageError
from bidsapp_brainage.options import (
    Option,
    at_least,
    between,
    from_zero,
    label,
    matching,
    one_of,
    option,
    options_of,
    positive,
    read_memory,
    read_named_path,
)

AnalysisLevel = Literal["participant", "group"]
SkullStrip = Literal["auto", "skip", "force"]
ReportLevel = Literal["root", "subject", "session"]
Harmonise = Literal["none", "offset", "combat"]
LrpRules = Literal[
    "first_epsilon_plus",
    "epsilon_plus",
    "epsilon_plus_flat",
    "epsilon_alpha2_beta1",
    "epsilon_alpha2_beta1_flat",
]
_PREPROCESSING = "preprocessing"
#: Model of raw images: predicts with ``level`` fast, checks the prediction of others else.
FAST_MODEL = "fast2mm"
#: A template with its cohort and the index of its resolution, in the words of TemplateFlow.
SPACE = re.compile(r"(?P<name>[a-zA-Z0-9]+)(:cohort-(?P<cohort>[a-zA-Z0-9]+))?(:res-(?P<res>\d+))?")
#: Heading of options that exclude each other.
MODES = "instead of a full run"
_METHODS = tuple(card for card in METHODS if card.chosen != "automatic")
#: Words of ``cluster``: this machine, and the queues that Dask knows.
LOCAL, QUEUES = "local", ("slurm", "sge", "pbs", "lsf", "htcondor")
#: Words of ``bias_correction`` by which the group level fits on the sample itself.
REFERENCE, EVERYBODY = "reference", "reference:all"


def bias_correction_named(value: str) -> str:
    """Check of ``bias_correction``; a path is made absolute.

    Raises
    ------
    ValueError
        It is not one of the words and no file.
    """
    path = value.removeprefix("file:")
    if value in ("none", "model", REFERENCE, EVERYBODY):
        return value
    if path in ("", value):
        raise ValueError(f"{value!r} is not none, model or file:PATH, nor {REFERENCE}, {EVERYBODY}")
    return f"file:{Path(path).expanduser().absolute()}"


def participant_correction(value: str) -> str:
    """The ``bias_correction`` of the participant level: the card's, where the group fits its own.

    Examples
    --------
    >>> participant_correction("reference"), participant_correction("none")
    ('model', 'none')
    """
    return "model" if value in (REFERENCE, EVERYBODY) else value


def cluster_named(value: str) -> str:
    """Check of ``cluster``; a path is made absolute.

    Raises
    ------
    ValueError
        It is not one of the words, no address and no YAML file.
    """
    if value in ("", LOCAL, *QUEUES) or is_address(value):
        return value
    if Path(value).suffix in (".yaml", ".yml") and "://" not in value:
        return str(Path(value).expanduser().absolute())
    raise ValueError(
        f"{value!r} is not one of {', '.join((LOCAL, *QUEUES))}, no YAML file (.yaml, .yml) and no "
        "address (tcp://HOST:PORT, tls://HOST:PORT)"
    )


def is_remote(cluster: str) -> bool:
    """Whether a value of ``cluster`` means workers on other machines than this one."""
    return cluster not in ("", LOCAL)


def is_address(cluster: str) -> bool:
    """Whether a value of ``cluster`` is the address of a scheduler that runs already."""
    return re.fullmatch(r"(tcp|tls)://\S+", cluster) is not None


@dataclass(frozen=True)
class Selection:
    """Which scans are processed. Labels carry no ``sub-``/``ses-``/``run-`` prefix."""

    participant_label: tuple[str, ...] = option(
        (),
        check=label("sub"),
        metavar="LABEL",
        help="participants to process, with or without 'sub-' (default: all)",
    )
    session_label: tuple[str, ...] = option(
        (),
        flags=("--session-label", "--session-id"),
        check=label("ses"),
        metavar="LABEL",
        help="sessions to process, with or without 'ses-' (default: all)",
    )
    run_label: tuple[str, ...] = option(
        (),
        flags=("--run-label", "--run-id"),
        check=label("run"),
        metavar="LABEL",
        help="runs to process (default: all)",
    )
    bids_filter_file: Path | None = option(
        None,
        exists="file",
        help='JSON with pybids filters, for example {"t1w": {"acquisition": "mprage"}}; null: the '
        'entity must be absent, "*": it must be present',
    )
    bids_database_dir: Path | None = option(
        None, metavar="DIR", help="keep or reuse the pybids index of the whole dataset here"
    )
    skip_bids_validation: bool = option(
        False, help="do not run bids-validator-deno on the input (it is run only if installed)"
    )
    datalad_get: bool = option(
        False,
        deniable=True,
        help="fetch images whose content is not here (links of DataLad or git-annex) before the "
        "run; only then it may use the network (default: --no-datalad-get)",
    )
    derivatives: tuple[tuple[str, Path], ...] = option(  # (name, dataset root)
        (),
        flags=("-d", "--derivatives"),
        read=read_named_path,
        exists="folder",
        metavar="[NAME=]PATH",
        help="derivatives datasets: transforms of fMRIPrep or sMRIPrep serve for regions and "
        "spaces, masks and tissue are compared; images and masks of your own, and all of an "
        "earlier run, are used instead of computed; from FreeSurfer results "
        "(freesurfer=SUBJECTS_DIR, or inside of those of fMRIPrep) the age is also predicted "
        "without the image",
    )
    age_column: str = option("age", help="column with ages in all tables")
    age_file: Path | None = option(
        None,
        exists="file",
        metavar="TSV",
        help="table with participant_id, optionally session_id, and ages; asked before the "
        "tables of the dataset",
    )
    ratings: tuple[Path, ...] = option(
        (),
        recorded=False,  # they are kept in the output
        exists="file",
        metavar="TSV",
        help="ratings of scans that were exported from the reports: kept in OUTPUT_DIR/ratings/, "
        "from where pages and the group level read them",
    )


@dataclass(frozen=True)
class Resources:
    """How much of the machine may be used."""

    nprocs: int = option(
        1,
        flags=("--nprocs", "--nthreads", "--n-cpus"),
        check=at_least(1),
        help="processors to use (default: those that this process may use)",
    )
    omp_nthreads: int = option(
        1,
        check=at_least(1),
        help="processors for one process (default: one less than --nprocs, at most 8)",
    )
    memory_gb: float | None = option(
        None,
        flags=("--mem", "--mem-mb"),
        read=read_memory,
        check=positive("an amount of memory above zero (GB)"),
        metavar="N[KMGT]",
        help="memory to plan with; without a suffix megabytes (default: 90% of what this "
        "process may use)",
    )
    low_mem: bool = option(False, help="less memory, more time and disk")
    plugin_file: Path | None = option(
        None,
        flags=("--use-plugin", "--nipype-plugin-file"),
        exists="file",
        help="YAML with 'plugin' and 'plugin_args' of nipype",
    )
    cluster: str = option(
        "",
        check=cluster_named,
        metavar="{" + ",".join((LOCAL, *QUEUES)) + ",FILE,ADDRESS}",
        help="process scans by workers of Dask: on this machine (local), as jobs of a queue, with "
        "the settings of a YAML file of dask-jobqueue (FILE), or by a Dask scheduler that runs "
        "already (tcp://HOST:PORT); --nprocs and --mem are then for one scan (default: 1, 4G), "
        "but with local for all",
    )
    n_workers: int | None = option(
        None,
        flags=("--cluster-workers",),
        check=at_least(1),
        metavar="{auto,N}",
        help="workers of --cluster at one time (default: auto, 50 with a queue; with local as many "
        "as processors and memory allow)",
    )
    device: str = option(
        "auto",
        check=matching(r"auto|cpu|cuda(:\d+)?", "auto, cpu, cuda or cuda:N"),
        metavar="{auto,cpu,cuda[:N]}",
        help="where the network runs",
    )
    batch_size: int | None = option(
        None,
        check=at_least(1),
        metavar="{auto,N}",
        help="regions that are occluded together (default: auto, by the device)",
    )
    n_gpus: int = option(1, check=at_least(1), help="GPU slots")


@dataclass(frozen=True)
class Processing:
    """What is computed; these choices enter the configuration hash."""

    model: str = option("sfcn2mm", help="model card")
    models_dir: Path | None = option(
        None,
        exists="folder",
        help="folder of your own and fetched models (default: $BRAINAGE_MODELS_DIR, else the "
        "user's data folder)",
    )
    atlas: str = option(
        "BrainageDemo",
        flags=("--atlas", "--atlases"),
        help="atlas by name, or the path of a dseg.nii.gz with its .tsv",
    )
    atlases_dir: Path | None = option(None, exists="folder", help="folder with your own atlases")
    explain: tuple[str, ...] = option(
        ("occlusion",),
        joined=True,
        check=one_of(("none", *(card.key for card in _METHODS))),
        metavar="METHOD[,METHOD...]",
        help="none, or any of: " + ", ".join(f"{card.key} ({card.help})" for card in _METHODS),
    )
    level: Literal["minimal", "full", "fast"] = option(
        "full",
        help="minimal: prediction and volumes; no explanation, no images of the segmentation; "
        f"fast: an age from the raw image in seconds, by a model of raw images ({FAST_MODEL})",
    )
    fast_check: bool = option(
        False,
        help=f"predict an age by {FAST_MODEL} from the raw T1w, too, as a check of everything "
        "between image and prediction (column fast_age, flag fast_disagreement)",
    )
    occlusion_baseline: tuple[str, ...] = option(
        ("background", "closed"),
        joined=True,
        check=one_of(tuple(card.key for card in BASELINES)),
        metavar="BASELINE[,BASELINE...]",
        help="what an occluded region is filled with, any of: "
        + ", ".join(card.help for card in BASELINES)
        + "; the first is the one of the main table and of the map, the agreement of all is "
        "reported",
    )
    null_parcels: int = option(
        50,
        check=at_least(0),
        help="random parcels of each tissue compartment that regions are compared with; 0: no "
        "comparison",
    )
    cube_mm: float = option(
        8.0,
        flags=("--cube-size",),
        check=positive("a size in mm between 0 and 100", 100),
        metavar="MM",
        help="edge of the cubes of --explain cubes",
        method="cubes",
    )
    shapley_permutations: int = option(
        20,
        check=at_least(2),
        help="orders of regions for --explain shapley; more make smaller standard errors",
        method="shapley",
    )
    lrp_rules: LrpRules = option(
        "first_epsilon_plus",
        help="rules of --explain lrp: epsilon for linear layers, z+ (plus) or alpha 2, beta 1 for "
        "convolutions; for the first of them epsilon (first_epsilon), flat, or no other rule",
        method="lrp",
    )
    bias_correction: str = option(
        "model",
        check=bias_correction_named,
        metavar="{none,model,file:PATH,reference,reference:all}",
        help="correction of the regression to the mean age (default: model, the coefficients on "
        "the card); reference: the group level calibrates every site on its people of "
        "--reference-group, reference:all: on everybody",
    )
    skull_strip: SkullStrip = option(
        "auto",
        heading=_PREPROCESSING,
        flags=("--skull-strip", "--skull-strip-t1w"),
        help="auto recognises images without skull; skip: they all are so; force: extract the "
        "brain in any case",
    )
    output_spaces: tuple[str, ...] = option(
        (),
        heading=_PREPROCESSING,
        check=matching(SPACE.pattern, "SPACE[:cohort-X][:res-N], where N is a whole number"),
        metavar="SPACE[:cohort-X][:res-N]",
        help="TemplateFlow spaces for extra copies of the T1w; the model's own is always written",
    )
    random_seed: int = option(
        20250101, heading=_PREPROCESSING, check=at_least(0), help="seed of everything random"
    )
    sloppy: bool = option(
        False, heading=_PREPROCESSING, help="coarse registration, for testing only"
    )


@dataclass(frozen=True)
class GroupLevel:
    """How the group level uses the columns of participants.tsv."""

    group_column: str = option(
        "", help="column of participants.tsv with the groups to compare, for example diagnosis"
    )
    reference_group: str = option(
        "",
        metavar="VALUE",
        help="group that the others are compared with, and that a correction of the regression "
        "to the mean is fitted on (default: the most frequent one; --bias-correction reference "
        "wants it named)",
    )
    site_column: str = option(
        "",
        help="column of participants.tsv with sites or scanners (default: site); people without "
        "any are one site",
    )
    harmonise: Harmonise = option(
        "none",
        help="remove what sites do to gaps, and to contributions and volumes of regions, as known "
        "from the people of --reference-group, with age and sex kept: offset removes levels, "
        "combat levels and spreads, shrunk over regions (ComBat); in further columns and tables, "
        "nothing is replaced",
    )
    covariates: tuple[str, ...] = option(
        (),
        help="further columns of participants.tsv, or of the quality table, for the linear models; "
        "age, age squared, sex, brain volume, image quality and site are there already",
    )
    factors: Path | None = option(
        None,
        exists="file",
        metavar="TSV",
        help="table with participant_id and any further columns, one row per participant: the gap "
        "is tested against each of them",
    )
    min_rating: int = option(
        EXCLUDE,
        check=between(EXCLUDE, BEST),
        metavar="{" + ",".join(str(grade.value) for grade in GRADES) + "}",
        help="leave scans out of all results that people rated lower; of several raters the "
        "median counts, of two the lower rating; scans that nobody rated stay",
    )


@dataclass(frozen=True)
class Execution:
    """How this invocation runs and reports."""

    work_dir: Path = option(
        Path("work"),
        flags=("-w", "--work-dir"),
        metavar="DIR",
        help="scratch folder, outside of BIDS_DIR",
    )
    clean_workdir: bool = option(
        False, help="remove what earlier runs of this app left in the scratch folder, first"
    )
    config_file: Path | None = option(
        None,
        recorded=False,
        metavar="TOML",
        help="options from a file (one is written to OUTPUT_DIR/sub-*/log/); the command line wins",
    )
    stop_on_first_crash: bool = option(
        False, help="do not go on with other participants after a failure"
    )
    dry_run: bool = option(False, heading=MODES, help="list what would be done, and stop")
    boilerplate_only: bool = option(False, heading=MODES, help="write the methods text, and stop")
    md_only_boilerplate: bool = option(False, help="write the methods text as Markdown only")
    reports_only: bool = option(
        False, heading=MODES, help="write the reports again from existing derivatives, and stop"
    )
    explain_only: bool = option(
        False,
        help="explain finished predictions again, from existing derivatives, with the atlas, the "
        "baselines and the methods given here; no image is preprocessed",
    )
    viewer_mb: float = option(
        3.5,
        check=from_zero("a size in MB from 0 to 100", 100),
        metavar="MB",
        help="room for the viewers of a person's images in the page; with less they get coarser, "
        "with 0 the page has pictures of slices alone",
    )
    aggregate_session_reports: int = option(
        4,
        check=at_least(1),
        metavar="N",
        help="a person with at most N sessions has one page, with more one page per session",
    )
    report_output_level: ReportLevel = option(
        "root",
        help="where the pages of people lie: in OUTPUT_DIR, in the folder of the person, or in "
        "those of the sessions (then every session has its own page, however few there are)",
    )
    write_graph: bool = option(False, help="draw the workflow's graph")
    resource_monitor: bool = option(
        False,
        help="sample processors and memory of every stage each second, into "
        "OUTPUT_DIR/sub-*/log/RUN/resources.tsv; peaks and seconds are always in timings.tsv",
    )
    track_carbon: bool = option(
        False,
        help="estimate power and carbon emissions of the run with CodeCarbon, without network; "
        "needs --country-code",
    )
    country_code: str = option(
        "",
        check=matching(r"|[A-Z]{3}", "a country code of three capital letters, for example DEU"),
        metavar="ISO3",
        help="country whose power the machine uses, for --track-carbon",
    )
    crashfile_format: Literal["txt", "pklz"] = option(
        "txt",
        help="pklz: also keep what failed in WORK_DIR/crashes for nipypecli crash, which can run "
        "it again; the text is always in OUTPUT_DIR/sub-*/log",
    )
    pdb: bool = option(
        False,
        help="run node after node in one process, and open Python's debugger at the first failure",
    )
    debug: bool = option(False, help="keep everything for finding faults")
    verbose: int = option(
        0, flags=("-v", "--verbose"), counted=True, help="more messages; repeat for still more"
    )
    run_uuid: str = ""
    command_line: str = ""  # with host paths already replaced by <bids_dir>, <output_dir>, ...

    @property
    def from_derivatives(self) -> bool:
        """Whether the participant level reads what it wrote before, and no raw data."""
        return self.reports_only or self.explain_only


def _section(kind: type, heading: str) -> Any:
    return dataclasses.field(default_factory=kind, metadata={"heading": heading})


@dataclass(frozen=True)
class Settings:
    """Everything that one invocation of the app was told."""

    bids_dir: Path
    output_dir: Path
    analysis_level: tuple[str, ...]
    selection: Selection = _section(Selection, "which data")
    resources: Resources = _section(Resources, "how much of the machine")
    processing: Processing = _section(Processing, "model and explanation")
    group: GroupLevel = _section(GroupLevel, "the group level")
    execution: Execution = _section(Execution, "running and reporting")

    def configuration_hash(self) -> str:
        """First 8 hex digits of the SHA-256 of everything that changes results."""
        return configuration_hash(self.processing)


def explanations(processing: Processing) -> tuple[str, ...]:
    """Methods of explanation that a run uses, in a fixed order; none unless ``level`` is full.

    The occlusion of regions belongs to all of them.
    """
    chosen = set(processing.explain) - {"none"}
    if processing.level != "full" or not chosen:
        return ()
    return tuple(card.key for card in _METHODS if card.chosen == "always" or card.key in chosen)


def spaces(processing: Processing) -> list[tuple[str, str, int | None]]:
    """Name, cohort ("" for none) and resolution of each of the extra spaces.

    Examples
    --------
    >>> spaces(Processing(output_spaces=("MNIInfant:cohort-2", "MNI152NLin6Asym:res-2")))
    [('MNIInfant', '2', None), ('MNI152NLin6Asym', '', 2)]
    """
    matches = [match for text in processing.output_spaces if (match := SPACE.fullmatch(text))]
    return [
        (match["name"], match["cohort"] or "", int(match["res"]) if match["res"] else None)
        for match in matches
    ]


def method_options(processing: Processing, method: str) -> dict[str, Any]:
    """What one method of explanation reads beyond the common choices: keywords of its function."""
    return {
        name: getattr(processing, name)
        for name, item in all_options().items()
        if item.method == method
    }


def configuration_hash(processing: Processing) -> str:
    """First 8 hex digits of the SHA-256 over the processing choices (paths by name only)."""
    facts: dict[str, Any] = dataclasses.asdict(processing)
    for key, value in facts.items():
        if isinstance(value, Path) or "/" in str(value):  # an atlas or a file:... may be a path
            facts[key] = Path(value).name
    facts["bias_correction"] = participant_correction(str(facts["bias_correction"]))
    text = json.dumps(facts, sort_keys=True, default=list)
    return hashlib.sha256(text.encode()).hexdigest()[:8]


@functools.cache
def sections() -> Mapping[str, type]:
    """Section of the settings -> its class."""
    hints = typing.get_type_hints(Settings)
    return {item.name: hints[item.name] for item in dataclasses.fields(Settings) if item.metadata}


@functools.cache
def all_options() -> Mapping[str, Option]:
    """All options by field name, which is unique over the sections."""
    headings = {item.name: item.metadata.get("heading") for item in dataclasses.fields(Settings)}
    return {
        item.name: item
        for section, kind in sections().items()
        for item in options_of(kind, section, str(headings[section]))
    }


def in_flags(text: str, **others: str) -> str:
    """A message with the flags of the command line in the place of fields in backticks.

    Parameters
    ----------
    text : str
        The message.
    **others : str
        Flags of further fields.
    """
    flags = {name: item.flag for name, item in all_options().items()} | others
    return re.sub(r"`(\w+)`", lambda match: flags.get(match[1], match[0]), text)


def build_settings(
    bids_dir: Path,
    output_dir: Path,
    analysis_level: tuple[str, ...],
    options: Mapping[str, Any],
) -> Settings:
    """Make settings from options by field name; options that are absent keep their default.

    Parameters
    ----------
    bids_dir, output_dir : Path
        Made absolute, as all other paths are.
    analysis_level : tuple of str
        ``participant``, ``group`` or both.
    options : mapping
        Values of the fields of `Selection`, `Resources`, `Processing`, `GroupLevel`,
        `Execution`. Field names are unique over these.

    Raises
    ------
    UsageError
        An option does not exist or has an impossible value.
    """
    known = all_options()
    unknown = sorted(set(options) - set(known))
    if unknown:
        raise UsageError(f"Unknown option {unknown[0]!r}.{did_you_mean(unknown[0])}")
    if options.get("level") == "fast":
        options = {"model": FAST_MODEL, **options}
    options = {"work_dir": Execution.work_dir, **options}  # so that it is made absolute, too
    values = {name: known[name].take(value) for name, value in options.items()}
    chosen = {
        section: kind(**{key: values[key] for key in values if known[key].section == section})
        for section, kind in sections().items()
    }
    return Settings(bids_dir.absolute(), output_dir.absolute(), analysis_level, **chosen)


def did_you_mean(name: str) -> str:
    """A sentence with the option that is spelled nearly so; empty if there is none.

    Examples
    --------
    >>> did_you_mean("mem")  # the command line calls it so
    " Did you mean 'memory_gb'?"
    """
    spoken = {
        spelling.removeprefix("--"): item.name
        for item in all_options().values()
        for spelling in item.spellings
    } | {field: field for field in all_options()}
    close = difflib.get_close_matches(name, spoken, n=1)
    return f" Did you mean {spoken[close[0]]!r}?" if close else ""
