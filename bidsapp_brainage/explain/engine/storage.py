"""Plans on disk: tensors and plain numbers only, read without executing anything."""

from __future__ import annotations

import pickle
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from bidsapp_brainage.errors import UsageError

from .geometry import Patch
from .tables import Block, Chunk, LayerTable, Lookup, StemPatches

FORMAT = 1
_TYPES = {cls.__name__: cls for cls in (Block, Chunk, LayerTable, Lookup, StemPatches)}


@dataclass(frozen=True)
class Stored:
    """Contents of a file."""

    signature: str
    patches: tuple[Patch | None, ...]
    groups: tuple[tuple[int, ...], ...]
    chunks: dict[tuple[int, ...], Chunk]


def n_bytes(chunk: Chunk) -> int:
    """Size of a chunk's tables."""
    return sum(table.numel() * table.element_size() for table in chunk.tensors())


def write(
    path: Path,
    signature: str,
    patches: Sequence[Patch | None],
    groups: Sequence[tuple[int, ...]],
    chunks: Mapping[tuple[int, ...], Chunk],
) -> None:
    """Write a plan."""
    torch.save(
        {
            "format": FORMAT,
            "signature": signature,
            "patches": [
                None if patch is None else [list(patch.origin), torch.from_numpy(patch.box)]
                for patch in patches
            ],
            "groups": [list(group) for group in groups],
            "chunks": [_plain(chunk) for chunk in chunks.values()],
        },
        path,
    )


def read(path: Path) -> Stored:
    """Read a plan.

    Raises
    ------
    UsageError
        The file is no plan, or one of another version.
    """
    try:
        found = torch.load(path, weights_only=True)
        if found["format"] != FORMAT:
            raise ValueError(f"format {found['format']}")
        patches = tuple(
            None if entry is None else Patch(tuple(entry[0]), entry[1].numpy())
            for entry in found["patches"]
        )
        groups = tuple(tuple(group) for group in found["groups"])
        chunks = [_restored(entry) for entry in found["chunks"]]
    except (OSError, RuntimeError, ValueError, KeyError, TypeError, pickle.UnpicklingError,
            EOFError) as error:  # fmt: skip
        raise UsageError(f"{path} is not a plan of this version ({error}); remove it.") from error
    return Stored(found["signature"], patches, groups, {chunk.regions: chunk for chunk in chunks})


def _plain(value: Any) -> Any:
    if is_dataclass(value):
        members = {field.name: _plain(getattr(value, field.name)) for field in fields(value)}
        return {"type": type(value).__name__, **members}
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    return value


def _restored(value: Any) -> Any:
    if isinstance(value, dict):
        members = {key: _restored(item) for key, item in value.items() if key != "type"}
        return _TYPES[value["type"]](**members)
    if isinstance(value, list):
        return tuple(_restored(item) for item in value)
    if value is None or isinstance(value, int | float | str | bool | Tensor):
        return value
    raise ValueError(f"unexpected {type(value).__name__}")
