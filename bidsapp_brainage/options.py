"""The form of an option: what the command line, files and pages need to know of a field.

A field of the settings is declared with :func:`option`; :func:`options_of` reads the declarations
of a section. Nothing else tells types, defaults, checks, spellings or help.
"""

from __future__ import annotations

import dataclasses
import math
import re
import types
import typing
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from bidsapp_brainage.errors import UsageError

_MEMORY = re.compile(r"^(\d+(?:\.\d+)?)\s*([KMGT]?)i?B?$", re.IGNORECASE)
_METAVARS: Mapping[Any, str] = types.MappingProxyType({int: "N", "file": "FILE", "folder": "DIR"})
#: How a type is written in a configuration file.
_IN_WORDS: Mapping[Any, str] = types.MappingProxyType(
    {
        int: "a whole number, without quotes",
        float: "a number, without quotes",
        bool: "true or false, without quotes",
        str: "a text, in quotes",
        Path: "a path, in quotes",
    }
)
_GB_PER_UNIT = {"K": 1 / 1024**2, "M": 1 / 1024, "": 1 / 1024, "G": 1.0, "T": 1024.0}


def option(default: Any, **declared: Any) -> Any:
    """A field of the settings that can be chosen.

    Parameters
    ----------
    default : object
        Default value.
    **declared
        Attributes of :class:`Option`, of which ``help`` is needed; ``flags`` and ``metavar``
        follow from name and type of the field where they are not given.
    """
    return dataclasses.field(default=default, metadata=declared)


@dataclass(frozen=True)
class Option:
    """One field of a section of the settings.

    Attributes
    ----------
    name, section : str
        Field, and the field of its section.
    kind : type
        Of one value.
    several, optional : bool
        Whether it is a list, and whether None is a value.
    default : object
        Default value.
    heading : str
        In the help.
    help : str
        One line; empty for facts about a run that nobody chooses.
    flags : tuple of str
        Spellings with hyphens, the main one first.
    metavar : str
        Stands for the value in the help.
    read : callable
        One word of the command line -> value, raises `ValueError`; by default the type. For
        whole numbers that may be None, ``auto`` is None.
    check : callable
        Value -> value as it is kept, raises `ValueError`; of each item of a list.
    joined : bool
        A list is one word, separated by commas.
    counted : bool
        The value is how often the option stands there.
    deniable : bool
        A switch that has ``--no-...``, too; the last of both counts.
    recorded : bool
        Written into configuration files and taken from them.
    exists : {"", "file", "folder"}
        What a path must lead to.
    method : str
        Key of the method of explanation that takes it, as the keyword of this name.
    """

    name: str
    section: str
    kind: Any
    several: bool
    optional: bool
    default: Any
    heading: str
    help: str = ""
    flags: tuple[str, ...] = ()
    metavar: str = ""
    read: Callable[[str], Any] | None = None
    check: Callable[[Any], Any] | None = None
    joined: bool = False
    counted: bool = False
    deniable: bool = False
    recorded: bool = True
    exists: Literal["", "file", "folder"] = ""
    method: str = ""

    @property
    def flag(self) -> str:
        """The main flag, with hyphens."""
        return next(flag for flag in self.flags if flag.startswith("--"))

    @property
    def spellings(self) -> tuple[str, ...]:
        """All flags, with hyphens and with underscores."""
        both = (text for flag in self.flags for text in (flag, "--" + flag[2:].replace("-", "_")))
        return tuple(dict.fromkeys(text for text in both if text != "--"))

    @property
    def full_help(self) -> str:
        """The help with the default, unless it tells that in its own words."""
        silent = self.default in (None, "", ()) or self.kind is bool or self.counted
        if silent or "(default" in self.help:
            return self.help
        return f"{self.help} (default: {_shown(self.default)})"

    def parse(self, text: str) -> Any:
        """Value of one argument of the command line.

        Raises
        ------
        ValueError
            It is none; the message says what would be.
        """
        if self.joined:
            return tuple(dict.fromkeys(self._checked(part.strip()) for part in text.split(",")))
        if self.optional and self.kind is int and text == "auto":
            return None
        try:
            value = (self.read or self.kind)(text)
        except ValueError as error:
            if self.read:
                raise
            if self.check is None:
                raise ValueError(f"{text!r} is not a number") from error
            value = text  # the check says what is wrong
        return self._checked(value)

    def arguments(self, value: Any) -> list[str]:
        """Words of the command line that give this value; the inverse of :meth:`parse`."""
        if value is None:
            return []
        if self.counted or self.kind is bool:
            return [self.flag] * int(value)
        words = [self._word(item) for item in (value if self.several else [value])]
        if self.joined:
            return [self.flag, ",".join(words)]
        return [self.flag, *words] if words else []

    def _word(self, item: Any) -> str:
        if isinstance(item, tuple):
            return "=".join(map(str, item))
        return f"{item}G" if self.read is read_memory else str(item)

    def take(self, value: Any) -> Any:
        """Value of the field from one of the command line, of a file, or of a program.

        Raises
        ------
        UsageError
            Its type is wrong, or the check refuses it.
        """
        if value is None and self.optional:
            return None
        if not self.several:
            return self._item(value)
        if not isinstance(value, (list, tuple)):
            raise UsageError(f"{self.name} = {value!r}: expected a list, in square brackets.")
        return tuple(self._item(item) for item in value)

    def _item(self, value: Any) -> Any:
        typed = _typed(self.name, self.kind, value)
        try:
            return self._checked(typed)
        except ValueError as error:
            raise UsageError(f"`{self.name}`: {error}.") from error

    def _checked(self, value: Any) -> Any:
        return value if self.check is None else self.check(value)


