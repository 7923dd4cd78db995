"""The group level: gather the derivatives of all participants, summarise, write tables.

Nothing here reads raw data, runs a network or needs a GPU.

In Python this package is the door to the level, too: ``bidsapp_brainage.group(output_dir)`` is
:func:`bidsapp_brainage.api.levels.group`.
"""

import sys
from importlib import import_module
from types import ModuleType
from typing import Any


class _Callable(ModuleType):
    """A package whose name is also that of a public function."""

    def __call__(self, *arguments: Any, **options: Any) -> Any:
        # By name: the level is above this package, which knows nothing of it.
        return import_module("bidsapp_brainage.api").group(*arguments, **options)


sys.modules[__name__].__class__ = _Callable
