from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from bidsapp_brainage.errors import DataError, ResourceError, UsageError
from bidsapp_brainage.model import device
from bidsapp_brainage.model.intensity import SCALINGS, scale_intensity


def brain():
    rng = np.random.default_rng(0)
    volume = rng.normal(500, 100, size=(6, 7, 8))
    mask = np.zeros(volume.shape, np.uint8)
    mask[1:5, 1:6, 1:7] = 1
    return volume, mask


def test_zscore_is_taken_inside_the_brain_and_outside_is_background():
    volume, mask = brain()
    scaled = scale_intensity(volume, mask, {"scaling": "brain_zscore"}, background=-7.0)
    assert scaled.dtype == np.float32
    assert scaled[mask > 0].mean() == pytest.approx(0, abs=1e-5)
    assert scaled[mask > 0].std() == pytest.approx(1, abs=1e-5)
    assert (scaled[mask == 0] == -7.0).all()


@settings(deadline=None, max_examples=30)
@given(st.floats(0.1, 100), st.floats(-50, 50), st.sampled_from(["brain_zscore", "brain_robust"]))
def test_the_scanners_units_do_not_matter(gain, offset, scaling):
    volume, mask = brain()
    first = scale_intensity(volume, mask, {"scaling": scaling})
    second = scale_intensity(gain * volume + offset, mask, {"scaling": scaling})
    assert np.allclose(first, second, atol=1e-3)


def test_clipping_bounds_the_brain():
    volume, mask = brain()
    scaled = scale_intensity(volume, mask, {"scaling": "brain_zscore", "clip": [-1, 1]})
    assert scaled.min() == -1
    assert scaled.max() == 1


@pytest.mark.parametrize("scaling", sorted(SCALINGS))
def test_every_scaling_also_works_on_whole_heads(scaling):
    volume, _ = brain()
    assert np.isfinite(scale_intensity(volume, None, {"scaling": scaling})).all()


def test_divisions():
    volume, mask = brain()
    by_mean = scale_intensity(volume, mask, {"scaling": "divide_by_mean"})
    by_max = scale_intensity(volume, mask, {"scaling": "divide_by_max"})
    assert by_mean[mask > 0].mean() == pytest.approx(1, abs=1e-5)
    assert by_max.max() == 1


def test_empty_or_flat_brains_are_refused():
    volume, mask = brain()
    with pytest.raises(DataError, match="empty"):
        scale_intensity(volume, np.zeros_like(mask), {"scaling": "brain_zscore"})
    with pytest.raises(DataError, match="same intensity"):
        scale_intensity(np.ones_like(volume), mask, {"scaling": "brain_zscore"})


def test_an_unknown_scaling_is_named():
    with pytest.raises(ResourceError, match="'other' is unknown"):
        scale_intensity(*brain(), {"scaling": "other"})


@pytest.fixture
def no_gpu(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(device.shutil, "which", lambda _: None)
    monkeypatch.delenv("NVIDIA_VISIBLE_DEVICES", raising=False)


def test_cpu_is_cpu():
    assert device.resolve_device("cpu")[0] == "cpu"


def test_auto_without_gpu_is_quiet(no_gpu, monkeypatch):
    monkeypatch.setattr(device.Path, "exists", lambda _: False)
    name, message = device.resolve_device("auto")
    assert name == "cpu"
    assert "Warning" not in message


def test_auto_warns_where_a_gpu_was_meant(no_gpu, monkeypatch):
    monkeypatch.setenv("NVIDIA_VISIBLE_DEVICES", "all")
    name, message = device.resolve_device("auto")
    assert name == "cpu"
    assert "did you pass --nv / --gpus? continuing on CPU" in message


def test_torch_is_asked_only_where_there_may_be_a_driver(monkeypatch):
    def no_library(name: str) -> None:
        raise OSError(name)

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 3)
    monkeypatch.setattr(device.sys, "platform", "linux")
    monkeypatch.setattr(device.Path, "exists", lambda _: False)
    monkeypatch.setattr(device.ctypes, "CDLL", no_library)
    assert device._cuda_count() == 0
    monkeypatch.setattr(device.ctypes, "CDLL", lambda name: name)
    assert device._cuda_count() == 3
    monkeypatch.setattr(device.ctypes, "CDLL", no_library)
    monkeypatch.setattr(device.Path, "exists", lambda path: str(path) == "/dev/kfd")
    assert device._cuda_count() == 3


def test_auto_takes_the_first_gpu(monkeypatch):
    monkeypatch.setattr(device, "_cuda_count", lambda: 2)
    assert device.resolve_device("auto")[0] == "cuda:0"
    assert device.resolve_device("cuda:1")[0] == "cuda:1"
    assert device.resolve_device("cuda")[0] == "cuda:0"
    with pytest.raises(UsageError, match="2 CUDA devices"):
        device.resolve_device("cuda:2")


def test_an_explicit_gpu_that_is_not_there_is_an_error(no_gpu):
    with pytest.raises(UsageError, match="--nv"):
        device.resolve_device("cuda")


@pytest.mark.parametrize("spec", ["gpu", "cuda:", "cuda:x", ""])
def test_unknown_devices_are_refused(spec):
    with pytest.raises(UsageError, match="Use auto, cpu, cuda or cuda:N"):
        device.resolve_device(spec)
