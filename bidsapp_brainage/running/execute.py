"""Running a workflow: nipype's settings, the choice of the plugin, crash files, the graph."""

from __future__ import annotations

import logging
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from bidsapp_brainage.bids.names import log_dir
from bidsapp_brainage.errors import UsageError
from bidsapp_brainage.io import is_disk_full
from bidsapp_brainage.running.machine import LEAST_MEMORY_GB
from bidsapp_brainage.settings import all_options
from bidsapp_brainage.workflows.scan import scan_workflow_name

if TYPE_CHECKING:
    from bidsapp_brainage.bids.collect import Scan
    from bidsapp_brainage.running.monitor import Monitor
    from bidsapp_brainage.settings import Resources, Settings

LOGGER = logging.getLogger("bidsapp_brainage")
#: Arguments of MultiProc, with the options that are checked alike.
_PLUGIN_ARGUMENTS = MappingProxyType(
    {"n_procs": "nprocs", "memory_gb": "memory_gb", "n_gpu_procs": "n_gpus"}
)


#: What makes malloc take huge pages and keep what was freed. On a virtual machine, fresh memory in
#: small pages can cost a stage more time than its work.
KEEP_MEMORY = (
    "glibc.malloc.hugetlb=1:glibc.malloc.mmap_max=0:glibc.malloc.trim_threshold=8000000000"
)


@contextmanager
def environment(**values: str) -> Iterator[None]:
    """Set environment variables for this process and its children, and put them back."""
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def run_environment(settings: Settings, home: Path) -> AbstractContextManager[None]:
    """Environment of the participant level and its children, with a TemplateFlow home."""
    return environment(**run_variables(settings, home))


def run_variables(settings: Settings, home: Path) -> dict[str, str]:
    """Environment variables of the participant level, with a TemplateFlow home."""
    threads = str(settings.resources.omp_nthreads)
    return {
        "TEMPLATEFLOW_HOME": str(home),
        "TEMPLATEFLOW_AUTOUPDATE": "0",
        "TEMPLATEFLOW_USE_DATALAD": "0",
        "NO_ET": "1",  # nipype must not ask the network for its newest version
        # read when a process starts
        "GLIBC_TUNABLES": os.environ.get("GLIBC_TUNABLES", KEEP_MEMORY),
        "OMP_NUM_THREADS": threads,
        "OPENBLAS_NUM_THREADS": threads,
        "ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS": "1",  # N4's field depends on their number
        "MPLCONFIGDIR": str(settings.execution.work_dir / "matplotlib"),
    }


def configure(
    workflow: Any,
    scans: Sequence[Scan],
    *,
    output_dir: Path,
    run_uuid: str,
    stop_on_first_crash: bool = False,
    keep_everything: bool = False,
    hash_method: str = "content",
    pickles: Path | None = None,
) -> None:
    """Set nipype's options for every node, and where its crash file goes.

    Parameters
    ----------
    workflow : LiterateWorkflow
        From :func:`bidsapp_brainage.workflows.base.init_brainage_wf`.
    scans : sequence of Scan
        Its scans; their crash files go to the participant's log folder.
    output_dir : Path
        Root of the derivatives.
    run_uuid : str
        Name of the log folder.
    stop_on_first_crash : bool
        Stop everything at the first failure.
    keep_everything : bool
        Keep nipype's own reports of each node, for debugging.
    hash_method : {"content", "timestamp"}
        By what nipype knows a file that it has seen. By content, a touched or copied input is the
        same input.
    pickles : Path, optional
        Write crash files as pickles here; :func:`unpickle_crashes` makes the usual ones of them.
    """
    crash_dir = pickles or output_dir / "logs" / run_uuid
    workflow.config["execution"] = nipype_options(crash_dir) | {
        "crashfile_format": "txt" if pickles is None else "pklz",
        "hash_method": hash_method,
        "stop_on_first_crash": str(stop_on_first_crash).lower(),
        "create_report": str(keep_everything).lower(),
    }
    for scan in scans:
        scan_wf = workflow.get_node(scan_workflow_name(scan.label))
        folder = str(pickles or log_dir(output_dir, scan.subject, run_uuid))
        for name in scan_wf.list_node_names():
            scan_wf.get_node(name).config = {"execution": {"crashdump_dir": folder}}


def nipype_options(crash_dir: Path) -> dict[str, str]:
    """Nipype's options of every run, with the folder for crash files."""
    return {
        "crashfile_format": "txt",
        "crashdump_dir": str(crash_dir),
        "hash_method": "content",  # a touched or copied input is the same input
        # Outputs that nobody needs now are needed when the next run asks for more.
        "remove_unnecessary_outputs": "false",
        "stop_on_first_crash": "false",
        "create_report": "false",
        "poll_sleep_duration": "0.1",
        "check_version": "false",
    }


