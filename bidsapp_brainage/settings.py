"""All choices of one run, as one frozen value that is passed explicitly."""

from __future__ import annotations

import dataclasses
import difflib
import hashlib
import json
import types
import typing
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from bidsapp_brainage.errors import UsageError

SkullStrip = Literal["auto", "skip", "force"]
ExplainMethod = Literal[
    "none", "occlusion", "cubes", "shapley", "curves", "pairs", "lrp", "ig", "noise",
    "randomisation",
]  # fmt: skip
Level = Literal["minimal", "full"]
Baseline = Literal["background", "mean", "blur", "template"]


@dataclass(frozen=True)
class Selection:
    """Which scans are processed. Labels carry no ``sub-``/``ses-``/``run-`` prefix."""

    participant_label: tuple[str, ...] = ()
    session_label: tuple[str, ...] = ()
    run_label: tuple[str, ...] = ()
    bids_filter_file: Path | None = None
    bids_database_dir: Path | None = None
    skip_bids_validation: bool = False
    derivatives: tuple[tuple[str, Path], ...] = ()  # (name, dataset root)
    age_column: str = "age"
    age_file: Path | None = None


@dataclass(frozen=True)
class Resources:
    """How much of the machine may be used."""

    nprocs: int = 1
    omp_nthreads: int = 1
    memory_gb: float | None = None
    low_mem: bool = False
    plugin_file: Path | None = None
    device: str = "auto"
    batch_size: int | None = None  # None: chosen by the device
    n_gpus: int = 1


@dataclass(frozen=True)
class Processing:
    """What is computed; these choices enter the configuration hash."""

    model: str = "sfcn2mm"
    models_dir: Path | None = None
    atlas: str = "BrainageDemo"
    atlases_dir: Path | None = None
    explain: tuple[ExplainMethod, ...] = ("occlusion",)
    level: Level = "full"
    occlusion_baseline: tuple[Baseline, ...] = ("background", "blur")  # the first is primary
    null_parcels: int = 50  # random parcels of each size that regions are compared with
    cube_mm: float = 8.0
    shapley_permutations: int = 20
    bias_correction: str = "model"  # none | model | file:PATH
    skull_strip: SkullStrip = "auto"
    output_spaces: tuple[str, ...] = ()
    random_seed: int = 20250101
    sloppy: bool = False


@dataclass(frozen=True)
class GroupLevel:
    """How the group level uses the columns of participants.tsv."""

    group_column: str = ""
    reference_group: str = ""
    site_column: str = ""
    covariates: tuple[str, ...] = ()


@dataclass(frozen=True)
class Execution:
    """How this invocation runs and reports."""

    work_dir: Path = Path("work")
    clean_workdir: bool = False
    config_file: Path | None = None
    stop_on_first_crash: bool = False
    dry_run: bool = False
    boilerplate_only: bool = False
    md_only_boilerplate: bool = False
    reports_only: bool = False
    write_graph: bool = False
    debug: bool = False
    verbose: int = 0
    run_uuid: str = ""
    command_line: str = ""  # with host paths already replaced by <bids_dir>, <output_dir>, ...


@dataclass(frozen=True)
class Settings:
    """Everything that one invocation of the app was told."""

    bids_dir: Path
    output_dir: Path
    analysis_level: tuple[str, ...]
    selection: Selection = field(default_factory=Selection)
    resources: Resources = field(default_factory=Resources)
    processing: Processing = field(default_factory=Processing)
    group: GroupLevel = field(default_factory=GroupLevel)
    execution: Execution = field(default_factory=Execution)

    def configuration_hash(self) -> str:
        """First 8 hex digits of the SHA-256 of everything that changes results."""
        return configuration_hash(self.processing)


def explanations(processing: Processing) -> tuple[ExplainMethod, ...]:
    """Methods of explanation that a run uses, in a fixed order; none with ``--level minimal``.

    The occlusion of regions belongs to all of them.
    """
    chosen = set(processing.explain) - {"none"}
    if processing.level == "minimal" or not chosen:
        return ()
    return tuple(name for name in typing.get_args(ExplainMethod) if name in chosen | {"occlusion"})


