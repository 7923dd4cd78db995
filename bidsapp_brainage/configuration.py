"""Settings in a file (TOML), without any path of the machine."""

from __future__ import annotations

import dataclasses
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bidsapp_brainage.errors import UsageError
from bidsapp_brainage.options import Option
from bidsapp_brainage.settings import Settings, all_options, did_you_mean, sections

#: Stands in a configuration file for a folder that it must not tell.
_ELSEWHERE = "<elsewhere>"


def to_toml(settings: Settings) -> str:
    """The configuration of a run as TOML, for :func:`read_toml`.

    No path of the machine is told: the three folders of the run are written as ``<bids_dir>``,
    ``<output_dir>`` and ``<work_dir>``, and of any other path only its name.
    """
    import tomli_w

    from bidsapp_brainage import __version__

    roots = private_roots(settings)
    execution = dataclasses.asdict(settings.execution)
    content: dict[str, Any] = {
        "run": {
            "app_version": __version__,
            "analysis_level": list(settings.analysis_level),
            "configuration_hash": settings.configuration_hash(),
            "run_uuid": execution["run_uuid"],
            "command_line": execution["command_line"],
        }
    }
    known = all_options()
    for name in sections():
        values = dataclasses.asdict(getattr(settings, name))
        content[name] = {
            key: _public(value, roots)
            for key, value in values.items()
            if value is not None and known[key].recorded
        }
    return tomli_w.dumps(content)


def private_roots(settings: Settings) -> dict[str, Path]:
    """Folders whose place is nobody's business, with what is written in their stead."""
    return {
        "<output_dir>": settings.output_dir,
        "<work_dir>": settings.execution.work_dir.absolute(),
        "<bids_dir>": settings.bids_dir,
    }


def _public(value: Any, roots: Mapping[str, Path]) -> Any:
    """A value without private paths, as TOML can hold it."""
    if isinstance(value, Path):
        return public_path(value, roots)
    if isinstance(value, tuple):
        return [_public(item, roots) for item in value]
    if isinstance(value, str) and value.startswith("file:"):
        return "file:" + public_path(Path(value.removeprefix("file:")).absolute(), roots)
    if isinstance(value, str) and "/" in value:  # a model or an atlas may be given as a path
        return public_path(Path(value).absolute(), roots)
    return value


def private_places(settings: Settings) -> dict[str, str]:
    """Folders of the machine that must not stand in anything that is shared -> placeholder."""
    places = {
        **{root: name for name, root in private_roots(settings).items()},
        Path(__file__).parent: "<package>",
        Path(sys.prefix): "<python>",
        Path(sys.base_prefix): "<python>",
        Path.home(): "<home>",
    }
    return {str(path): name for path, name in places.items()}


def hide_paths(text: str, places: Mapping[str, str]) -> str:
    """Replace folders by placeholders, the longest first."""
    for path in sorted(places, key=len, reverse=True):
        if len(path) > 1:
            text = places[path].join(_written(path).split(text))
    return text


def _written(path: str) -> re.Pattern[str]:
    """A folder as messages write it: lines may be joined or indented, and quotes escaped."""

    def written(character: str) -> str:
        if character.isspace():
            return r"(?:\s+|\\[nrt])"
        quoted = r"\\?" if character in "'\"\\" else ""
        return quoted + re.escape(character)

    return re.compile("".join(map(written, path)))


def public_path(path: Path, roots: Mapping[str, Path]) -> str:
    """``<bids_dir>/x`` for a path inside a known folder, ``<elsewhere>/x`` for any other."""
    for placeholder, root in roots.items():
        if path.is_relative_to(root):
            inside = path.relative_to(root)
            return placeholder if inside == Path() else f"{placeholder}/{inside.as_posix()}"
    return f"{_ELSEWHERE}/{path.name}"


def read_toml(path: Path, *, bids_dir: Path, output_dir: Path) -> dict[str, Any]:
    """Options in a configuration file, by field name.

    Parameters
    ----------
    path : Path
        TOML with the sections ``[selection]``, ``[resources]``, ``[processing]``, ``[group]``
        and ``[execution]``; a section ``[run]`` (a record of an earlier run) is passed over.
    bids_dir, output_dir : Path
        Put in the place of ``<bids_dir>`` and ``<output_dir>``.

    Raises
    ------
    UsageError
        The file is missing or not TOML, or has an unknown section or option, or a value that
        the option cannot have.
    """
    import tomllib

    try:
        content = tomllib.loads(Path(path).read_text("utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"`config_file` {path} cannot be read ({error}).") from error
    except tomllib.TOMLDecodeError as error:
        raise UsageError(f"`config_file` {path} is not valid TOML: {error}.") from error
    content.pop("run", None)
    options: dict[str, Any] = {}
    known = all_options()
    for section, values in content.items():
        if section not in sections() or not isinstance(values, dict):
            raise UsageError(
                f"`config_file` {path}: unknown section [{section}]; known: "
                f"{', '.join(sections())}."
            )
        for key, value in values.items():
            if key not in known or known[key].section != section:
                place = f" It belongs to [{known[key].section}]." if key in known else ""
                raise UsageError(
                    f"`config_file` {path}: [{section}] has no option {key!r}."
                    f"{place or did_you_mean(key)}"
                )
            if known[key].recorded and value != "<work_dir>":
                options[key] = _private(value, {"<bids_dir>": bids_dir, "<output_dir>": output_dir})
                _check(path, known[key], options[key])
    return options


def _check(path: Path, option: Option, value: Any) -> None:
    """Refuse a value of a file that the option cannot have."""
    try:
        option.take(value)
    except UsageError as error:
        raise UsageError(f"`config_file` {path}: {error}") from error


def _private(value: Any, roots: Mapping[str, Path]) -> Any:
    """Put the folders of this run in the place of their placeholders."""
    if isinstance(value, list):
        return [_private(item, roots) for item in value]
    if isinstance(value, str):
        for placeholder, root in roots.items():
            value = value.replace(placeholder, str(root.absolute()))
    return value


def elsewhere(value: Any) -> bool:
    """Whether a value from a configuration file names a path that it does not tell."""
    if isinstance(value, (list, tuple)):
        return any(elsewhere(item) for item in value)
    return _ELSEWHERE in str(value)
