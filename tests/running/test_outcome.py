"""From crash files and events to a table of what failed."""

from __future__ import annotations

import os
from pathlib import Path
from types import SimpleNamespace

import pytest

from bidsapp_brainage.errors import UsageError
from bidsapp_brainage.running.execute import KEEP_MEMORY, configure, read_plugin, run_variables
from bidsapp_brainage.running.monitor import Monitor
from bidsapp_brainage.running.outcome import (
    Crash,
    Failure,
    expected_sinks,
    explain,
    failure_table,
    find_failures,
    hide_paths,
    read_crashes,
)
from bidsapp_brainage.workflows.base import init_brainage_wf
from bidsapp_brainage.workflows.scan import scan_workflow_name

TRACEBACK = """\
Node: bidsapp_brainage_wf.sub_01_wf.anat_fit_wf.conform
Working directory: /scratch/me/work/bidsapp_brainage_wf/sub_01_wf/anat_fit_wf/conform

Node inputs:

in_file = /data/me/bids/sub-01/anat/sub-01_T1w.nii.gz

Traceback (most recent call last):
  File "/opt/nipype/multiproc.py", line 67, in run_node
    result["result"] = node.run(updatehash=updatehash)
nipype.pipeline.engine.nodes.NodeExecutionError: Exception raised while executing Node conform.

Traceback:
\tTraceback (most recent call last):
\t  File "x.py", line 1, in _run_interface
\tbidsapp_brainage.errors.DataError: sub-01_T1w.nii.gz is truncated (10 of 20 bytes):
\tcopy or download it again.

"""


def node(name: str, folder: Path = Path()) -> SimpleNamespace:
    return SimpleNamespace(
        fullname=name,
        name=name.rpartition(".")[2],
        interface=SimpleNamespace(stage="conform"),
        output_dir=lambda: str(folder),
    )


def test_crash_files_lose_names_and_paths(tmp_path: Path) -> None:
    name = "crash-20260101-101010-me-conform-01234567-89ab-cdef-0123-456789abcdef.txt"
    (tmp_path / name).write_text(TRACEBACK)
    places = {"/scratch/me/work": "<work_dir>", "/data/me/bids": "<bids_dir>", "/data/me": "<home>"}
    (crash,) = read_crashes(tmp_path, places)
    assert crash.path.name == "crash-20260101-101010-conform-01234567.txt"
    assert [path.name for path in tmp_path.iterdir()] == [crash.path.name]
    assert "/me" not in crash.path.read_text()
    assert "<bids_dir>/sub-01/anat" in crash.traceback
    assert crash.node.endswith(".conform")
    assert crash.reason == (
        "sub-01_T1w.nii.gz is truncated (10 of 20 bytes): copy or download it again."
    )
    assert crash.error == "DataError"
    assert read_crashes(tmp_path, places) == [crash]


def test_reasons_name_options_as_the_command_line_does(tmp_path: Path) -> None:
    reason = "no age is predicted: give `skull_strip` or `derivatives`."
    (tmp_path / "crash-1.txt").write_text(f"bidsapp_brainage.errors.DataError: {reason}\n\n")
    (crash,) = read_crashes(tmp_path, {})
    assert crash.reason == "no age is predicted: give --skull-strip or --derivatives."


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("Traceback\nValueError: no\nKeyError: 'x'\n", "KeyError: 'x'"),
        ("nothing known", "unknown reason; see the crash file"),
        (
            "bidsapp_brainage.errors.BrainageError: The process was killed: more memory.",
            "The process was killed: more memory.",
        ),
    ],
)
def test_reason(text: str, reason: str) -> None:
    assert explain(text) == reason


def test_longest_path_first() -> None:
    assert hide_paths("/a/b/c", {"/a": "<a>", "/a/b": "<b>", "/": "<root>"}) == "<b>/c"


def test_complete_only_if_every_sink_of_this_run_ended(plan, scans) -> None:
    scans = scans[:2]
    workflow = init_brainage_wf(scans, plan)
    monitor = Monitor(scans)
    first, second = (expected_sinks(workflow, scan) for scan in scans)
    assert first
    for name in first | (second - {min(second)}):
        monitor(node(name), "end")
    failures = find_failures(workflow, scans, monitor, [])
    assert [failure.scan for failure in failures] == [scans[1].label]


def test_shared_failure_is_told_for_each_scan(plan, scans) -> None:
    scans = scans[:2]
    crash = Crash("bidsapp_brainage_wf.atlas_run_wf.match", "no atlas", "", Path("x"))
    failures = find_failures(init_brainage_wf(scans, plan), scans, Monitor(scans), [crash])
    assert failures == [Failure(scan.label, "match", "no atlas") for scan in scans]


