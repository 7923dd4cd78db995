"""Bugs put into the engine on purpose: the comparison with full passes must notice each of them."""

from __future__ import annotations

from dataclasses import replace
from importlib import import_module

import numpy as np
import pytest
import torch

from bidsapp_brainage.explain.engine import full_pass, geometry, propagation, run, windows
from bidsapp_brainage.explain.engine.planning import spreads, tables
from bidsapp_brainage.explain.engine.reading import vocabulary
from bidsapp_brainage.explain.engine.sums import layouts, tiling

from .comparison import check

N_NETWORKS = 60
NOTICED = 1e-9


def no_dilation(monkeypatch):
    honest = spreads.reached
    plain = lambda w: replace(w, dilation=(1,) * len(w.kernel))  # noqa: E731
    monkeypatch.setattr(spreads, "reached", lambda p, w, grid: honest(p, plain(w), grid))


def halo_too_small(monkeypatch):
    honest = spreads.reached
    thin = lambda w: replace(w, kernel=tuple(max(1, k - 1) for k in w.kernel))  # noqa: E731
    monkeypatch.setattr(spreads, "reached", lambda p, w, grid: honest(p, thin(w), grid))


def regions_of_a_small_grid_change_places(monkeypatch):
    honest = spreads.side_by_side
    monkeypatch.setattr(spreads, "side_by_side", lambda patches: honest(patches[::-1]))


def taps_backwards(monkeypatch):
    honest = geometry.Window.taps
    monkeypatch.setattr(geometry.Window, "taps", lambda self: honest(self)[::-1])


def only_last_operand_spreads(monkeypatch):
    monkeypatch.setattr(spreads, "union", lambda patches: patches[-1])


def padding_is_zero_for_max(monkeypatch):
    honest = propagation.Propagation._operand

    def wrong(self, source, lookup, *options):
        nothing = torch.zeros(0, dtype=torch.int32)
        return honest(self, source, lookup and replace(lookup, outside=nothing), *options)

    monkeypatch.setattr(propagation.Propagation, "_operand", wrong)


def cached_rows_are_overwritten(monkeypatch):
    monkeypatch.setattr(vocabulary, "_not_in_place", lambda module: module)


def commit_forgets_the_sums(monkeypatch):
    honest = run.Run._propagate

    def wrong(self, chunk, fill, **options):
        changed = honest(self, chunk, fill, **options)
        return replace(changed, sums=[None] * len(changed.sums))

    monkeypatch.setattr(run.Run, "_propagate", wrong)


def functions_before_the_pool_are_lost(monkeypatch):
    honest = full_pass.finish

    def wrong(layer, operation, sums):
        return honest(layer, replace(operation, early=()), sums)

    monkeypatch.setattr(propagation, "finish", wrong)


def every_function_passes_the_pool(monkeypatch):
    monkeypatch.setattr(vocabulary, "split_monotone", lambda functions: ([], list(functions)))


def groups_are_not_separated(monkeypatch):
    def wrong(weight, groups):
        return weight.repeat_interleave(groups, dim=1) if groups > 1 else weight

    # not the function of the name
    module = import_module("bidsapp_brainage.explain.engine.reading.trace")
    monkeypatch.setattr(module, "_dense_groups", wrong)


def first_voxel_is_missed(monkeypatch):
    honest = tables.moved

    def wrong(array, origin, low, high, *, fill):
        box = honest(array, origin, low, high, fill=fill)
        if box.dtype == np.bool_ and box.any():
            box.ravel()[np.flatnonzero(box)[0]] = False
        return box

    monkeypatch.setattr(tables, "moved", wrong)


def outputs_of_tiles_change_places(monkeypatch):
    monkeypatch.setattr(tiling, "_PLACES", np.arange(4, dtype=np.int32))


def rest_of_a_tile_is_not_zero(monkeypatch):
    honest = propagation.Propagation._delta

    def wrong(self, source):
        delta = honest(self, source).clone()
        delta[-1] = 1
        return delta

    monkeypatch.setattr(propagation.Propagation, "_delta", wrong)


def padding_does_not_shift_phases(monkeypatch):
    honest = geometry.Window.phase

    def wrong(self, inputs):
        return honest(replace(self, padding=(0,) * len(self.padding)), inputs)

    monkeypatch.setattr(geometry.Window, "phase", wrong)


def boxes_begin_at_any_phase(monkeypatch):
    monkeypatch.setattr(layouts, "corners", lambda window, low: low)


def outputs_that_no_box_reaches_change(monkeypatch):
    honest = propagation.box_change

    def wrong(layer, operation, block, *rest):
        nothing = torch.zeros(0, dtype=torch.int32)
        return honest(layer, operation, replace(block, absent=nothing), *rest)

    monkeypatch.setattr(propagation, "box_change", wrong)


def sums_of_boxes_are_not_grouped_for_the_pool(monkeypatch):
    honest = propagation.finish_volumes

    def wrong(layer, operation, sums, *, keep):
        if layer.pool is None or not keep:
            return honest(layer, operation, sums, keep=keep)
        total = windows.as_rows(sums).reshape(-1, layer.n_children * layer.channels)
        return full_pass.finish(layer, operation, total), total

    monkeypatch.setattr(propagation, "finish_volumes", wrong)


BUGS = [
    boxes_begin_at_any_phase,
    outputs_that_no_box_reaches_change,
    sums_of_boxes_are_not_grouped_for_the_pool,
    outputs_of_tiles_change_places,
    rest_of_a_tile_is_not_zero,
    padding_does_not_shift_phases,
    no_dilation,
    halo_too_small,
    regions_of_a_small_grid_change_places,
    taps_backwards,
    only_last_operand_spreads,
    padding_is_zero_for_max,
    cached_rows_are_overwritten,
    commit_forgets_the_sums,
    functions_before_the_pool_are_lost,
    every_function_passes_the_pool,
    groups_are_not_separated,
    first_voxel_is_missed,
]


def notices(seed: int) -> bool:
    try:
        return not check(seed) < NOTICED
    except (RuntimeError, IndexError, AssertionError, ValueError, TypeError):
        return True


@pytest.mark.parametrize("bug", BUGS)
def test_bug_is_noticed(monkeypatch, bug):
    bug(monkeypatch)
    assert any(notices(seed) for seed in range(N_NETWORKS))
