"""What logs tell of a scan: the newest run counts, and logs that cannot be read do no harm."""

from __future__ import annotations

from pathlib import Path

from bidsapp_brainage.bids.names import log_dir
from bidsapp_brainage.bids.runs import FailedStep, read_records, write_outcome

ONE, TWO = "sub-01_ses-1", "sub-01_ses-2"
HEADER = "scan\tstage\tnode\tcached\twall_s\tcpu_s\tpeak_rss_mb\n"


def timings(root: Path, run: str, *rows: str) -> None:
    folder = log_dir(root, "01", run)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "timings.tsv").write_text(HEADER + "".join(f"{row}\n" for row in rows))


def test_the_newest_run_that_took_a_scan_says_what_became_of_it(tmp_path: Path) -> None:
    first = FailedStep("warp", "no memory")
    write_outcome(log_dir(tmp_path, "01", "20260101"), [ONE, TWO], {ONE: [first], TWO: [first]})
    write_outcome(log_dir(tmp_path, "01", "20260102"), [TWO], {})
    records = read_records(tmp_path, "01")
    assert (records[ONE].run, records[ONE].failures) == ("20260101", (first,))
    assert (records[TWO].run, records[TWO].failures) == ("20260102", ())
    assert read_records(tmp_path, "02") == {}


def test_a_scan_may_fail_at_several_steps(tmp_path: Path) -> None:
    steps = [FailedStep("warp", "no memory"), FailedStep("n4", "tab\tand\nline")]
    write_outcome(log_dir(tmp_path, "01", "run"), [ONE], {ONE: steps})
    told = read_records(tmp_path, "01")[ONE].failures
    assert told == (steps[0], FailedStep("n4", "tab and line"))


def test_stages_cost_what_they_did_last(tmp_path: Path) -> None:
    timings(
        tmp_path, "1", f"{ONE}\tn4\tx\tfalse\t10\t9\t500", f"{ONE}\twarp\tx\tfalse\t80\tn/a\t700"
    )
    timings(tmp_path, "2", f"{ONE}\tn4\tx\tfalse\t4\t3\t400")
    record = read_records(tmp_path, "01")[ONE]
    assert (record.run, record.wall_s, record.cpu_s, record.peak_rss_mb) == ("", 84, 3, 700)


def test_a_broken_log_is_passed_over(tmp_path: Path) -> None:
    timings(tmp_path, "1", f"{ONE}\tn4\tx\tfalse\tsoon")
    (log_dir(tmp_path, "01", "1") / "outcome.tsv").write_bytes(b"\xff\xfe")
    record = read_records(tmp_path, "01")[ONE]
    assert (record.run, record.wall_s, record.peak_rss_mb) == ("", None, None)
