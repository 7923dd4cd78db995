"""Names of the default model, of parcellations and of people; a parser loads them fast."""

from __future__ import annotations

import re
from collections.abc import Mapping
from types import MappingProxyType

#: The model of every prediction that asks for no other.
EMBEDDED = "fsridge"
#: Cortical parcellations by the ends of their files, the preferred end first.
PARCELLATIONS: Mapping[str, tuple[str, ...]] = MappingProxyType({
    "desikan": ("aparc",),
    "dkt": ("aparc.DKTatlas", "aparc.DKTatlas.mapped", "aparc.DKTatlas40"),
    "destrieux": ("aparc.a2009s",),
})  # fmt: skip
AUTO = "auto"
_NO_LABEL = re.compile(r"[^a-zA-Z0-9]")


def labels(name: str) -> tuple[str, str]:
    """Labels of person and session (empty if none) of a folder or an id.

    Examples
    --------
    >>> [labels(name) for name in ("sub-01_ses-1", "bert", "sub-a_b.1")]
    [('01', '1'), ('bert', ''), ('ab1', '')]
    """
    person, _, session = name.removeprefix("sub-").partition("_ses-")
    return _NO_LABEL.sub("", person), _NO_LABEL.sub("", session)
