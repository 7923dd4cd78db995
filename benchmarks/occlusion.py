"""Atlas occlusion by the engine against full passes: work, time, memory and agreement.

``make bench-occlusion``, or ``python -m benchmarks.occlusion [--full | --quick]``. Processor
seconds on one thread; rivals take turns in one process. Goals are those of SFCN on 160x192x160
voxels. ``--full`` also measures curved regions, captum (of the extra ``bench``), memory and huge
pages; ``--quick`` shows that everything runs.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from bidsapp_brainage.explain.engine import Network, OcclusionPlan, Run, trace
from bidsapp_brainage.running.execute import KEEP_MEMORY

from . import branching, counts, layers, rivals
from .anatomy import ball, brain, compact_regions
from .cases import Case, ages, labels_of, occluded
from .child import ask, timed_works
from .measure import Progress, Row, Work, paired_seconds, print_rows, write_results

RESULTS = Path(__file__).parent / "results" / "occlusion.json"
SAMPLE = 6
SHORT_MASKS = ("one hemisphere", "whole volume")
EMBEDDED_MODEL, EMBEDDED_REGIONS = "sfcn2mm", 120
WHITE_MATTER = 81  # in the segmentation
MEGA = 1e6


def work_rows(case: Case, network: Network) -> list[Row]:
    """Multiply-adds of both parcellations, in forward passes."""
    rows = []
    for what, labels, goal in (("compact regions", case.regions, 1.8), ("shells", case.shells, 1)):
        plan = OcclusionPlan.from_labels(network, labels, labels_of(labels))
        name = f"multiply-adds, {len(plan)} {what}"
        rows += [
            Row(f"{name}: executed", counts.executed(plan, network), "passes"),
            Row(f"{name}: needed", counts.needed(plan, network), "passes", goal),
        ]
    return rows


def mask_works(case: Case, network: Network) -> dict[str, Work]:
    """Occlusion of large masks; the full pass and the plans are made before."""
    runs = {
        name: Run(OcclusionPlan.from_masks(network, [mask]).build(), network, case.input[0])
        for name, mask in case.masks().items()
    }
    return {name: lambda run=run: run.occlude(0.0) for name, run in runs.items()}


def time_rows(case: Case, seconds: dict[str, float]) -> list[Row]:
    """Ratios of the engine's time to that of full passes."""
    passes = {
        "plain loop": (seconds["plain"], 250),
        "tuned loop": (seconds["tuned"], 75),
        "loop of captum (scaled from 3 passes)": (_captum_pass(seconds), 250),
    }
    rows = [
        Row("one plain forward pass", seconds["plain"], "CPU s"),
        Row("one tuned forward pass (BN folded, channels last)", seconds["tuned"], "CPU s"),
        Row("captum, one pass", _captum_pass(seconds), "CPU s"),
    ]
    for name, labels in (("regions", case.regions), ("shells", case.shells)):
        if name not in seconds:
            continue
        n, engine = len(labels_of(labels)), seconds[name]
        rows.append(Row(f"engine, full pass + {n} {name}", engine, "CPU s"))
        for rival, (one, goal) in passes.items():
            ratio = None if one is None else (n + 1) * one / engine
            limit = goal if name == "regions" else None
            rows.append(Row(f"{n} {name} against the {rival}", ratio, "x", limit, at_least=True))
    return [row for row in rows if row.measured is not None]


def _captum_pass(seconds: dict[str, float]) -> float | None:
    return seconds["captum"] / rivals.CAPTUM_PASSES if "captum" in seconds else None


def huge_page_rows(case: Case, seconds: dict[str, float]) -> list[Row]:
    """The same ratios in a process whose malloc hands out huge pages."""
    rows = [Row("huge pages: one plain forward pass", seconds["plain"], "CPU s")]
    for name, labels in (("regions", case.regions), ("shells", case.shells)):
        n = len(labels_of(labels))
        goals = {"plain": 50.0 if name == "regions" else None, "tuned": None}
        rows.append(Row(f"huge pages: engine, full pass + {n} {name}", seconds[name], "CPU s"))
        for rival, goal in goals.items():
            ratio = (n + 1) * seconds[rival] / seconds[name]
            what = f"huge pages: {n} {name} against the {rival} loop"
            rows.append(Row(what, ratio, "x", goal, at_least=True))
    return rows


