"""Two stages: a network that corrects another one's age."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import nn

from bidsapp_brainage.model.specs import Architecture


class Refined(nn.Module):
    """A second network corrects the age of a first one, which it is told in coarse steps.

    After the two-stage network of Cheng et al. 2021 (IEEE Trans Med Imaging 40:3400). There the
    first age, rounded to ``step`` years, is joined to the second network's features; here the
    second network gives two numbers ``a, b`` and the correction is ``step * (a + b * z)`` with
    ``z`` the rounded first age in units of ten steps about ``centre``, so that any architecture can
    be either stage. ``first_output`` holds ``lower``, ``width`` and ``n_bins`` of the first
    network's age.
    """

    centers: torch.Tensor

    def __init__(
        self,
        build: Callable[[Architecture], nn.Module],
        *,
        first: Architecture,
        second: Architecture,
        first_output: Mapping[str, float],
        step: float,
    ) -> None:
        super().__init__()
        if step <= 0:
            raise ValueError(f"step is above 0, not {step}")
        self.first = build(first)
        self.second = build(second)
        self.step = float(step)
        middles = torch.arange(first_output["n_bins"]) + 0.5
        self.register_buffer("centers", first_output["lower"] + first_output["width"] * middles)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Ages (N, 1) in years of volumes (N, 1, D, H, W)."""
        age = torch.softmax(self.first(x).float(), dim=1) @ self.centers
        rounded = self.step * torch.round(age / self.step)
        z = (rounded - self.centers.mean()) / (10 * self.step)
        terms = self.second(x).float()
        return (age + self.step * (terms[:, 0] + terms[:, 1] * z))[:, None]
