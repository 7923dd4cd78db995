"""Brain age with region-level explanations, as a BIDS App and as a library.

The public functions are imported when they are first asked for, so that the package itself costs
nothing:

>>> import bidsapp_brainage as ba
>>> sorted(ba.__all__)
['BrainAge', 'BrainAges', 'group', 'predict', 'predict_all', 'read']
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

__version__ = "0.1.0"
__all__ = ["BrainAge", "BrainAges", "group", "predict", "predict_all", "read"]


def __getattr__(name: str) -> Any:
    # By name only, for all that this module imports is imported by every module of the package.
    if name == "group":  # a package that can be called
        return import_module(f"{__name__}.group")
    if name in __all__:
        return getattr(import_module(f"{__name__}.api"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
