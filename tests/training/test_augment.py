from __future__ import annotations

import pytest
import torch

from bidsapp_brainage.training.data import augment as aug
from bidsapp_brainage.training.recipe import Augmentation
from tests.training.people import SHAPE, brain

NOTHING = Augmentation(*[0.0] * 9)


def batch(n=3):
    return torch.stack([torch.from_numpy(brain(30 + 20 * i, i))[None] for i in range(n)])


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def test_same_seed_same_volumes():
    first, second = (aug.augment(batch(), Augmentation(), generator()) for _ in range(2))
    assert torch.equal(first, second)
    assert not torch.equal(first, aug.augment(batch(), Augmentation(), generator(1)))


def test_result_is_again_a_zscored_brain_on_zero():
    result = aug.augment(batch(), Augmentation(), generator())
    assert result.shape == (3, 1, *SHAPE)
    for volume in result:
        inside = volume != 0
        assert 0.1 < inside.float().mean() < 0.7
        assert volume[inside].mean().abs() < 0.05
        assert volume[inside].std() == pytest.approx(1, abs=0.1)
        assert volume.abs().max() <= 5
    assert (result[:, :, 0, 0, 0] == 0).all()


def test_without_any_change_a_volume_is_kept():
    original = batch(4)
    result = aug.augment(original, NOTHING, generator())
    for before, after in zip(original, result, strict=True):
        # the mask's edge passes through a smoothing, so compare the interior
        core = (slice(None), slice(4, 8), slice(5, 9), slice(4, 8))
        assert torch.allclose(before[core], after[core], atol=0.15)


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_a_shift_moves_along_each_axis_by_voxels(axis, monkeypatch):
    x = torch.zeros(1, 1, *SHAPE)
    x[0, 0, 5, 6, 5] = 1.0
    draw = torch.full((1, 3, 3), 0.5)  # rand of 0.5 is a move of 0
    draw[0, 2, axis] = 1.0
    monkeypatch.setattr(aug.torch, "rand", lambda *_, **__: draw)
    bounds = Augmentation(rotation_degrees=0, log_scale=0, shift_voxels=2.0, warp_voxels=0)
    values, _ = aug.move(x, bounds, generator())
    where = [5, 6, 5]
    where[axis] -= 2
    assert values[0, 0, *where] == pytest.approx(1, abs=1e-3)


def test_rotation_keeps_the_shape_of_a_ball():
    x = batch(1)
    bounds = Augmentation(rotation_degrees=30, log_scale=0, shift_voxels=0, warp_voxels=0)
    _, weight = aug.move(x, bounds, generator())
    assert weight.sum() == pytest.approx(float((x != 0).sum()), rel=0.1)


def test_the_edge_moves_in_and_out():
    x = batch(1)
    weight = (x != 0).float()
    sizes = [float(aug.shift_edge(x, weight, 0.4, generator(seed))[1].sum()) for seed in range(12)]
    assert min(sizes) < weight.sum() < max(sizes)


def test_the_intensity_curve_rises():
    values = torch.linspace(-4.9, 4.9, 50).view(1, 1, 1, 1, 50)
    bent = aug.bend_intensities(values, 0.5, generator()).flatten()
    assert (bent.diff() > 0).all()
    straight = aug.bend_intensities(values, 0.0, generator())
    assert torch.allclose(straight, values, atol=1e-4)


def test_a_warp_moves_voxels_by_about_its_spread():
    bounds = Augmentation(0, 0, 0, warp_voxels=1.0)
    shape = torch.Size((4, 1, 24, 28, 24))
    field = aug._smooth_displacement(shape, 1.0, generator())
    voxels = field * torch.tensor([24.0, 28.0, 24.0]) / 2
    assert 0.4 < voxels.std() < 1.1
    values, weight = aug.move(batch(1), bounds, generator())
    assert not torch.equal(values, batch(1))
    assert weight.sum() == pytest.approx(float((batch(1) != 0).sum()), rel=0.25)


def test_coarser_slices_keep_the_shape_and_blur_one_axis():
    x = batch(8)
    mask = (x != 0).float()
    coarse = aug.coarsen(x, mask, 3.0, generator())
    changed = [not torch.equal(a, b) for a, b in zip(x, coarse, strict=True)]
    assert any(changed)
    assert not all(changed)
    assert coarse.shape == x.shape
    inside = mask > 0
    assert coarse[inside].std() < x[inside].std()


@pytest.mark.parametrize(("amount", "wider"), [(0.4, True), (-0.4, False)])
def test_atrophy_widens_the_dark_middle_and_keeps_the_mask(amount, wider):
    x = batch(1)
    mask = (x != 0).float()
    changed = aug.atrophy(x, mask, amount)
    brightness, before = float((changed * mask).sum()), float((x * mask).sum())
    assert (brightness < before - 1) if wider else (brightness > before + 1)
    assert torch.equal(changed[mask == 0], x[mask == 0])
    assert torch.isfinite(changed).all()
    still = aug.atrophy(x, mask, 0.0)
    assert torch.allclose(still, x, atol=1e-4)
