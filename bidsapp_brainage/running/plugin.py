"""A nipype plugin that survives the death of a worker and leaves no children behind.

nipype's own MultiProc shares a pool of processes; when one of them is killed (as by an
out-of-memory killer) the pool breaks and the run waits for ever. Here every node has a process of
its own: a killed process is that node's failure and nobody else's, and its memory is given back.
"""

from __future__ import annotations

import contextlib
import errno
import gc
import itertools
import logging
import os
import traceback
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np
from nipype.pipeline.plugins.multiproc import MultiProcPlugin
from scipy import sparse

from bidsapp_brainage.io import has_room, tells_of_full_disk
from bidsapp_brainage.running.processes.children import end, forkserver, obituary, settle_in
from bidsapp_brainage.running.recording.resources import sampled

LOGGER = logging.getLogger("bidsapp_brainage")
_LEAST_MEMORY_GB = 0.01  # of MultiProcPlugin._send_procs_to_workers


class OneProcessPerNode(MultiProcPlugin):
    """MultiProc with the same arguments, but a process for each node.

    Further arguments: ``log_level``, the level of nipype's messages in the children;
    ``priority``, a function of a node's full name, the smallest number runs first; ``relay``, a
    function (level, full name, text) that is told what a node says while it runs; ``sampled``,
    whether processors and memory of every node are sampled.
    """

    def __init__(self, plugin_args: dict[str, Any] | None = None) -> None:
        super().__init__(plugin_args=plugin_args)
        # With less than this nipype waits for ever, even when nothing runs.
        self.memory_gb: float = max(self.memory_gb, _LEAST_MEMORY_GB)
        self._context = forkserver()

    def run(self, graph: Any, config: Any, updatehash: bool = False) -> None:
        """Run all nodes; whatever happens, end every child before returning."""
        # nipype collects garbage around every node. With thousands of nodes in memory, which
        # stay anyway, this took longer than the work of many a node.
        gc.freeze()
        try:
            super().run(graph, config, updatehash=updatehash)
        finally:
            self._stop_children()
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

    def _submit_job(self, node: Any, updatehash: bool = False) -> int:
        self._taskid += 1
        receiver, sender = self._context.Pipe(duplex=False)
        level = self.plugin_args.get("log_level", logging.WARNING)
        samples = self.plugin_args.get("sampled", False)
        process = self._context.Process(
            target=_run_in_child, args=(node, updatehash, self._taskid, sender, level, samples)
        )
        process.start()
        sender.close()  # the child's end only: then a dead child reads as the end of the pipe
        self._task_obj[self._taskid] = (process, receiver, node.fullname)
        return int(self._taskid)

    def _get_result(self, taskid: int) -> dict[str, Any] | None:
        process, receiver, name = self._task_obj[taskid]
        relay = self.plugin_args.get("relay")
        try:
            while receiver.poll():
                message = receiver.recv()
                if isinstance(message, dict):
                    process.join()
                    receiver.close()
                    return message
                if relay is not None:
                    relay(message[0], name, message[1])
        except EOFError:
            process.join()
            receiver.close()
            reason = f"bidsapp_brainage.errors.BrainageError: {obituary(process.exitcode)}"
            return {"result": None, "traceback": [reason]}
        return None

    def _clean_queue(self, jobid: Any, graph: Any, result: Any = None) -> Any:
        """Set aside what depends on a failed node; a full disk ends the run instead.

        Every further node would fail, too, and nothing could be written about it.
        """
        if result is not None and result.get("disk_full"):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return super()._clean_queue(jobid, graph, result=result)

    def _stop_children(self) -> None:
        """End what still runs, politely first."""
        end(process for process, *_ in self._task_obj.values())
        self._task_obj.clear()


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


def _run_in_child(
    node: Any, updatehash: bool, taskid: int, sender: Connection, log_level: int, samples: bool
) -> None:
    """Run one node and send its result, or what went wrong, to the parent."""
    settle_in(sender, log_level)
    with sampled(Path(node.base_dir)) if samples else contextlib.nullcontext():
        outcome = _outcome(node, updatehash, taskid)
    sender.send(outcome)
    sender.close()


def _outcome(node: Any, updatehash: bool, taskid: int) -> dict[str, Any]:
    """Result of a node, as nipype's own plugin gives it.

    That one asks a failed node for its result once more, which may fail, too (on a full disk there
    is no file of it), and nobody would know why the process ended.
    """
    try:
        return {"result": node.run(updatehash=updatehash), "traceback": None, "taskid": taskid}
    except Exception as error:
        lines = traceback.format_exception(error)
        # Libraries in C++ do not say why they could not write.
        full = tells_of_full_disk("".join(lines)) or not has_room(Path(node.output_dir()))
        return {"result": None, "traceback": lines, "taskid": taskid, "disk_full": full}