def configuration_hash(processing: Processing) -> str:
    """First 8 hex digits of the SHA-256 over the processing choices (paths by name only)."""
    facts: dict[str, Any] = dataclasses.asdict(processing)
    for key, value in facts.items():
        if isinstance(value, Path) or "/" in str(value):  # an atlas or a file:... may be a path
            facts[key] = Path(value).name
    text = json.dumps(facts, sort_keys=True, default=list)
    return hashlib.sha256(text.encode()).hexdigest()[:8]


_SECTIONS: Mapping[str, type] = types.MappingProxyType(
    {
        "selection": Selection,
        "resources": Resources,
        "processing": Processing,
        "group": GroupLevel,
        "execution": Execution,
    }
)
#: Facts about one invocation: written for the record, never taken over from a file.
_RECORD_ONLY = ("config_file", "run_uuid", "command_line")
#: Stands in a configuration file for a folder that it must not tell.
_ELSEWHERE = "<elsewhere>"


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
    unknown = sorted(set(options) - set(option_names()))
    if unknown:
        raise UsageError(f"Unknown option {unknown[0]!r}.{_did_you_mean(unknown[0])}")
    sections = {}
    options = {"work_dir": Execution.work_dir, **options}  # so that it is made absolute, too
    for name, kind in _SECTIONS.items():
        hints = typing.get_type_hints(kind)
        given = {key: options[key] for key in hints if key in options}
        values = {key: coerce_option(key, hints[key], value) for key, value in given.items()}
        sections[name] = kind(**values)
    return Settings(
        bids_dir=bids_dir.absolute(),
        output_dir=output_dir.absolute(),
        analysis_level=analysis_level,
        **sections,
    )


def option_names() -> list[str]:
    """Names of all options: the fields of the five sections."""
    return [item.name for kind in _SECTIONS.values() for item in dataclasses.fields(kind)]


def _did_you_mean(name: str) -> str:
    close = difflib.get_close_matches(name, option_names(), n=1)
    return f" Did you mean {close[0]!r}?" if close else ""


def coerce_option(name: str, hint: Any, value: Any) -> Any:
    """Turn a value from the command line or from TOML into the type of its field."""
    arguments = typing.get_args(hint)
    if type(None) in arguments:
        inner = [argument for argument in arguments if argument is not type(None)]
        return None if value is None else coerce_option(name, inner[0], value)
    origin = typing.get_origin(hint)
    if origin is Literal:
        if value not in arguments:
            raise UsageError(f"{name} = {value!r}: choose one of {', '.join(arguments)}.")
        return value
    if origin is tuple:
        return _coerce_tuple(name, arguments, value)
    if hint is Path and isinstance(value, (str, Path)):
        return Path(value).expanduser().absolute()
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if type(value) is not hint:
        raise UsageError(f"{name} = {value!r}: expected {hint.__name__}.")
    return value


def _coerce_tuple(name: str, arguments: tuple[Any, ...], value: Any) -> tuple[Any, ...]:
    if not isinstance(value, (list, tuple)):
        raise UsageError(f"{name} = {value!r}: expected a list.")
    if arguments[-1] is Ellipsis:
        return tuple(coerce_option(name, arguments[0], item) for item in value)
    if len(value) != len(arguments):
        raise UsageError(f"{name} = {value!r}: expected {len(arguments)} values.")
    return tuple(
        coerce_option(name, kind, item) for kind, item in zip(arguments, value, strict=True)
    )


def to_toml(settings: Settings) -> str:
    """The configuration of a run as TOML, readable by ``--config-file``.

    No path of the machine is told: the three folders of the run are written as ``<bids_dir>``,
    ``<output_dir>`` and ``<work_dir>``, and of any other path only its name.
    """
    import tomli_w

    from bidsapp_brainage import __version__

    roots = private_roots(settings)
    execution = dataclasses.asdict(settings.execution)
    content: dict[str, Any] = {
        "run": {
            "app_version": __version__,
            "analysis_level": list(settings.analysis_level),
            "configuration_hash": settings.configuration_hash(),
            "run_uuid": execution["run_uuid"],
            "command_line": execution["command_line"],
        }
    }
    for name in _SECTIONS:
        values = dataclasses.asdict(getattr(settings, name))
        content[name] = {
            key: _public(value, roots)
            for key, value in values.items()
            if value is not None and key not in _RECORD_ONLY
        }
    return tomli_w.dumps(content)