def mask_rows(case: Case, seconds: dict[str, float]) -> list[Row]:
    """Large masks against one full pass."""
    rows = []
    for name in [name for name in case.masks() if name in seconds]:
        for rival in ("plain", "tuned"):
            goal = 3.0 if name == "one hemisphere" and rival == "plain" else 1.0
            ratio = seconds[rival] / seconds[name]
            rows.append(Row(f"{name} against a {rival} pass", ratio, "x", goal, at_least=True))
    return rows


def memory_rows(folder: Path) -> list[Row]:
    """Peak memory in children, above what they hold once their inputs are ready."""
    engine, plain = ask("peak_engine", folder)["mb"], ask("peak_plain", folder)["mb"]
    return [
        Row("peak memory, plan and all regions", engine, "MB"),
        Row("peak memory, one plain forward pass", plain, "MB"),
        Row("peak memory, engine / plain", engine / plain, "x", 0.7),
    ]


def plan_rows(case: Case, network: Network, repeats: int) -> list[Row]:
    """Time and size of the plan of the compact regions."""

    def plan() -> OcclusionPlan:
        return OcclusionPlan.from_labels(network, case.regions, labels_of(case.regions)).build()

    seconds = paired_seconds({"plan": plan}, repeats)["plan"]
    return [
        Row("plan of the regions", seconds, "CPU s", 2),
        Row("size of the plan", plan().n_bytes / MEGA, "MB", 100),
    ]


def agreement_rows(case: Case, network: Network, *, every: bool) -> list[Row]:
    """Largest difference of an age from that of a full pass, float32, beside the effects."""
    labels = labels_of(case.regions)
    n = len(labels) if every else min(SAMPLE, len(labels))
    chosen = [labels[k] for k in np.linspace(0, len(labels) - 1, n).round().astype(int)]
    plan = OcclusionPlan.from_labels(network, case.regions, chosen)
    run = Run(plan, network, case.input[0])
    occluded_ages = ages(run.occlude(0.0)[0])
    effect = (occluded_ages - ages(run.logits[0][None])).abs().max()
    difference = (occluded_ages - occluded(case, case.regions, chosen)).abs().max()
    return [
        Row(f"largest effect of {n} regions on the age", float(effect), "years"),
        Row(f"largest difference of {n} ages from full passes", float(difference), "years", 1e-4),
    ]


def embedded_row(repeats: int, *, quick: bool) -> Row:
    """The public function on the ensemble that comes with the app: everything included."""
    from bidsapp_brainage.explain.ensemble import Ensemble
    from bidsapp_brainage.explain.occlusion import occlude
    from bidsapp_brainage.model.cards import find_card
    from bidsapp_brainage.model.networks.regional import for_brain
    from bidsapp_brainage.model.prediction import decoder
    from bidsapp_brainage.model.weights.loading import load_members

    card = find_card(EMBEDDED_MODEL)
    volume, mask = ball(card.shape) if quick else brain(card.shape, resolution_mm=2)
    # which regions a network on volumes is bound to costs nothing: all of it is white matter here
    members = tuple(for_brain(load_members(card), np.where(mask, WHITE_MATTER, 0)))
    labels = compact_regions(mask, EMBEDDED_REGIONS)
    indices = labels_of(labels)
    decode = decoder(card)
    work = {"all": lambda: occlude(Ensemble(members, decode), volume, labels, indices)}
    name = f"{EMBEDDED_MODEL}, {len(members)} members, {len(indices)} regions, in all"
    return Row(name, paired_seconds(work, repeats)["all"], "CPU s", 1)


