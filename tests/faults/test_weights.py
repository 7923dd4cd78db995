"""Weight files that are damaged or hold something else, with a card that vouches for them."""

from __future__ import annotations

import json
import os
import pickle
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from bidsapp_brainage.errors import ResourceError
from bidsapp_brainage.io import file_sha256
from bidsapp_brainage.model.cards import load_card
from bidsapp_brainage.model.weights.loading import load_members
from tests.model.tiny import make_card

State = dict[str, torch.Tensor]


class Evil:
    """Runs a command when it is unpickled."""

    def __reduce__(self) -> tuple[Callable[[str], int], tuple[str]]:
        return os.system, ("touch EVIL",)


def _reshaped(state: State) -> State:
    return {name: torch.zeros(7, 7) for name in state}


def _poisoned(state: State) -> State:
    first = next(name for name in state if state[name].is_floating_point())
    return state | {first: torch.full_like(state[first], float("nan"))}


#: File name, what is written there, and what the message says.
BAD: dict[str, tuple[str, Callable[[Path, State], object], str]] = {
    "empty": ("a.safetensors", lambda path, _: path.write_bytes(b""), "header"),
    "pickle": ("a.safetensors", lambda path, _: path.write_bytes(pickle.dumps(Evil())), "header"),
    "length of the header": (
        "a.safetensors",
        lambda path, _: path.write_bytes((10**15).to_bytes(8, "little") + b"{}"),
        "header too large",
    ),
    "deep header": (
        "a.safetensors",
        lambda path, _: path.write_bytes((60000).to_bytes(8, "little") + b'{"a":' * 12000),
        "invalid JSON in header",
    ),
    "other shapes": (
        "a.safetensors",
        lambda path, state: save_file(_reshaped(state), path),
        "size mismatch",
    ),
    "NaN": (
        "a.safetensors",
        lambda path, state: save_file(_poisoned(state), path),
        "NaN or infinite",
    ),
    "empty pickle": ("a.pth", lambda path, _: path.write_bytes(b""), "EOFError"),
    "code": ("a.pth", lambda path, state: torch.save(state | {"x": Evil()}, path), "never run"),
    "list": ("a.pth", lambda path, _: torch.save([1, 2], path), "no state dict"),
    "numbers": ("a.pth", lambda path, _: torch.save({1: torch.zeros(1)}, path), "no state dict"),
    "HDF5": (
        "a.h5",
        lambda path, _: path.write_bytes(b"\x89HDF\r\n\x1a\n" + bytes(99)),
        "HDF5|open",
    ),
}
FORMATS = {".safetensors": "safetensors", ".pth": "torch", ".h5": "keras_h5"}


@pytest.mark.parametrize("kind", BAD)
def test_it_is_refused_with_file_and_remedy_and_nothing_is_run(
    tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    name, write, words = BAD[kind]
    card = make_card(tmp_path, members=1)
    path = tmp_path / name
    write(path, load_file(card.weights[0].path))
    raw = card.raw | {
        "weights": [
            {"file": name, "sha256": file_sha256(path), "format": FORMATS[path.suffix]},
        ]
    }
    (tmp_path / "tiny.json").write_text(json.dumps(raw))
    with pytest.raises(ResourceError, match=words) as caught:
        load_members(load_card(tmp_path / "tiny.json"))
    assert str(path) in str(caught.value)
    assert "copy the file that came with the card" in str(caught.value)
    assert not (tmp_path / "EVIL").exists()


@pytest.mark.parametrize("url", ["file:///etc/passwd", "ftp://example.org/a", "../a", "/a"])
def test_only_addresses_of_the_web_are_fetched(tmp_path: Path, url: str) -> None:
    card = make_card(tmp_path, members=1)
    raw = json.loads((tmp_path / "tiny.json").read_text())
    raw["weights"][0]["url"] = url
    (tmp_path / "tiny.json").write_text(json.dumps(raw))
    with pytest.raises(ResourceError, match=r"weights\.0\.url") as caught:
        load_card(card.folder / "tiny.json")
    assert "docs/models.md" in str(caught.value)


@pytest.mark.parametrize("name", ["../a", "a/b", "/a", "..", "a b", "<b>", "-a", ""])
def test_names_of_models_cannot_leave_the_folder(tmp_path: Path, name: str) -> None:
    make_card(tmp_path, members=1)
    raw = json.loads((tmp_path / "tiny.json").read_text()) | {"name": name}
    (tmp_path / "tiny.json").write_text(json.dumps(raw))
    with pytest.raises(ResourceError, match="name: "):
        load_card(tmp_path / "tiny.json")