def private_roots(settings: Settings) -> dict[str, Path]:
    """Folders whose place is nobody's business, with what is written in their stead."""
    return {
        "<output_dir>": settings.output_dir,
        "<work_dir>": settings.execution.work_dir.absolute(),
        "<bids_dir>": settings.bids_dir,
    }


def _public(value: Any, roots: Mapping[str, Path]) -> Any:
    """A value without private paths, as TOML can hold it."""
    if isinstance(value, Path):
        return public_path(value, roots)
    if isinstance(value, tuple):
        return [_public(item, roots) for item in value]
    if isinstance(value, str) and value.startswith("file:"):
        return "file:" + public_path(Path(value.removeprefix("file:")).absolute(), roots)
    if isinstance(value, str) and "/" in value:  # a model or an atlas may be given as a path
        return public_path(Path(value).absolute(), roots)
    return value


def public_path(path: Path, roots: Mapping[str, Path]) -> str:
    """``<bids_dir>/x`` for a path inside a known folder, ``<elsewhere>/x`` for any other."""
    for placeholder, root in roots.items():
        if path.is_relative_to(root):
            inside = path.relative_to(root)
            return placeholder if inside == Path() else f"{placeholder}/{inside.as_posix()}"
    return f"{_ELSEWHERE}/{path.name}"


def read_toml(path: Path, *, bids_dir: Path, output_dir: Path) -> dict[str, Any]:
    """Options in a ``--config-file``, by field name.

    Parameters
    ----------
    path : Path
        TOML with the sections ``[selection]``, ``[resources]``, ``[processing]``, ``[group]``
        and ``[execution]``; a section ``[run]`` (a record of an earlier run) is passed over.
    bids_dir, output_dir : Path
        Put in the place of ``<bids_dir>`` and ``<output_dir>``.

    Raises
    ------
    UsageError
        The file is missing or not TOML, or has an unknown section or option.
    """
    import tomllib

    try:
        content = tomllib.loads(Path(path).read_text("utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"--config-file {path} cannot be read ({error}).") from error
    except tomllib.TOMLDecodeError as error:
        raise UsageError(f"--config-file {path} is not valid TOML: {error}.") from error
    content.pop("run", None)
    options: dict[str, Any] = {}
    for section, values in content.items():
        if section not in _SECTIONS or not isinstance(values, dict):
            raise UsageError(
                f"--config-file {path}: unknown section [{section}]; known: {', '.join(_SECTIONS)}."
            )
        known = {item.name for item in dataclasses.fields(_SECTIONS[section])}
        for key, value in values.items():
            if key not in known:
                raise UsageError(
                    f"--config-file {path}: [{section}] has no option {key!r}.{_did_you_mean(key)}"
                )
            options[key] = value
    return {
        key: _private(value, {"<bids_dir>": bids_dir, "<output_dir>": output_dir})
        for key, value in options.items()
        if key not in _RECORD_ONLY and not _is_placeholder(value, "<work_dir>")
    }


def _private(value: Any, roots: Mapping[str, Path]) -> Any:
    """Put the folders of this run in the place of their placeholders."""
    if isinstance(value, list):
        return [_private(item, roots) for item in value]
    if isinstance(value, str):
        for placeholder, root in roots.items():
            value = value.replace(placeholder, str(root.absolute()))
    return value


def _is_placeholder(value: Any, placeholder: str) -> bool:
    return isinstance(value, str) and value == placeholder


def elsewhere(value: Any) -> bool:
    """Whether a value from a configuration file names a path that it does not tell."""
    if isinstance(value, (list, tuple)):
        return any(elsewhere(item) for item in value)
    return _ELSEWHERE in str(value)
