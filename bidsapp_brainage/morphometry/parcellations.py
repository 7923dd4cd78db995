"""Parcellations of the cortex that stats files know: plain values, so that a parser loads fast."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

#: Cortical parcellations by the ends of their files, the preferred end first.
PARCELLATIONS: Mapping[str, tuple[str, ...]] = MappingProxyType({
    "desikan": ("aparc",),
    "dkt": ("aparc.DKTatlas", "aparc.DKTatlas.mapped", "aparc.DKTatlas40"),
    "destrieux": ("aparc.a2009s",),
})  # fmt: skip
AUTO = "auto"