class Bench:
    """Everything that is measured, step by step.

    Attributes
    ----------
    rows : list of Row
    more : dict
        What else goes into the JSON file: seconds, and the profile of the engine.
    """

    def __init__(self, options: argparse.Namespace) -> None:
        self._options = options
        self._repeats: int = options.repeats
        self.rows: list[Row] = []
        self.more: dict[str, Any] = {}

    def measure(self) -> None:
        """Make the case, and take all steps."""
        full = self._options.full or self._options.quick
        steps = {
            "multiply-adds": self._work,
            "times": self._times,
            **({"times with huge pages": self._huge_pages} if full else {}),
            **({"peak memory, in processes of their own": self._memory} if full else {}),
            "plan": lambda: plan_rows(self._case, self._network, self._repeats),
            "agreement with full passes": self._agreement,
            "residual and dense networks": self._branching,
            "the embedded model": self._embedded,
            "profile by layer": self._profile,
        }
        self._progress = Progress(len(steps) + 1)
        self._progress.step("network, volume and regions")
        self._case = Case.make(quick=self._options.quick)
        self._network = trace(self._case.network, tuple(self._case.input.shape[1:]))
        with tempfile.TemporaryDirectory() as name:
            self._folder = Path(name)
            for what, step in steps.items():
                self._progress.step(what)
                self.rows += step()

    def _work(self) -> list[Row]:
        return work_rows(self._case, self._network)

    def _times(self) -> list[Row]:
        case = self._case
        works = timed_works(case)
        masks = mask_works(case, self._network)
        if self._options.full or self._options.quick:
            captum = rivals.captum(case)
            works |= masks | ({} if captum is None else {"captum": captum})
        else:
            works.pop("shells")
            works |= {name: masks[name] for name in SHORT_MASKS}
        seconds = paired_seconds(works, self._repeats, said=self._progress.part)
        self.more["seconds"] = seconds
        return [*time_rows(case, seconds), *mask_rows(case, seconds)]

    def _huge_pages(self) -> list[Row]:
        self._case.save(self._folder)
        seconds = ask("times", self._folder, self._repeats, GLIBC_TUNABLES=KEEP_MEMORY)
        self.more["huge_page_seconds"] = seconds
        return huge_page_rows(self._case, seconds)

    def _memory(self) -> list[Row]:
        return memory_rows(self._folder)

    def _agreement(self) -> list[Row]:
        every = self._options.all_regions
        return agreement_rows(self._case, self._network, every=every)

    def _branching(self) -> list[Row]:
        quick, said = self._options.quick, self._progress.part
        return branching.rows(self._repeats, quick=quick, said=said)

    def _embedded(self) -> list[Row]:
        return [embedded_row(self._repeats, quick=self._options.quick)]

    def _profile(self) -> list[Row]:
        case, network = self._case, self._network
        plan = OcclusionPlan.from_labels(network, case.regions, labels_of(case.regions)).build()
        self.times = layers.by_layer(plan, network, case.input[0], self._repeats)
        self.shares = layers.by_operation(Run(plan, network, case.input[0]))
        self.more |= {"layers": [asdict(row) for row in self.times], "operations": self.shares}
        return []


def arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    size = parser.add_mutually_exclusive_group()
    size.add_argument("--quick", action="store_true", help="a tiny case, to see that it runs")
    size.add_argument(
        "--full", action="store_true", help="also shells, captum, memory, huge pages, all masks"
    )
    parser.add_argument("--repeats", type=int, default=None, help="default 3; quick 1")
    parser.add_argument("--all-regions", action="store_true", help="compare every region's age")
    parser.add_argument("--out", type=Path, default=RESULTS, help="JSON file")
    chosen = parser.parse_args()
    chosen.repeats = chosen.repeats or (1 if chosen.quick else 3)
    return chosen


def main() -> None:
    """Measure everything, print two tables and write the JSON."""
    options = arguments()
    torch.set_num_threads(1)
    start = time.time()
    bench = Bench(options)
    bench.measure()
    rows = [replace(row, goal=None) if options.quick else row for row in bench.rows]
    print_rows(rows)
    print()
    layers.print_profile(bench.times, bench.shares)
    print(f"\n{time.time() - start:.0f} s by the clock")
    write_results(options.out, rows, quick=options.quick, full=options.full, **bench.more)


if __name__ == "__main__":
    main()
