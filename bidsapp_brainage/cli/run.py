"""Entry point of ``bidsapp-brainage``: from arguments to an exit code."""

from __future__ import annotations

import logging
import re
import shutil
import sys
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any, get_args

from bidsapp_brainage import __version__
from bidsapp_brainage.cli import predict
from bidsapp_brainage.cli.logs import (
    LOGGER_NAME,
    configure_logging,
    library_level,
    messages_kept,
    write_run_logs,
)
from bidsapp_brainage.cli.parser import PROGRAM, build_parser
from bidsapp_brainage.cli.signals import (
    Terminated,
    end_children,
    signals_ignored,
    sigterm_raises,
)
from bidsapp_brainage.cli.surroundings import settle
from bidsapp_brainage.configuration import elsewhere, private_roots, public_path, read_toml
from bidsapp_brainage.errors import BrainageError, ExitCode, UsageError
from bidsapp_brainage.io import is_disk_full, remove_temporary
from bidsapp_brainage.settings import (
    AnalysisLevel,
    Settings,
    all_options,
    build_settings,
    is_remote,
)

LOGGER = logging.getLogger(LOGGER_NAME)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the app.

    Parameters
    ----------
    argv : sequence of str, optional
        Arguments without the program's name; those of the process by default.

    Returns
    -------
    int
        One of :class:`~bidsapp_brainage.errors.ExitCode`.
    """
    arguments = list(sys.argv[1:] if argv is None else argv)
    if predict.is_asked(arguments):
        return predict.main(arguments[1:])
    options = vars(build_parser().parse_args(arguments))
    configure_logging(options.get("verbose", 0))
    try:
        settings = settings_from(options, arguments)
    except BrainageError as error:
        LOGGER.error("%s", error)
        return error.exit_code
    with messages_kept() as lines:
        code = _run(settings)
    execution = settings.execution
    try:
        write_run_logs(settings.output_dir, execution.run_uuid, lines, private_roots(settings))
    except OSError as error:  # a full disk must not hide what the run itself came to
        LOGGER.error("run.log could not be written: %s", error)
    return code


def _run(settings: Settings) -> int:
    """Run all levels; every outcome becomes an exit code."""
    try:
        with sigterm_raises():
            return _dispatch(settings)
    except BrainageError as error:
        LOGGER.error("%s", error)
        return error.exit_code
    except KeyboardInterrupt:
        return _stopped("Interrupted", ExitCode.INTERRUPTED, settings)
    except Terminated:
        return _stopped("Terminated", ExitCode.TERMINATED, settings)
    except ModuleNotFoundError as error:
        LOGGER.error("The Python package %s is missing: install the app again.", error.name)
        return ExitCode.NO_PROGRAM
    except OSError as error:
        if not is_disk_full(error):
            return _internal_error()
        return _stopped(_full_disk(error, settings), ExitCode.DISK_FULL, settings)
    except Exception:
        return _internal_error()


def _full_disk(error: OSError, settings: Settings) -> str:
    """What to do about a full disk, with what is left on each."""
    folders = {"OUTPUT_DIR": settings.output_dir, "the work folder": settings.execution.work_dir}
    left = ", ".join(
        f"{name} {folder} has {shutil.disk_usage(folder).free / 1e6:.0f} MB left"
        for name, folder in folders.items()
        if folder.is_dir()
    )
    return f"The disk is full ({error.strerror}; {left}): free space first"


def _internal_error() -> int:
    """Log the exception that is being handled."""
    LOGGER.exception("Internal error of %s %s; please report it.", PROGRAM, __version__)
    return ExitCode.SOFTWARE


def settings_from(options: Mapping[str, Any], arguments: Sequence[str] = ()) -> Settings:
    """Settings from parsed options, the configuration file and the machine.

    The command line wins over the file, the file over the defaults.

    Raises
    ------
    UsageError
        The configuration file cannot be used.
    """
    folders = {key: Path(options[key]) for key in ("bids_dir", "output_dir")}
    config_file = options.get("config_file")
    stored = {} if config_file is None else read_toml(config_file, **folders)
    typed = {key: value for key, value in options.items() if key in all_options()}
    for key, value in stored.items():
        if key not in typed and elsewhere(value):
            raise UsageError(
                f"`config_file` {config_file}: the path for {key!r} was not recorded; give it as "
                f"`{key}`."
            )
    levels = tuple(level for level in get_args(AnalysisLevel) if level in options["analysis_level"])
    merged = _machine_defaults(stored | typed)
    merged["run_uuid"] = f"{datetime.now():%Y%m%d-%H%M%S}_{uuid.uuid4()}"
    settings = build_settings(analysis_level=levels, options=merged, **folders)
    typed_line = public_command_line(arguments, settings)
    return replace(settings, execution=replace(settings.execution, command_line=typed_line))


def _machine_defaults(options: Mapping[str, Any]) -> dict[str, Any]:
    """Fill in how much of the machine is used where nobody said so."""
    from bidsapp_brainage.running.machine import (
        SCAN_MEMORY_GB,
        available_cpus,
        available_memory_gb,
        default_threads,
    )

    filled = dict(options)
    cluster = filled.get("cluster", "")
    remote = is_remote(cluster)  # then they are those of one worker
    filled.setdefault("nprocs", 1 if remote else available_cpus())
    # Many scans at once are quicker than one after the other with many threads each.
    one_each = filled.get("explain_only", False) or bool(cluster)
    threads = 1 if one_each else default_threads(int(filled["nprocs"]))
    filled.setdefault("omp_nthreads", threads)
    filled.setdefault("memory_gb", SCAN_MEMORY_GB if remote else available_memory_gb())
    return filled


def public_command_line(arguments: Sequence[str], settings: Settings) -> str:
    """The command as typed, with every private path replaced (see `settings.public_path`)."""
    roots = private_roots(settings)
    return " ".join([PROGRAM, *(_public_argument(argument, roots) for argument in arguments)])


def _public_argument(argument: str, roots: Mapping[str, Path]) -> str:
    head, separator, path = "", "", argument
    match = re.match(r"(.*?)([=:])(.*)", argument, re.DOTALL) if "/" in argument else None
    if match and not match[1].startswith(("/", ".")):
        head, separator, path = match.groups()
    absolute = Path(path).expanduser().absolute()
    if "/" in path or absolute in roots.values():
        return f"{head}{separator}{public_path(absolute, roots)}"
    return argument


def _dispatch(settings: Settings) -> int:
    """Check the settings and run the levels in order; the worst exit code counts."""
    from bidsapp_brainage.cli.validate import validate

    settle(settings.execution.work_dir)
    for warning in validate(settings):
        LOGGER.warning("%s", warning)
    _announce(settings)
    if not settings.execution.dry_run:
        _take_in_ratings(settings)
    codes = [_run_level(level, settings) for level in settings.analysis_level]
    return max(codes)


def _take_in_ratings(settings: Settings) -> None:
    """Keep new ratings in the output, and refuse tables that cannot be used before all else."""
    from bidsapp_brainage.bids.ratings import FOLDER, stored_ratings, take_in

    output_dir, paths = settings.output_dir, settings.selection.ratings
    if paths:
        n_rows = take_in(output_dir, paths)
        LOGGER.info("%d ratings were taken in from %d tables", n_rows, len(paths))
    if (output_dir / FOLDER).is_dir():
        scans = stored_ratings(output_dir)["scan"].nunique()
        LOGGER.info("%s has ratings of %d scans", output_dir / FOLDER, scans)


def _run_level(level: str, settings: Settings) -> int:
    if settings.execution.dry_run:
        from bidsapp_brainage.running.dry_run import list_work

        return list_work(settings, level)
    if level == "group":
        from bidsapp_brainage.running.group import run_group

        return run_group(settings)
    if not settings.execution.from_derivatives and not settings.selection.skip_bids_validation:
        from bidsapp_brainage.bids.input.validation import check_dataset

        for message in check_dataset(settings.bids_dir):
            LOGGER.warning("%s", message)
    from bidsapp_brainage.running.participant import run_participant

    # Without -v nipype is silent: our own lines tell of failures, the crash files tell all.
    verbose = settings.execution.verbose
    return run_participant(settings, library_level(verbose) if verbose else logging.CRITICAL)


def _announce(settings: Settings) -> None:
    """Say what this run uses, so that a log file explains itself."""
    resources = settings.resources
    LOGGER.info("%s v%s, run %s", PROGRAM, __version__, settings.execution.run_uuid)
    LOGGER.info(
        "%s: %s -> %s",
        " and ".join(settings.analysis_level),
        settings.bids_dir,
        settings.output_dir,
    )
    LOGGER.info(
        "%s %d processors (%d per process), %.1f GB of memory, device %s",
        "Each worker uses" if is_remote(resources.cluster) else "Using",
        resources.nprocs,
        resources.omp_nthreads,
        resources.memory_gb or 0,
        resources.device,
    )


def _stopped(how: str, code: int, settings: Settings) -> int:
    """End all workers, remove what they had begun to write, and give the exit code."""
    with signals_ignored():
        LOGGER.error("%s: ending the workers; run the same command again to resume.", how)
        pids = end_children()
        remove_temporary(settings.output_dir, pids)
    return code


if __name__ == "__main__":
    sys.exit(main())
