"""Atlas occlusion on a CUDA device against batches of full passes on the same device.

``make bench-gpu``, or ``python -m benchmarks.occlusion_gpu``. Ends with status 2 where there is
no CUDA device. ``--device cpu --quick`` runs the same steps on a tiny case, with the clock of the
wall instead of the device's events.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from bidsapp_brainage.explain.engine import OcclusionPlan, Run, trace
from bidsapp_brainage.explain.engine.planning.plan import label_patches
from bidsapp_brainage.explain.ensemble import FullPasses

from .cases import Case, ages, decode, labels_of
from .measure import Row, Work, print_rows, write_results

RESULTS = Path(__file__).parent / "results" / "occlusion_gpu.json"
WARM_UP = 3
SCANS = 4
REGIONS_MS = 200
PARITY_SCANS = 2
NOISE = 0.03
MILLI, MEGA = 1e-3, 1e6


def milliseconds(work: Work, device: torch.device) -> float:
    """Time of one piece of work; on a CUDA device between two of its events."""
    if device.type != "cuda":
        start = time.perf_counter()
        work()
        return (time.perf_counter() - start) / MILLI
    first, last = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    torch.cuda.synchronize(device)
    first.record()
    work()
    last.record()
    torch.cuda.synchronize(device)
    return first.elapsed_time(last)


def median_milliseconds(work: Work, device: torch.device, repeats: int) -> float:
    """Median after a warm-up, in which libraries are loaded and memory is reserved."""
    for _ in range(WARM_UP):
        work()
    return statistics.median(milliseconds(work, device) for _ in range(repeats))


def peak_mb(work: Work, device: torch.device) -> float | None:
    """Memory of the device that is in use at the most while something runs."""
    if device.type != "cuda":
        return None
    torch.cuda.reset_peak_memory_stats(device)
    work()
    return torch.cuda.max_memory_allocated(device) / MEGA


def begin(case: Case, device: torch.device) -> Run:
    """Plan all regions and make the full pass."""
    network = trace(case.network.to(device), tuple(case.input.shape[1:]))
    plan = OcclusionPlan.from_labels(network, case.regions, labels_of(case.regions)).build()
    return Run(plan, network, case.input[0].to(device))


def scans(case: Case, device: torch.device, n: int) -> list[Tensor]:
    """Volumes (1, D, H, W) like that of the case, each with noise of its own."""
    volume = case.input[0]
    generator = torch.Generator().manual_seed(0)
    noise = [torch.randn(volume.shape, generator=generator) for _ in range(n)]
    inside = torch.from_numpy(case.mask)[None]
    return [(volume + NOISE * part * inside).to(device) for part in noise]


def occlude_all(run: Run, volumes: Sequence[Tensor]) -> list[Tensor]:
    """Ages of all regions of several scans, one plan for all of them."""
    return [ages(Run(run.plan, run.network, volume).occlude(0.0)[0]) for volume in volumes]


def loop_over_regions(case: Case, device: torch.device) -> FullPasses:
    """Full passes, several volumes at a time."""
    patches = label_patches(case.regions, labels_of(case.regions))
    return FullPasses([case.network], case.volume, patches, decode=decode, device=device)


def compare(case: Case, device: torch.device, repeats: int) -> list[Row]:
    """Measure the engine and the loop."""
    by_device: dict[str, Tensor] = {}
    for name in ("cpu", str(device)):
        own = torch.device(name)
        by_device[name] = torch.cat(occlude_all(begin(case, own), scans(case, own, PARITY_SCANS)))
    difference = float((by_device[str(device)] - by_device["cpu"]).abs().max())
    run, loop = begin(case, device), loop_over_regions(case, device)
    engine = median_milliseconds(lambda: run.occlude(0.0), device, repeats)
    full_pass = median_milliseconds(
        lambda: Run(run.plan, run.network, case.input[0].to(device)), device, repeats
    )
    passes = median_milliseconds(lambda: loop.occlude(0.0), device, 1)
    several = scans(case, device, SCANS)
    batch = median_milliseconds(lambda: occlude_all(run, several), device, 1)
    n = len(run.plan)
    return [
        Row("full pass", full_pass, "ms"),
        Row(f"{n} regions", engine, "ms", REGIONS_MS),
        Row(f"{SCANS} scans: full pass and {n} regions of each, for one scan", batch / SCANS, "ms"),
        Row(f"{n} full passes in batches", passes, "ms"),
        Row("regions against full passes", passes / engine, "x", 30, at_least=True),
        Row("largest difference of an age from the CPU, 2 scans", difference, "years", 1e-4),
        Row("peak memory of the device, regions", peak_mb(lambda: run.occlude(0.0), device), "MB"),
    ]


def main() -> int:
    """Print the table and write the JSON; 2 when there is no such device."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--quick", action="store_true", help="a tiny case, to see that it runs")
    parser.add_argument("--repeats", type=int, default=10)
    parser.add_argument("--out", type=Path, default=RESULTS, help="JSON file")
    options = parser.parse_args()
    device = torch.device(options.device)
    if device.type == "cuda" and not torch.cuda.is_available():
        print("No CUDA device on this machine: nothing was measured.", file=sys.stderr)
        return 2
    rows = compare(Case.make(quick=options.quick), device, options.repeats)
    if options.quick:
        rows = [replace(row, goal=None) for row in rows]
    print_rows(rows)
    write_results(options.out, rows, quick=options.quick, device=options.device)
    return 0


if __name__ == "__main__":
    sys.exit(main())
