"""The benchmarks run, and the engine's work has not grown."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks import counts
from benchmarks.anatomy import PENG_GRID, brain, compact_regions, cortical_shells
from benchmarks.measure import Progress, Row, paired_seconds
from bidsapp_brainage.explain.engine import OcclusionPlan, trace
from bidsapp_brainage.model.networks.sfcn import SFCN

ROOT = Path(__file__).resolve().parents[2]


def test_multiply_adds_of_the_real_case() -> None:
    """Counts do not depend on the machine, so these are goals that a test can hold."""
    network = trace(SFCN(), (1, *PENG_GRID))
    mask = brain()[1]
    for labels, most in ((compact_regions(mask, 246), 1.8), (cortical_shells(mask, 100), 1.0)):
        plan = OcclusionPlan.from_labels(network, labels, range(1, int(labels.max()) + 1))
        needed, executed = counts.needed(plan, network), counts.executed(plan, network)
        assert 0.5 * most < needed <= most
        assert executed <= 0.5 * needed  # tiles share their products


def test_a_full_pass_counts_as_one() -> None:
    network = trace(SFCN((4, 8, 8)), (1, 16, 16, 16))
    plan = OcclusionPlan(network, [None])
    assert counts.needed(plan, network) == 0
    assert sum(counts.full_by_layer(network).values()) == network.multiply_adds()


def test_goals() -> None:
    assert Row("time", 2.0, "s", goal=1.0).met is False
    assert Row("gain", 2.0, "x", goal=1.0, at_least=True).met is True
    assert Row("rival", None, "x", goal=1.0).met is None
    assert Row("fact", 2.0, "s").met is None


def test_rivals_take_turns_and_warm_up() -> None:
    calls: list[str] = []
    ticks = iter(range(100))
    seconds = paired_seconds(
        {name: lambda name=name: calls.append(name) for name in "ab"},
        repeats=3,
        clock=lambda: float(next(ticks)),
    )
    assert calls == list("abababab")
    assert seconds == {"a": 1.0, "b": 1.0}


def test_progress_says_which_step_of_how_many(capsys: pytest.CaptureFixture[str]) -> None:
    progress = Progress(2)
    progress.step("times")
    paired_seconds({"plain": lambda: None}, repeats=1, said=progress.part)
    progress.step("memory")
    said = [line.split(maxsplit=1)[1] for line in capsys.readouterr().err.splitlines()]
    assert said == [
        "[1/2] times", "plain: warm-up", "plain: round 1 of 1", "[2/2] memory",
    ]  # fmt: skip


@pytest.mark.parametrize(
    "command",
    [
        ("benchmarks.occlusion", "--quick"),
        ("benchmarks.occlusion_gpu", "--quick", "--device", "cpu", "--repeats", "2"),
    ],
    ids=["cpu", "gpu-steps"],
)
def test_a_quick_run_writes_its_results(command: tuple[str, ...], tmp_path: Path) -> None:
    out = tmp_path / "results" / "results.json"
    completed = subprocess.run(
        [sys.executable, "-m", *command, "--out", str(out)],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert completed.returncode == 0, completed.stderr
    results = json.loads(out.read_text(encoding="utf-8"))
    rows = {row["what"]: row for row in results["rows"]}
    (agreement,) = [row for what, row in rows.items() if what.startswith("largest difference")]
    assert agreement["measured"] <= 1e-3
    assert results["quick"] is True
    assert all(what in completed.stdout for what in rows)
