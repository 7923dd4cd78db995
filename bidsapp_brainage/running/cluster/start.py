"""Starting workers of Dask: processes of this machine, or jobs of a queue."""

from __future__ import annotations

import logging
import shlex
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bidsapp_brainage.errors import UsageError
from bidsapp_brainage.running.cluster.choice import cluster_class, shipped

if TYPE_CHECKING:
    from bidsapp_brainage.running.cluster.choice import Choice

LOGGER = logging.getLogger("bidsapp_brainage")
#: No pages of the scheduler: it would serve them to everybody.
_NO_DASHBOARD = {"dashboard": False, "dashboard_address": "127.0.0.1:0"}
_ONE_AT_A_TIME = ["--nthreads", "1"]  # the last one counts
#: Dask's half an hour would end workers in the middle of scans.
_WALLTIME = "04:00:00"


@dataclass(frozen=True)
class Share:
    """What workers get.

    Attributes
    ----------
    n_workers : int
        At one time, at most.
    nprocs : int
        Processors of one.
    memory_gb : float
        Memory of one.
    folder : Path
        For what jobs print, and for keys; all machines must see it.
    variables : mapping of str to str
        Their environment.
    """

    n_workers: int
    nprocs: int
    memory_gb: float
    folder: Path
    variables: Mapping[str, str] = field(default_factory=dict)


def start_local(share: Share) -> Any:
    """Start workers on this machine; they inherit the environment and are replaced if lost."""
    from distributed import LocalCluster, Security

    share.folder.mkdir(parents=True, exist_ok=True)
    return LocalCluster(
        n_workers=share.n_workers,
        threads_per_worker=1,
        memory_limit=0,  # scans have processes of their own
        dashboard_address=None,
        security=Security.temporary(),  # any user of the machine could give it work otherwise
        local_directory=str(share.folder),
        silence_logs=logging.CRITICAL,
    )


def start_queue(
    choice: Choice, share: Share, wanted: Callable[[], int], submitted: Callable[[str], None]
) -> Any:
    """Start a scheduler here that keeps so many jobs in the queue as there is work for.

    Parameters
    ----------
    choice : Choice
        With the queue.
    share : Share
        What is asked for, where Dask's configuration does not say it.
    wanted : callable
        How many workers would have work now.
    submitted : callable
        Told, for each job, what the queue says if it does not take it; else an empty text.

    Raises
    ------
    UsageError
        The configuration gives a worker less than it needs.
    """
    from distributed import Adaptive

    class AsManyAsWanted(Adaptive):
        async def target(self) -> int:
            return wanted()

    share.folder.mkdir(parents=True, exist_ok=True)
    kind = cluster_class(choice.kind)
    cluster = kind(
        job_cls=_told(kind.job_cls, submitted),
        security=True,
        scheduler_options=_NO_DASHBOARD | _chosen(choice.kind, "scheduler-options", {}),
        silence_logs=logging.CRITICAL,
        **job_options(choice.kind, share),
    )
    cluster.adapt(Adaptive=AsManyAsWanted, minimum=0, maximum=share.n_workers)
    return cluster


def job_options(queue: str, share: Share) -> dict[str, Any]:
    """Keywords of a job; what Dask's configuration says of them wins.

    Raises
    ------
    UsageError
        The job has not enough processors or memory for its workers.
    """
    from dask.utils import parse_bytes

    processes = _chosen(queue, "processes", 1)
    cores = _chosen(queue, "cores", processes * share.nprocs)
    memory = _chosen(queue, "memory", f"{processes * share.memory_gb:g} GiB")
    if cores < processes * share.nprocs:
        raise UsageError(
            f"A job of {cores} cores is too small for {processes} scans of {share.nprocs} "
            "processors: raise `cores` in the settings of the queue, or lower `nprocs`."
        )
    if parse_bytes(memory) < 0.999 * processes * share.memory_gb * 1e9:  # GB or GiB
        raise UsageError(
            f"A job of {memory} is too small for {processes} scans of {share.memory_gb:g} GB: "
            "raise `memory` in the settings of the queue, or lower `memory_gb`."
        )
    options = {
        "cores": cores,
        "memory": memory,
        "processes": processes,
        "job_name": _chosen(queue, "name", "brainage"),
        "log_directory": _chosen(queue, "log-directory", str(share.folder)),
        "shared_temp_directory": _chosen(queue, "shared-temp-directory", str(share.folder)),
        "worker_extra_args": [*_chosen(queue, "worker-extra-args", []), *_ONE_AT_A_TIME],
        "job_script_prologue": [
            *_chosen(queue, "job-script-prologue", []),
            *(f"export {name}={shlex.quote(value)}" for name, value in share.variables.items()),
        ],
    }
    if "walltime" in shipped()["jobqueue"][queue]:
        walltime = _WALLTIME.rpartition(":")[0] if queue == "lsf" else _WALLTIME
        options["walltime"] = _chosen(queue, "walltime", walltime)
    return options


def _chosen(queue: str, key: str, default: Any) -> Any:
    """What a person has configured, or our own default in the stead of Dask's."""
    import dask

    as_shipped = shipped()["jobqueue"][queue].get(key)
    value = dask.config.get(f"jobqueue.{queue}.{key}")
    return default if value == as_shipped else value


def _told(job_cls: type, submitted: Callable[[str], None]) -> type:
    """The class of a job that says whether it was submitted; Dask only logs that."""
    from distributed import Status

    class Job(job_cls):  # type: ignore[misc, valid-type]
        async def start(self) -> None:
            try:
                await super().start()
            except Exception as error:
                submitted(" ".join(str(error).split()))
                self.status = Status.failed
                raise
            submitted("")

    return Job
