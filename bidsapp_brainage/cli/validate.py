"""Checks of the choices of a run, before anything heavy is imported or any file is written.

What an option by itself may be is checked where it is declared (`bidsapp_brainage.settings`).
Each check returns one line with the remedy, or nothing. To add one, write the function and add
it to the table.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from bidsapp_brainage import __version__
from bidsapp_brainage.errors import NoInputError, UsageError
from bidsapp_brainage.io import read_json
from bidsapp_brainage.options import Option
from bidsapp_brainage.settings import (
    EVERYBODY,
    MODES,
    QUEUES,
    REFERENCE,
    Settings,
    all_options,
    explanations,
    is_address,
    is_remote,
)

_SUFFIXES_OF_FILES = (".nii.gz", ".nii", ".json")
#: What is chosen about registration, mask and earlier results of these.
_OF_PREPARATION = ("fast_check", "derivatives", "skull_strip", "output_spaces")
#: What is chosen before an age is predicted, and cannot be changed afterwards.
_OF_RAW_DATA = (
    "bids_filter_file",
    "bids_database_dir",
    "datalad_get",
    *_OF_PREPARATION,
    "age_file",
    "plugin_file",
    "cluster",
    "write_graph",
)
#: What decides on explanations alone, beside the options of single methods.
_OF_EXPLANATIONS = ("atlas", "atlases_dir", "occlusion_baseline", "null_parcels")
#: What the participant level alone reads.
_OF_PARTICIPANTS = (
    *_OF_RAW_DATA,
    *_OF_EXPLANATIONS,
    "n_workers",
    "model",
    "explain",
    "level",
    "sloppy",
    "stop_on_first_crash",
    "clean_workdir",
    "resource_monitor",
    "crashfile_format",
)


def validate(settings: Settings) -> list[str]:
    """Check the settings.

    Returns
    -------
    list of str
        Warnings, one line each.

    Raises
    ------
    UsageError
        The first problem found, in one line.
    """
    for check in CHECKS:
        problem = check(settings)
        if problem:
            raise UsageError(problem)
    for precheck in PRECHECKS:
        precheck(settings)
    return list(_warnings(settings))


def _bids_dir_exists(settings: Settings) -> str | None:
    if "participant" not in settings.analysis_level or settings.execution.from_derivatives:
        return None  # these read derivatives only
    if not settings.bids_dir.is_dir():
        return f"BIDS_DIR {settings.bids_dir} is not a folder: check the path (and bind mounts)."
    if not os.access(settings.bids_dir, os.R_OK | os.X_OK):
        return f"BIDS_DIR {settings.bids_dir} cannot be read: check its permissions."
    return None


def _output_is_not_input(settings: Settings) -> str | None:
    if _same(settings.bids_dir, settings.output_dir):
        better = settings.bids_dir / "derivatives" / f"bidsapp_brainage-{__version__}"
        return f"OUTPUT_DIR must not be BIDS_DIR; for example, use {better}."
    return None


def _output_not_among_raw(settings: Settings) -> str | None:
    relative = _inside(settings.output_dir, settings.bids_dir)
    if relative is not None and relative.parts and relative.parts[0].startswith("sub-"):
        better = settings.bids_dir / "derivatives" / f"bidsapp_brainage-{__version__}"
        return f"OUTPUT_DIR lies inside a participant of BIDS_DIR; for example, use {better}."
    return None


def _output_writable(settings: Settings) -> str | None:
    return _writable(settings.output_dir, "OUTPUT_DIR", settings)


def _work_dir_outside_input(settings: Settings) -> str | None:
    work_dir = settings.execution.work_dir
    if "participant" in settings.analysis_level and _inside(work_dir, settings.bids_dir):
        return (
            f"The work folder {work_dir} lies inside BIDS_DIR, where it would be taken for data: "
            "give another one with -w."
        )
    return None


def _work_dir_is_its_own(settings: Settings) -> str | None:
    for name, folder in (("BIDS_DIR", settings.bids_dir), ("OUTPUT_DIR", settings.output_dir)):
        if _same(settings.execution.work_dir, folder):
            return f"The work folder must not be {name}: give another one with -w."
    return None


def _work_dir_writable(settings: Settings) -> str | None:
    if "participant" not in settings.analysis_level:
        return None
    return _writable(settings.execution.work_dir, "The work folder (-w)", settings)


def _paths_exist(settings: Settings) -> str | None:
    for option, path in _named_paths(settings):
        wanted = path.is_dir if option.exists == "folder" else path.is_file
        if not wanted():
            kind = option.exists or "file"
            return f"{option.flag} {path} is not a {kind}: check the path (and bind mounts)."
    return None


def _named_paths(settings: Settings) -> Iterator[tuple[Option, Path]]:
    """Options that name a file or a folder which must be there, with its path."""
    options = all_options()
    for option in options.values():
        value = getattr(getattr(settings, option.section), option.name)
        if option.exists and value is not None:
            named = value if option.several else [value]
            paths = (item[1] if isinstance(item, tuple) else item for item in named)
            yield from ((option, path) for path in paths)
    bias, atlas = settings.processing.bias_correction, settings.processing.atlas
    if bias.startswith("file:"):
        yield options["bias_correction"], Path(bias.removeprefix("file:"))
    cluster = settings.resources.cluster
    if is_remote(cluster) and cluster not in QUEUES and not is_address(cluster):
        yield options["cluster"], Path(cluster)
    if atlas.endswith(_SUFFIXES_OF_FILES):
        yield options["atlas"], Path(atlas)


def _explanation_possible(settings: Settings) -> str | None:
    chosen, level = settings.processing.explain, settings.processing.level
    if "none" in chosen and len(set(chosen)) > 1:
        return f"--explain {','.join(chosen)}: none excludes the other methods."
    if level != "full" and chosen not in (all_options()["explain"].default, ("none",)):
        return (
            f"--level {level} explains nothing, so it excludes --explain {','.join(chosen)}: give "
            "one of them (or --explain none, if the other stands in --config-file)."
        )
    return None


def _memory_suffices(settings: Settings) -> str | None:
    """Nothing is computed where only pages or tables are made."""
    from bidsapp_brainage.running.machine import too_little_memory

    memory_gb = settings.resources.memory_gb
    if not _computes(settings) or memory_gb is None:
        return None
    return too_little_memory(memory_gb)


def _one_engine(settings: Settings) -> str | None:
    if settings.resources.cluster and settings.resources.plugin_file is not None:
        return (
            "--cluster and --use-plugin exclude each other: the first deals scans out to workers, "
            "the second changes how nipype runs the nodes of all scans in one place. Give one."
        )
    return None


def _engine_can(settings: Settings) -> str | None:
    """Options about single nodes, where this process does not run them itself."""
    resources, execution = settings.resources, settings.execution
    names = ["resource_monitor", "pdb", "crashfile_format"]
    engines = {
        "--explain-only": execution.explain_only,
        "--cluster": bool(resources.cluster),
        "--use-plugin": resources.plugin_file is not None,
    }
    chosen = [engine for engine, used in engines.items() if used]
    if chosen == ["--use-plugin"]:
        names.remove("crashfile_format")  # all plugins of nipype write such files
    given = _given_of(names, settings)
    if chosen and given and _computes(settings):
        return (
            f"{given[0]} is about nodes that this process runs itself, so it excludes {chosen[0]}: "
            "give one of them."
        )
    return None


def _debugger_can_ask(settings: Settings) -> str | None:
    if settings.execution.pdb and not sys.stdin.isatty():
        return "--pdb opens a debugger, which needs a terminal (in a container: docker run -it)."
    return None


def _country_named(settings: Settings) -> str | None:
    """Emissions per kWh differ widely between countries, so none is assumed."""
    tracked, country = settings.execution.track_carbon, settings.execution.country_code
    if tracked and not country:
        return "--track-carbon needs --country-code, for example --country-code DEU."
    if country and not tracked:
        return "--country-code is for --track-carbon: give both, or none."
    if tracked and is_remote(settings.resources.cluster):
        return (
            "--track-carbon watches this machine, and --cluster works on others: give one of them."
        )
    return None


def _derivatives_are_derived(settings: Settings) -> str | None:
    """Raw data among ``--derivatives`` would be searched in vain."""
    for _, root in settings.selection.derivatives:
        described = read_json(root / "dataset_description.json")
        derived = {"GeneratedBy", "PipelineDescription"} & set(described)  # the latter: before 1.4
        if described and described.get("DatasetType", "derivative" if derived else "raw") == "raw":
            return (
                f"--derivatives {root} is a raw dataset, as its dataset_description.json says: "
                "name a folder of derivatives, for example of fMRIPrep."
            )
    return None


def _reference_named(settings: Settings) -> str | None:
    """Who is calibrated on must be said: patients among controls would be calibrated away."""
    chosen, group = settings.processing.bias_correction, settings.group
    if chosen not in (REFERENCE, EVERYBODY):
        return None
    if "group" not in settings.analysis_level:
        return (
            f"--bias-correction {chosen} belongs to the group level, which fits on the finished "
            "predictions: give it with group, or participant group."
        )
    if chosen == REFERENCE and not (group.group_column and group.reference_group):
        return (
            "--bias-correction reference needs --group-column and --reference-group: say who the "
            f"controls are. If everybody is one, say --bias-correction {EVERYBODY}."
        )
    return None


def _controls_named(settings: Settings) -> str | None:
    """Sites are harmonised on controls: with patients among them, disease would be removed."""
    group = settings.group
    if group.harmonise != "none" and group.group_column and not group.reference_group:
        return (
            f"--harmonise {group.harmonise} with --group-column needs --reference-group: say who "
            "the controls are."
        )
    return None


def _one_mode(settings: Settings) -> str | None:
    modes = [option for option in all_options().values() if option.heading == MODES]
    chosen = [mode.flag for mode in modes if getattr(settings.execution, mode.name)]
    if settings.execution.explain_only and not settings.execution.dry_run:
        chosen.append("--explain-only")  # of which --dry-run gives a list
    return f"{' and '.join(chosen)} exclude each other: give one." if len(chosen) > 1 else None


def _something_to_explain(settings: Settings) -> str | None:
    if not settings.execution.explain_only:
        return None
    if "participant" not in settings.analysis_level:
        return "--explain-only belongs to the participant level: give participant."
    if not explanations(settings.processing):
        return (
            "--explain-only excludes --explain none and every --level but full: give one of them."
        )
    return None


#: In this order, the first problem is reported.
CHECKS: tuple[Callable[[Settings], str | None], ...] = (
    _bids_dir_exists,
    _output_is_not_input,
    _output_not_among_raw,
    _output_writable,
    _work_dir_is_its_own,
    _work_dir_outside_input,
    _work_dir_writable,
    _paths_exist,
    _memory_suffices,
    _one_engine,
    _engine_can,
    _debugger_can_ask,
    _country_named,
    _derivatives_are_derived,
    _explanation_possible,
    _reference_named,
    _controls_named,
    _one_mode,
    _something_to_explain,
)


def _labels_known(settings: Settings) -> None:
    """Unknown participants, before pybids is imported."""
    from bidsapp_brainage.bids.input.images import wanted_participants
    from bidsapp_brainage.running.freesurfer import find_results

    if "participant" not in settings.analysis_level or settings.execution.from_derivatives:
        return
    try:
        wanted_participants(settings.bids_dir, settings.selection.participant_label)
    except NoInputError:  # then FreeSurfer results alone will do
        if not find_results(settings.selection.derivatives):
            raise


def _filters_usable(settings: Settings) -> None:
    """A filter file that is no JSON or has unknown entities."""
    from bidsapp_brainage.bids.input.images import read_filter_file

    if settings.selection.bids_filter_file is not None:
        read_filter_file(settings.selection.bids_filter_file)


def _plugin_usable(settings: Settings) -> None:
    """A plugin file that is no YAML, or names what nipype does not have."""
    if settings.resources.plugin_file is not None and _computes(settings):
        from bidsapp_brainage.running.execute import read_plugin

        read_plugin(settings.resources.plugin_file)


def _cluster_usable(settings: Settings) -> None:
    """Dask, the command of the queue, and the file with its settings."""
    if settings.resources.cluster and _computes(settings) and not settings.execution.explain_only:
        from bidsapp_brainage.running.cluster.choice import read_choice

        read_choice(settings.resources.cluster)


def _carbon_library(settings: Settings) -> None:
    """CodeCarbon, before anything is computed."""
    if settings.execution.track_carbon and not settings.execution.dry_run:
        from bidsapp_brainage.running.recording.carbon import offline_tracker

        offline_tracker()


def _model_known(settings: Settings) -> None:
    """A misspelt model, or one of which the group level has no predictions."""
    name, folder = settings.processing.model, settings.processing.models_dir
    if "participant" not in settings.analysis_level:
        _predictions_known(name, settings.output_dir)
        return
    from bidsapp_brainage.model.cards import list_cards

    there = list_cards(folder)
    if not name.endswith(".json") and name not in there:
        known = ", ".join(there) or "none"
        raise UsageError(f"--model {name}: there is no such model card. Known: {known}.")


def _predictions_known(model: str, output_dir: Path) -> None:
    """The group level summarises all models; who names one must find it there."""
    from bidsapp_brainage.bids.derivatives import Derivatives
    from bidsapp_brainage.model.cards import name_of_card

    if model == all_options()["model"].default:
        return  # nobody named it
    label = name_of_card(model)
    there = sorted({file.model for file in Derivatives(output_dir, outputs=["brainage"]).files})
    if there and label not in there:  # without any, the level itself says so
        raise UsageError(
            f"--model {model}: {output_dir} has no predictions of it, but of {', '.join(there)}. "
            "The group level summarises all that are there: leave --model out, or run the "
            "participant level with it first."
        )


#: Checks that raise their own error; still without heavy imports.
PRECHECKS: tuple[Callable[[Settings], None], ...] = (
    _labels_known,
    _filters_usable,
    _plugin_usable,
    _cluster_usable,
    _carbon_library,
    _model_known,
)


def _warnings(settings: Settings) -> Iterator[str]:
    """What is allowed but hardly meant."""
    work_dir, output_dir = settings.execution.work_dir, settings.output_dir
    if "participant" in settings.analysis_level and _inside(work_dir, output_dir):
        yield (
            f"The work folder {work_dir} lies inside OUTPUT_DIR; it is large and no result: "
            "better give another one with -w."
        )
    if settings.processing.sloppy:
        yield "--sloppy is for testing only: do not use these results."
    yield from _without_effect(settings)
    yield from _of_later_tables(settings)
    if settings.resources.omp_nthreads > settings.resources.nprocs:
        yield "--omp-nthreads is larger than --nprocs; one process may use more than you wanted."
    description = settings.bids_dir / "dataset_description.json"
    if settings.bids_dir.is_dir() and not description.is_file():
        yield f"{description} is missing: BIDS requires it."


def _without_effect(settings: Settings) -> Iterator[str]:
    """Options that the run does not read, with the reason."""
    of_methods = {item.name: item.method for item in all_options().values() if item.method}
    if "participant" not in settings.analysis_level:
        if idle := _given_of((*_OF_PARTICIPANTS, *of_methods), settings):
            yield f"{', '.join(idle)}: without effect on the group level, which summarises all."
        return
    if settings.execution.explain_only and (idle := _given_of(_OF_RAW_DATA, settings)):
        yield f"{', '.join(idle)}: without effect, because --explain-only reads derivatives only."
    if settings.processing.level == "fast" and (idle := _given_of(_OF_PREPARATION, settings)):
        yield f"{', '.join(idle)}: without effect, because --level fast prepares nothing."
    cluster = settings.resources.cluster
    if (not cluster or is_address(cluster)) and (idle := _given_of(("n_workers",), settings)):
        yield f"{idle[0]}: without effect, because --cluster starts no workers here."
    chosen = explanations(settings.processing)
    if not chosen and (idle := _given_of((*_OF_EXPLANATIONS, *of_methods), settings)):
        yield f"{', '.join(idle)}: without effect, because nothing is explained."
    for name, method in of_methods.items() if chosen else ():
        if method not in chosen and (idle := _given_of((name,), settings)):
            yield f"{idle[0]}: without effect, because --explain does not name {method}."


def _of_later_tables(settings: Settings) -> Iterator[str]:
    """What no table of the group knows after this run."""
    if "group" in settings.analysis_level and not settings.execution.reports_only:
        return
    if idle := _given_of(("min_rating", "factors", "harmonise"), settings):
        yield f"{', '.join(idle)}: without effect until the group level computes its tables."
    if "group" in settings.analysis_level and settings.selection.ratings:
        yield "--ratings: kept; tables of the group follow when it runs without --reports-only."


def _computes(settings: Settings) -> bool:
    """Whether images are processed."""
    return "participant" in settings.analysis_level and not settings.execution.reports_only


def _given_of(names: Iterable[str], settings: Settings) -> list[str]:
    """Flags of the options that have another value than their default."""
    options = [all_options()[name] for name in names]
    return [
        option.flag
        for option in options
        if getattr(getattr(settings, option.section), option.name) != option.default
    ]


def _same(first: Path, second: Path) -> bool:
    return first.resolve() == second.resolve()


def _inside(path: Path, folder: Path) -> Path | None:
    """`path` relative to `folder` if it is inside (following links), else None."""
    try:
        return path.resolve().relative_to(folder.resolve())
    except ValueError:
        return None


def _writable(folder: Path, name: str, settings: Settings) -> str | None:
    """Whether a folder can be made and written, without making it."""
    if settings.execution.dry_run:
        return None
    nearest = folder
    try:
        while not nearest.exists() and nearest != nearest.parent:
            nearest = nearest.parent
    except OSError as error:
        return f"{name} {folder} cannot be reached ({error.strerror})."
    if not nearest.is_dir():
        return f"{name} {folder}: {nearest} is a file, not a folder."
    if not os.access(nearest, os.W_OK | os.X_OK):
        return (
            f"{name} {folder} cannot be written: check the permissions of {nearest} for user "
            f"{os.getuid()}, or bind it without :ro."
        )
    return None
