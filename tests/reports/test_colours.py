"""One table of colours for contributions: the figures and legends follow it."""

from __future__ import annotations

import base64

import numpy as np
import pytest

from bidsapp_brainage.reports.figures import colours


@pytest.mark.parametrize("signed", [True, False])
def test_strength_grows_with_the_size_and_zero_is_transparent(signed):
    opacity = colours.table(signed=signed)[:, 3].astype(int)
    middle = colours.STEPS // 2
    assert opacity[middle] == 0
    assert (np.diff(opacity[middle:]) >= 0).all()
    assert (opacity[middle + 1 :] == opacity[:middle][::-1]).all()
    assert opacity[middle + 1] > 30  # the smallest value is seen


def test_older_is_red_and_younger_is_blue():
    older, younger = colours.paint(np.full((1, 2), 90.0), np.array([[-1.0, 1.0]]))[0]
    assert older[0] > older[2] + 100
    assert younger[2] > younger[0] + 100


def test_the_smallest_value_is_painted_and_zero_is_not():
    grey = np.full((1, 3), 100.0)
    painted = colours.paint(grey, np.array([[-1e-9, 0.0, 1e-9]]))[0]
    assert painted[1].tolist() == [100.0, 100.0, 100.0]
    assert painted[0, 0] > painted[0, 2]
    assert painted[2, 2] > painted[2, 0]


def test_legend_has_the_colours_of_the_picture():
    share = np.linspace(-1, 1, 41)[None]
    painted = colours.paint(np.full_like(share, colours.MID_GREY), share)[0]
    shown = [[int(code[i : i + 2], 16) for i in (1, 3, 5)] for code in colours.legend(41)]
    assert np.abs(painted - shown).max() <= 0.5


def test_matplotlib_and_the_viewer_get_the_same_table():
    table = colours.table()
    from_map = np.round(255 * colours.colour_map()(np.linspace(0, 1, colours.STEPS)))
    assert (from_map == table).all()
    unpacked = np.frombuffer(base64.b64decode(colours.packed(signed=True)), np.uint8)
    assert (unpacked.reshape(-1, 4) == table).all()
