"""What ``--cluster`` names, read and checked before anything is computed."""

from __future__ import annotations

import importlib.util
import shutil
import signal
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

from bidsapp_brainage.errors import MissingExecutableError, UsageError
from bidsapp_brainage.settings import LOCAL, QUEUES, is_address

#: What the extra ``cluster`` installs.
_LIBRARIES = ("distributed", "dask_jobqueue", "cryptography")
_ADDRESS = "address"
#: Levels of Dask's configuration whose names are known: jobqueue, slurm, cores.
_LEVELS = 3
_CLASSES: Mapping[str, str] = MappingProxyType(
    {
        "slurm": "SLURMCluster",
        "sge": "SGECluster",
        "pbs": "PBSCluster",
        "lsf": "LSFCluster",
        "htcondor": "HTCondorCluster",
    }
)


@dataclass(frozen=True)
class Choice:
    """Where the workers are.

    Attributes
    ----------
    kind : str
        ``local``, one of the queues, or ``address``.
    address : str
        Of a scheduler that runs already; else empty.
    configuration : mapping
        Of Dask, from the file.
    """

    kind: str
    address: str = ""
    configuration: Mapping[str, Any] = field(default_factory=dict)

    @property
    def is_queue(self) -> bool:
        """Whether workers are jobs of a queue."""
        return self.kind in QUEUES

    @property
    def ours(self) -> bool:
        """Whether this run starts the workers, and ends them."""
        return self.kind != _ADDRESS


def read_choice(cluster: str) -> Choice:
    """Read the value of ``--cluster``.

    Raises
    ------
    UsageError
        The file cannot be read, names no queue or more than one, or has unknown keys.
    MissingExecutableError
        Dask or the command of the queue is not installed.
    """
    absent = [name for name in _LIBRARIES if importlib.util.find_spec(name) is None]
    if absent:
        raise MissingExecutableError(
            f"`cluster` {cluster} needs {', '.join(absent)}: "
            "pip install 'bidsapp-brainage[cluster]', here and where the workers run."
        )
    if is_address(cluster):
        return Choice(_ADDRESS, cluster)
    if cluster == LOCAL:
        return Choice(LOCAL)
    choice = Choice(cluster) if cluster in QUEUES else _read_file(Path(cluster))
    command = cluster_class(choice.kind).job_cls.submit_command.split()[0]
    if shutil.which(command) is None:
        raise MissingExecutableError(
            f"`cluster` {cluster}: the command {command} is not on the PATH. Start this where jobs "
            "can be submitted, or name another queue (`cluster` local needs none)."
        )
    return choice


def cluster_class(queue: str) -> Any:
    """Class of dask-jobqueue for a queue."""
    return getattr(_jobqueue(), _CLASSES[queue])


def _jobqueue() -> Any:
    """Import dask-jobqueue, which makes Ctrl-C end the process with status 0; undo that."""
    handler = signal.getsignal(signal.SIGINT)
    import dask_jobqueue

    signal.signal(signal.SIGINT, handler)
    return dask_jobqueue


def _read_file(path: Path) -> Choice:
    """A configuration file of Dask with the settings of one queue."""
    import yaml

    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise UsageError(f"`cluster` {path} cannot be read as YAML ({error}).") from error
    if not isinstance(content, dict) or not isinstance(content.get("jobqueue"), dict):
        raise UsageError(
            f"`cluster` {path}: expected a configuration of dask-jobqueue, `jobqueue:` and below "
            f"it one of {', '.join(QUEUES)} with its settings."
        )
    queues = list(content["jobqueue"])
    if len(queues) != 1 or queues[0] not in QUEUES:
        there = ", ".join(map(str, queues)) or "nothing"
        raise UsageError(
            f"`cluster` {path}: below `jobqueue:` there is {there}; name one of "
            f"{', '.join(QUEUES)}."
        )
    if unknown := _unknown(content, shipped(), _LEVELS):
        raise UsageError(
            f"`cluster` {path}: Dask knows no setting {unknown}. Those of a queue are listed at "
            "https://jobqueue.dask.org, all others at https://docs.dask.org."
        )
    return Choice(queues[0], configuration=content)


def shipped() -> dict[str, Any]:
    """Dask's own configuration, with that of dask-jobqueue, as they were installed."""
    import dask

    _jobqueue()  # adds its own part
    return dict(dask.config.merge(*dask.config.defaults))


def _unknown(content: Mapping[Any, Any], known: Mapping[str, Any], levels: int) -> str:
    """Dotted name of the first key that is not known; empty if all are."""
    names = {name.replace("_", "-"): value for name, value in known.items()}
    for key, value in content.items():
        name = str(key).replace("_", "-")
        if name not in names:
            return str(key)
        below = names[name]
        if levels > 1 and isinstance(value, Mapping) and isinstance(below, Mapping):
            inner = _unknown(value, below, levels - 1)
            if inner:
                return f"{key}.{inner}"
    return ""