def test_table_has_one_line_per_failure() -> None:
    table = failure_table([Failure("sub-01_ses-1", "conform", "truncated: copy it again")])
    assert [line.split()[0] for line in table.splitlines()] == ["scan", "-" * 12, "sub-01_ses-1"]


def test_what_was_announced_is_told_again_only_from_an_earlier_run(
    scans, caplog, tmp_path: Path
) -> None:
    monitor = Monitor(scans)
    (tmp_path / "_report").mkdir()
    (tmp_path / "_report/timing.json").write_text('{"wall_s": 12.2}')
    os.utime(tmp_path / "_report/timing.json", (2e9, 2e9))  # clocks of files are coarse
    explained = node("bidsapp_brainage_wf.x.lrp", tmp_path)
    explained.interface = SimpleNamespace(stage="relevance propagation", announced=True)
    with caplog.at_level("INFO", logger="bidsapp_brainage"):
        monitor(explained, "end")
        assert not caplog.records
        os.utime(tmp_path / "_report/timing.json", (0, 0))
        monitor(explained, "end")
    assert [record.cached for record in monitor.records] == [False, True]
    assert "from an earlier run" in caplog.text


def test_monitor_logs_and_counts(scans, caplog, tmp_path: Path) -> None:
    monitor = Monitor(scans)
    (tmp_path / "_report").mkdir()
    (tmp_path / "_report/timing.json").write_text(
        '{"wall_s": 12.2, "cpu_s": 10.0, "peak_rss_mb": 500.0}'
    )
    os.utime(tmp_path / "_report/timing.json", (2e9, 2e9))
    name = f"bidsapp_brainage_wf.{scan_workflow_name(scans[1].label)}.anat_fit_wf.conform"
    with caplog.at_level("INFO", logger="bidsapp_brainage"):
        monitor(node(name, tmp_path), "start")
        monitor(node(name, tmp_path), "end")
        os.utime(tmp_path / "_report/timing.json", (0, 0))
        monitor(node(name + "2", tmp_path), "end")
        monitor(node(name + "3", tmp_path), "exception")
    label = scans[1].label
    assert [record.message for record in caplog.records] == [
        f"[2/4] {label}: conform done (12 s)",
        f"[2/4] {label}: conform done (from an earlier run)",
        f"[2/4] {label}: conform failed",
    ]
    assert caplog.records[-1].levelname == "ERROR"
    monitor.write_timings(tmp_path, scans[1].subject, "uuid")
    folder = tmp_path / f"sub-{scans[1].subject}/log/uuid"
    table = (folder / "timings.tsv").read_text().splitlines()
    assert table[0].split("\t")[-3:] == ["wall_s", "cpu_s", "peak_rss_mb"]
    assert table[1].split("\t")[-4:] == ["false", "12.2", "10", "500"]
    assert table[0].split("\t")[3] == "ended"
    assert table[2].split("\t")[3] == "1970-01-01T00:00:00Z"


def test_crash_files_go_to_the_participant(plan, scans) -> None:
    workflow = init_brainage_wf(scans, plan)
    configure(workflow, scans, output_dir=plan.output_dir, run_uuid="uuid")
    name = f"{scan_workflow_name(scans[0].label)}.anat_fit_wf.conform"
    folder = workflow.get_node(name).config["execution"]["crashdump_dir"]
    assert folder == str(plan.output_dir / "sub-01/log/uuid")


def test_plugin_file(tmp_path: Path) -> None:
    path = tmp_path / "plugin.yml"
    path.write_text("plugin: SLURM\nplugin_args:\n  sbatch_args: --mem 4G\n")
    assert read_plugin(path) == ("SLURM", {"sbatch_args": "--mem 4G"})
    assert read_plugin(None) == ("MultiProc", {})
    for bad in ("plugin_args: {}", "[1", "plugin: MultiProc\nplugin_args: 3"):
        path.write_text(bad)
        with pytest.raises(UsageError, match="--use-plugin"):
            read_plugin(path)


@pytest.mark.parametrize("own", [None, "glibc.malloc.arena_max=2"])
def test_children_keep_their_memory_unless_the_user_says_how(monkeypatch, tmp_path, own) -> None:
    monkeypatch.delenv("GLIBC_TUNABLES", raising=False)
    if own is not None:
        monkeypatch.setenv("GLIBC_TUNABLES", own)
    settings = SimpleNamespace(
        resources=SimpleNamespace(omp_nthreads=1), execution=SimpleNamespace(work_dir=tmp_path)
    )
    assert run_variables(settings, tmp_path)["GLIBC_TUNABLES"] == (own or KEEP_MEMORY)
