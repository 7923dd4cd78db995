"""Where the engine spends its time: seconds by layer and by operation of torch."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from statistics import median
from typing import Any

from torch import Tensor
from torch.profiler import ProfilerActivity, profile

from bidsapp_brainage.explain.engine import Network, OcclusionPlan, Run
from bidsapp_brainage.explain.engine.graph import Operation

from .counts import executed_by_layer, needed_by_layer
from .measure import MAC_PER_GMAC, gemm_rate, table

OUTSIDE = -1
SHOWN_OPERATIONS = 8
NUMBERS = ("full_pass_s", "regions_s", "needed_gmac", "executed_gmac", "floor_s")
HEAD = (
    "layer", "kind", "full pass, s", "regions, s", "needed, GMAC", "executed, GMAC",
    "GEMM floor, s",
)  # fmt: skip


class Watched(tuple[Operation, ...]):
    """Operations of a network that note which of them was asked for last, and when.

    The engine takes an operation when it begins a layer, so the time up to the next one is that
    layer's. The engine itself stays free of clocks.
    """

    seconds: Counter[int]
    current: int
    since: float

    @classmethod
    def of(cls, operations: tuple[Operation, ...]) -> Watched:
        """Watch operations."""
        watched = cls(operations)
        watched.seconds, watched.current, watched.since = Counter(), OUTSIDE, time.process_time()
        return watched

    def switch(self, number: int) -> None:
        """Charge the time since the last switch, and go on with another layer."""
        now = time.process_time()
        self.seconds[self.current] += now - self.since
        self.current, self.since = number, now

    def __getitem__(self, number: Any) -> Any:
        if number != self.current:
            self.switch(number)
        return super().__getitem__(number)

    def __iter__(self) -> Iterator[Operation]:
        for number, operation in enumerate(super().__iter__()):
            self.switch(number)
            yield operation
        self.switch(OUTSIDE)


@dataclass(frozen=True)
class LayerTime:
    """Processor seconds of one layer, and what its executed products would take as one GEMM."""

    name: str
    kind: str
    full_pass_s: float
    regions_s: float
    needed_gmac: float
    executed_gmac: float
    floor_s: float

    def cells(self) -> tuple[str, ...]:
        """Text for a table."""
        numbers = [getattr(self, name) for name in NUMBERS]
        return (self.name, self.kind, *(f"{number:.3f}" for number in numbers))


def by_layer(
    plan: OcclusionPlan, network: Network, volume: Tensor, repeats: int
) -> list[LayerTime]:
    """Time a full pass and the occlusion of all regions layer by layer; medians after a warm-up."""
    watched = Watched.of(network.operations)
    network = replace(network, operations=watched)
    run = Run(plan, network, volume)
    run.occlude(0.0)
    full_pass = _medians(watched, lambda: Run(plan, network, volume), repeats)
    regions = _medians(watched, lambda: run.occlude(0.0), repeats)
    needed, executed = needed_by_layer(plan, network), executed_by_layer(plan, network)
    rate = gemm_rate()
    rows = [
        LayerTime(
            layer.name, layer.kind.value, full_pass[k], regions[k],
            needed[k] / MAC_PER_GMAC, executed[k] / MAC_PER_GMAC, executed[k] / rate,
        )
        for k, layer in enumerate(network.layers)
    ]  # fmt: skip
    rest = LayerTime("(between layers)", "", full_pass[OUTSIDE], regions[OUTSIDE], 0.0, 0.0, 0.0)
    return [*rows, rest, _total([*rows, rest])]


def _medians(watched: Watched, work: Callable[[], object], repeats: int) -> dict[int, float]:
    passes = [_seconds(watched, work) for _ in range(repeats)]
    return {k: median(seconds[k] for seconds in passes) for k in range(OUTSIDE, len(watched))}


def _seconds(watched: Watched, work: Callable[[], object]) -> Counter[int]:
    watched.switch(OUTSIDE)
    watched.seconds = Counter()
    work()
    watched.switch(OUTSIDE)
    return watched.seconds


def _total(rows: list[LayerTime]) -> LayerTime:
    return LayerTime("(all)", "", *(sum(getattr(row, name) for row in rows) for name in NUMBERS))


def by_operation(run: Run) -> dict[str, float]:
    """Part of the time of all regions that each operation of torch takes itself, largest first."""
    with profile(activities=[ProfilerActivity.CPU]) as profiled:
        run.occlude(0.0)
    times = {event.key: event.self_cpu_time_total for event in profiled.key_averages()}
    total = sum(times.values())
    largest = sorted(times, key=times.__getitem__, reverse=True)[:SHOWN_OPERATIONS]
    return {name.removeprefix("aten::"): times[name] / total for name in largest}


def print_profile(layers: list[LayerTime], operations: dict[str, float]) -> None:
    """Print both tables."""
    print(table(HEAD, [layer.cells() for layer in layers]))
    print()
    shares = [(name, f"{100 * share:.0f} %") for name, share in operations.items()]
    print(table(("operation of torch", "of the regions' time"), shares))