def run_workflow(
    workflow: Any, resources: Resources, monitor: Monitor, *, memory_gb: float, log_level: int
) -> None:
    """Run all nodes; failures of nodes are left to the crash files.

    Raises
    ------
    UsageError
        The plugin file cannot be used.
    """
    name, arguments = read_plugin(resources.plugin_file)
    plugin: Any = name
    if name == "MultiProc":
        from bidsapp_brainage.running.plugin import SturdyMultiProc

        defaults = {
            "n_procs": resources.nprocs,
            "memory_gb": memory_gb,
            "n_gpu_procs": resources.n_gpus,
            "raise_insufficient": False,
            "priority": monitor.place_of,
            "log_level": log_level,
            "relay": monitor.log,
            "sampled": monitor.sampled,
        }
        plugin = SturdyMultiProc({**defaults, **arguments, "status_callback": monitor})
    _run(workflow, plugin, {**arguments, "status_callback": monitor}, monitor)


def unpickle_crashes(pickles: Path, output_dir: Path, run_uuid: str, monitor: Monitor) -> None:
    """Write pickled crash files as text into the log folders, where nipype writes them else.

    Those of other batches of the same run, which lie there too, are left to their own monitors.
    """
    from nipype.utils.filemanip import crash2txt, loadcrash

    for path in sorted(pickles.glob("crash-*.pklz")):
        crash = loadcrash(str(path))
        name = crash["node"].fullname
        if name not in monitor.failed:
            continue
        scan = monitor.scan_of(name)
        subject = scan.removeprefix("sub-").partition("_")[0]
        folder = log_dir(output_dir, subject, run_uuid) if scan else output_dir / "logs" / run_uuid
        folder.mkdir(parents=True, exist_ok=True)
        crash2txt(str(folder / f"{path.stem}.txt"), crash)


def run_to_debug(workflow: Any, monitor: Monitor) -> None:
    """Run all nodes in this process, and open Python's debugger where the first one fails."""
    import pdb  # noqa: T100

    workflow.config["execution"]["stop_on_first_crash"] = "true"
    for name in workflow.list_node_names():
        workflow.get_node(name).interface.debugged = True
    try:
        workflow.run(plugin="Linear", plugin_args={"status_callback": monitor})
    except Exception as error:
        LOGGER.error("%s: %s", type(error).__name__, error)
        pdb.post_mortem(error.__traceback__)


def run_in_process(workflow: Any, monitor: Monitor) -> None:
    """Run all nodes in this process, one after the other; failures are left to crash files."""
    _run(workflow, "Linear", {"status_callback": monitor}, monitor)


def _run(workflow: Any, plugin: Any, arguments: dict[str, Any], monitor: Monitor) -> None:
    try:
        workflow.run(plugin=plugin, plugin_args=arguments)
    except UsageError:
        raise
    except Exception as error:  # nipype raises the first failure at the end, as any class
        if is_disk_full(error):
            raise
        LOGGER.debug("The workflow ended with an error: %s", error)
        if not monitor.failed:
            LOGGER.error("The workflow engine failed: %s", error)


def read_plugin(path: Path | None) -> tuple[str, dict[str, Any]]:
    """Name and arguments of nipype's plugin from a YAML file; MultiProc without one.

    Raises
    ------
    UsageError
        The file is missing, is no YAML, or names no plugin of nipype, or an argument is
        impossible.
    """
    import yaml

    if path is None:
        return "MultiProc", {}
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
        name, arguments = str(content["plugin"]), dict(content.get("plugin_args") or {})
    except (OSError, yaml.YAMLError, KeyError, TypeError, ValueError) as error:
        raise UsageError(
            f"--use-plugin {path}: expected YAML with `plugin: NAME` and `plugin_args:` "
            f"({type(error).__name__})."
        ) from error
    if problem := _plugin_problem(name, arguments):
        raise UsageError(f"--use-plugin {path}: {problem}")
    return name, arguments


def _plugin_problem(name: str, arguments: Mapping[str, Any]) -> str | None:
    """What is wrong with a plugin or its arguments, with the remedy."""
    from nipype.pipeline import plugins

    known = sorted(word.removesuffix("Plugin") for word in dir(plugins) if word.endswith("Plugin"))
    if name not in known:
        return f"nipype has no plugin {name!r}; it has {', '.join(known)}."
    for argument, field in _PLUGIN_ARGUMENTS.items():
        if argument in arguments:
            try:
                value = all_options()[field].take(arguments[argument])
            except UsageError as error:
                return f"plugin_args, {argument}: {error}"
            if field == "memory_gb" and (value or 0) < LEAST_MEMORY_GB:
                return f"plugin_args, {argument}: {value} GB are too little; give at least 1."
    return None


def draw_graph(workflow: Any, folder: Path) -> Path:
    """Write the graph of the workflow, as SVG where graphviz is installed, else as DOT."""
    folder.mkdir(parents=True, exist_ok=True)
    dot = folder / "graph.dot"
    if shutil.which("dot") is not None:
        workflow.write_graph(dotfilename=str(dot), graph2use="colored", format="svg")
        return folder / "graph.svg"
    LOGGER.warning("graphviz is not installed: the graph is written as %s only.", dot.name)
    workflow.write_hierarchical_dotfile(dotfilename=str(dot), colored=True, simple_form=True)
    return dot
