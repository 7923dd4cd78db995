"""The methods of explanation: the module of a method has the name of its card's key.

Each has one function ``explain(session, **options)``: from an
:class:`~bidsapp_brainage.explain.session.ExplanationSession` to tables and maps by the keys of the
outputs on the card; the options are those of the card.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING

from bidsapp_brainage.errors import MissingExecutableError

if TYPE_CHECKING:
    from bidsapp_brainage.explain.session import Results


def find(key: str) -> Callable[..., Results]:
    """The function of a method; its module is imported now and not before."""
    explain: Callable[..., Results] = import_module(f"{__name__}.{key}").explain
    return explain


def library(name: str, method: str) -> ModuleType:
    """Import a library that comes with the extra ``xai``.

    Raises
    ------
    MissingExecutableError
        It is not installed.
    """
    try:
        return import_module(name)
    except ImportError as error:
        raise MissingExecutableError(
            f"`explain` {method} needs the library {name.partition('.')[0]}: "
            "pip install 'bidsapp-brainage[xai]'."
        ) from error
