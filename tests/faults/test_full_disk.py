"""A full disk, wherever it shows: the run ends with its own status, and says which disk."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import nipype.pipeline.engine as pe
import pytest
from nipype.interfaces.utility import Function

from bidsapp_brainage import io
from bidsapp_brainage.atlas.templates import prepare_home
from bidsapp_brainage.errors import ExitCode
from bidsapp_brainage.running import outcome
from bidsapp_brainage.running.execute import _run
from bidsapp_brainage.running.outcome import Failure
from bidsapp_brainage.running.plugin import SturdyMultiProc

FULL = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


class Monitor:
    """What the plugin tells."""

    def __init__(self) -> None:
        self.events: list[tuple[str, str]] = []
        self.failed: dict[str, str] = {}

    def __call__(self, node: pe.Node, status: str) -> None:
        self.events.append((node.name, status))


def fill(value: int) -> int:
    import errno

    try:
        raise OSError(errno.ENOSPC, "No space left on device")
    except OSError as error:
        raise ValueError("the library did not say why") from error


def add_one(value: int) -> int:
    return value + 1


@pytest.mark.timeout(120)
def test_a_step_without_room_ends_the_run(tmp_path: Path) -> None:
    workflow = pe.Workflow("wf", base_dir=str(tmp_path))
    workflow.config["execution"] = {
        "crashdump_dir": str(tmp_path),
        "crashfile_format": "txt",
        "poll_sleep_duration": "0.05",
        "create_report": "false",
    }
    nodes = [pe.Node(Function(function=fill), name="a0")]
    nodes += [pe.Node(Function(function=add_one), name=f"b{place}") for place in range(3)]
    for node in nodes:
        node.inputs.value = 1
    workflow.add_nodes(nodes)
    monitor = Monitor()
    arguments = {"n_procs": 1, "memory_gb": 4, "status_callback": monitor, "log_level": 50}
    with pytest.raises(OSError, match="No space left") as caught:
        _run(workflow, SturdyMultiProc(arguments | {"priority": str}), arguments, monitor)
    assert io.is_disk_full(caught.value)
    assert [name for name, _ in monitor.events] == ["a0"], "nothing else can be done either"


def test_it_is_known_through_other_errors_and_not_seen_elsewhere() -> None:
    try:
        try:
            raise OSError(errno.EDQUOT, "Disk quota exceeded")
        except OSError as error:
            raise RuntimeError from error
    except RuntimeError as error:
        assert io.is_disk_full(error)
    assert not io.is_disk_full(OSError(errno.EACCES, "Permission denied"))
    assert not io.is_disk_full(ValueError())


def test_room_is_asked_of_the_folder_that_is_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert io.has_room(tmp_path / "not/yet")
    usage = type("Usage", (), {"free": 4096})
    monkeypatch.setattr(io.shutil, "disk_usage", lambda folder: usage)
    assert not io.has_room(tmp_path)


def test_status_of_a_level() -> None:
    failure = Failure("sub-01", "conform", "image.nii.gz is truncated")
    assert outcome.exit_code([], 0) == ExitCode.DONE
    assert outcome.exit_code([], 2) == ExitCode.INCOMPLETE
    assert outcome.exit_code([failure], 0) == ExitCode.INCOMPLETE
    full = Failure("sub-02", "explanation", outcome.explain(f"Traceback\nOSError: {FULL}"))
    assert outcome.exit_code([failure, full], 0) == ExitCode.DISK_FULL


def test_it_is_no_matter_of_the_choice_of_a_work_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise FULL

    monkeypatch.setattr(Path, "mkdir", refuse)
    with pytest.raises(OSError, match="No space left"):
        prepare_home(tmp_path)


@pytest.mark.parametrize(
    "said",
    [
        "MemoryError",
        "numpy._core._exceptions._ArrayMemoryError: Unable to allocate 2. GiB for an array",
        "RuntimeError: DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes.",
        "RuntimeError: Failed to allocate memory for image.",
        "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 MiB.",
    ],
)
def test_want_of_memory_is_told_with_the_remedy(said: str) -> None:
    assert "lower --nprocs or --batch-size" in outcome.explain(f"Traceback ...\n{said}\n")