def options_of(kind: type, section: str, heading: str) -> Iterator[Option]:
    """Fields of a section of the settings.

    Parameters
    ----------
    kind : type
        Dataclass of the section.
    section, heading : str
        Its name, and its heading in the help.
    """
    hints = typing.get_type_hints(kind)
    for item in dataclasses.fields(kind):
        hint, optional = _without_none(hints[item.name])
        several = typing.get_origin(hint) is tuple and typing.get_args(hint)[-1] is Ellipsis
        one = typing.get_args(hint)[0] if several else hint
        declared: dict[str, Any] = {
            "heading": heading,
            "flags": (f"--{item.name.replace('_', '-')}",),
            "metavar": _METAVARS.get(item.metadata.get("exists", one), "NAME"),
            "recorded": bool(item.metadata),
            **item.metadata,
        }
        if typing.get_origin(one) is Literal:
            words = typing.get_args(one)
            declared |= {"check": one_of(words), "metavar": "{" + ",".join(words) + "}"}
            one = str
        yield Option(item.name, section, one, several, optional, item.default, **declared)


def _without_none(hint: Any) -> tuple[Any, bool]:
    if not isinstance(hint, types.UnionType):
        return hint, False
    return next(kind for kind in typing.get_args(hint) if kind is not type(None)), True


def _typed(name: str, kind: Any, value: Any) -> Any:
    """A value in the type of its field."""
    if typing.get_origin(kind) is tuple:
        kinds = typing.get_args(kind)
        if not isinstance(value, (list, tuple)) or len(value) != len(kinds):
            raise UsageError(
                f"{name} = {value!r}: expected {len(kinds)} values, in square brackets."
            )
        return tuple(_typed(name, *pair) for pair in zip(kinds, value, strict=True))
    if kind is Path and isinstance(value, (str, Path)) and "\0" not in str(value):
        return Path(value).expanduser().absolute()
    if kind is float and type(value) is int:
        return float(value)
    if type(value) is not kind:
        raise UsageError(f"{name} = {value!r}: expected {_IN_WORDS[kind]}.")
    return value


def _shown(value: Any) -> str:
    """A default in the words of the command line."""
    if isinstance(value, tuple):
        return ",".join(map(str, value))
    if isinstance(value, Path):
        return f"./{value}"
    return f"{value:g}" if isinstance(value, float) else str(value)


def read_memory(text: str) -> float:
    """Gigabytes (GiB) from ``8G``, ``8000M``, ``8000`` (megabytes), ``1T``.

    Raises
    ------
    ValueError
        The text is not a positive amount of memory.
    """
    match = _MEMORY.match(text.strip())
    if not match or float(match[1]) <= 0:
        raise ValueError(f"{text!r} is not an amount of memory; write 8G, 8000M or 8000 (MB)")
    return float(match[1]) * _GB_PER_UNIT[match[2].upper()]


def read_named_path(text: str) -> tuple[str, Path]:
    """Name and path of ``NAME=PATH``; a path alone is called like its last part."""
    name, equals, path = text.partition("=")
    return (name, Path(path)) if equals else (Path(text).name, Path(text))


def at_least(lowest: int) -> Callable[[Any], int]:
    """Check of whole numbers."""

    def check(value: Any) -> int:
        if type(value) is not int or value < lowest:
            raise ValueError(f"{value!r} is not a whole number of {lowest} or more")
        return value

    return check


def between(lowest: int, highest: int) -> Callable[[Any], int]:
    """Check of whole numbers with both ends."""

    def check(value: Any) -> int:
        if type(value) is not int or not lowest <= value <= highest:
            raise ValueError(f"{value!r} is not a whole number from {lowest} to {highest}")
        return value

    return check


def positive(what: str, highest: float = math.inf) -> Callable[[Any], float]:
    """Check of numbers above zero and up to `highest`; `what` says it in words."""

    def check(value: Any) -> float:
        if not isinstance(value, float) or not 0 < value <= highest or math.isinf(value):
            raise ValueError(f"{value!r} is not {what}")
        return value

    return check


def from_zero(what: str, highest: float) -> Callable[[Any], float]:
    """Check of numbers from zero up to `highest`; `what` says it in words."""

    def check(value: Any) -> float:
        if not isinstance(value, float) or not 0 <= value <= highest:
            raise ValueError(f"{value!r} is not {what}")
        return value

    return check


def one_of(words: tuple[str, ...]) -> Callable[[str], str]:
    """Check of words."""

    def check(value: str) -> str:
        if value not in words:
            raise ValueError(f"{value!r} is not one of {', '.join(words)}")
        return value

    return check


def matching(pattern: str, what: str) -> Callable[[str], str]:
    """Check of texts by a regular expression; `what` says it in words."""

    def check(value: str) -> str:
        if not re.fullmatch(pattern, value):
            raise ValueError(f"{value!r} is not {what}")
        return value

    return check


def label(entity: str) -> Callable[[str], str]:
    """Check of BIDS labels; the prefix is taken off."""
    what = "a BIDS label: letters and digits only, labels separated by spaces"
    check = matching(r"[a-zA-Z0-9+]+", what)
    return lambda value: check(value.removeprefix(f"{entity}-"))
