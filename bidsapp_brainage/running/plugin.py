"""A nipype plugin that survives the death of a worker and leaves no children behind.

nipype's own MultiProc shares a pool of processes; when one of them is killed (as by an
out-of-memory killer) the pool breaks and the run waits for ever. Here a killed process is the
failure of the node that it ran, and nobody else's. A process takes one node after another, because
starting one costs more than many a node, and gives back the memory of each.
"""

from __future__ import annotations

import contextlib
import errno
import gc
import itertools
import logging
import os
import traceback
from pathlib import Path
from typing import Any

import numpy as np
from nipype.pipeline.plugins.multiproc import MultiProcPlugin
from scipy import sparse

from bidsapp_brainage.io import has_room, tells_of_full_disk
from bidsapp_brainage.running.processes.workers import Done, Job, Workers
from bidsapp_brainage.running.recording.resources import sampled

LOGGER = logging.getLogger("bidsapp_brainage")
_LEAST_MEMORY_GB = 0.01  # of MultiProcPlugin._send_procs_to_workers
_KEPT_GB = 1.0  # by a process that waits for its next node; libraries are half of it
_PATIENCE_S, _PAUSE_S = 1.0, "0.01"  # until something is said; when there is nothing to wait for


class SturdyMultiProc(MultiProcPlugin):
    """MultiProc with the same arguments that outlives its processes.

    Further arguments: ``log_level``, the level of nipype's messages in the children;
    ``priority``, a function of a node's full name, the smallest number runs first; ``relay``, a
    function (level, full name, text) that is told what a node says while it runs; ``sampled``,
    whether processors and memory of every node are sampled.
    """

    def __init__(self, plugin_args: dict[str, Any] | None = None) -> None:
        super().__init__(plugin_args=plugin_args)
        # With less than this nipype waits for ever, even when nothing runs.
        self.memory_gb: float = max(self.memory_gb, _LEAST_MEMORY_GB)
        self._answers: dict[str, dict[str, Any]] = {}
        self._workers = Workers(
            self.processors,
            log_level=self.plugin_args.get("log_level", logging.WARNING),
            relay=self.plugin_args.get("relay") or _tell_nobody,
            kept_gb=_KEPT_GB,
        )

    def run(self, graph: Any, config: Any, updatehash: bool = False) -> None:
        """Run all nodes; whatever happens, end every child before returning."""
        # nipype collects garbage around every node. With thousands of nodes in memory, which
        # stay anyway, this took longer than the work of many a node.
        gc.freeze()
        config = {**config, "execution": {**config["execution"], "poll_sleep_duration": _PAUSE_S}}
        try:
            with self._workers:
                super().run(graph, config, updatehash=updatehash)
        finally:
            gc.unfreeze()

    def _prerun_check(self, graph: Any) -> None:
        """Say if a stage may need more memory than the run may use: it then runs alone."""
        super()._prerun_check(graph)
        needed = max((node.mem_gb for node in graph.nodes()), default=0.0)
        if needed > self.memory_gb:
            LOGGER.warning(
                "A stage may need %.1f GB of memory, and this run may use %.1f GB (--mem): the "
                "largest stages run one at a time, and may be killed for want of memory.",
                needed,
                self.memory_gb,
            )

    def _generate_dependency_list(self, graph: Any) -> None:
        super()._generate_dependency_list(graph)
        self.depidx: Any = _Dependencies(self.depidx)

    def _sort_jobs(self, jobids: Any, scheduler: str = "tsort") -> Any:
        """Order the jobs that could start: one scan after the other, not stage by stage."""
        priority = self.plugin_args.get("priority")
        if priority is None:
            return super()._sort_jobs(jobids, scheduler=scheduler)
        return sorted(jobids, key=lambda job: (priority(self.procs[job].fullname), job))

    def _send_procs_to_workers(self, updatehash: bool = False, graph: Any = None) -> None:
        """Start what can start; if that is nothing, wait until something that runs is done."""
        before = np.sum(self.proc_done)
        super()._send_procs_to_workers(updatehash=updatehash, graph=graph)
        if np.sum(self.proc_done) == before:
            for done in self._workers.collect(_PATIENCE_S):
                self._answers[done.job.label] = _told(done)

    def _submit_job(self, node: Any, updatehash: bool = False) -> int | None:
        self._taskid += 1
        self._task_obj[self._taskid] = node.fullname
        # Files that several nodes get are read once, here. What is wrong with one, its node tells.
        with contextlib.suppress(Exception):
            node._get_hashval()
        arguments = (node, updatehash, self.plugin_args.get("sampled", False))
        given = self._workers.submit(Job(node.fullname, _run_in_child, arguments))
        return int(self._taskid) if given else None

    def _get_result(self, taskid: int) -> dict[str, Any] | None:
        return self._answers.pop(self._task_obj[taskid], None)

    def _clean_queue(self, jobid: Any, graph: Any, result: Any = None) -> Any:
        """Set aside what depends on a failed node; a full disk ends the run instead.

        Every further node would fail, too, and nothing could be written about it.
        """
        if result is not None and result.get("disk_full"):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return super()._clean_queue(jobid, graph, result=result)


class _Dependencies(sparse.lil_matrix):
    """Which jobs wait for which.

    nipype adds up the columns many times a second, and scipy converts the matrix for that: with
    the nodes of 140 scans this took half a processor.
    """

    def sum(self, axis: Any = None, dtype: Any = None, out: Any = None) -> Any:
        """Count what each job still waits for."""
        if axis != 0:
            return super().sum(axis=axis, dtype=dtype, out=out)
        waited_for = np.fromiter(itertools.chain.from_iterable(self.rows), dtype=np.intp)
        return np.bincount(waited_for, minlength=self.shape[1])[np.newaxis, :]


def _tell_nobody(*_: object) -> None:
    """Do nothing with what nodes say."""


def _told(done: Done) -> dict[str, Any]:
    """What nipype is told of a node that is done, or whose process is gone."""
    if not done.error:
        return dict(done.result)
    reason = f"bidsapp_brainage.errors.BrainageError: {done.error}"
    return {"result": None, "traceback": [done.traceback or reason]}


def _run_in_child(node: Any, updatehash: bool, samples: bool) -> dict[str, Any]:
    """Result of a node, as nipype's own plugin gives it.

    That one asks a failed node for its result once more, which may fail, too (on a full disk there
    is no file of it), and nobody would know why the process ended.
    """
    try:
        with sampled(Path(node.base_dir)) if samples else contextlib.nullcontext():
            return {"result": node.run(updatehash=updatehash), "traceback": None}
    except Exception as error:
        lines = traceback.format_exception(error)
        # Libraries in C++ do not say why they could not write.
        full = tells_of_full_disk("".join(lines)) or not has_room(Path(node.output_dir()))
        return {"result": None, "traceback": lines, "disk_full": full}
