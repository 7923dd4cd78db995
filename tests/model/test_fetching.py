from __future__ import annotations

import functools
import http.server
import json
import threading
from pathlib import Path

import pytest

from bidsapp_brainage.cli.models import main
from bidsapp_brainage.errors import ResourceError, UsageError
from bidsapp_brainage.model.cards import find_card, load_card
from bidsapp_brainage.model.weights.fetching import fetch
from bidsapp_brainage.model.weights.files import verify_weights
from tests.model.tiny import make_card


class Server(http.server.ThreadingHTTPServer):
    """Serves the files of a folder; remembers what was asked for, and can misbehave."""

    def __init__(self, folder: Path) -> None:
        super().__init__(("127.0.0.1", 0), functools.partial(Handler, directory=str(folder)))
        self.folder = folder
        self.ranges: list[str | None] = []
        self.accepts: list[str | None] = []
        self.honour_ranges = True
        self.cut_at: int | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class Handler(http.server.SimpleHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        path = self.server.folder / self.path.split("/")[-1]
        wanted = self.headers.get("Range")
        self.server.ranges.append(wanted)
        self.server.accepts.append(self.headers.get("Accept"))
        if not path.is_file():
            self.send_error(404)
            return
        content, status = path.read_bytes(), 200
        if wanted and self.server.honour_ranges:
            start = int(wanted.removeprefix("bytes=").removesuffix("-"))
            if start >= len(content):
                self.send_error(416)
                return
            content, status = content[start:], 206
        self.send_response(status)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content[: self.server.cut_at])

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def server(tmp_path, monkeypatch):
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    folder = tmp_path / "served"
    folder.mkdir()
    found = Server(folder)
    thread = threading.Thread(target=found.serve_forever, daemon=True)
    thread.start()
    yield found
    found.shutdown()
    found.server_close()


@pytest.fixture
def card(tmp_path, server):
    """A card whose weights are on the server only."""
    return published(tmp_path / "cards", server)


def published(folder, server, path="", **changes):
    card = make_card(folder, **changes)
    raw = json.loads((folder / "tiny.json").read_text())
    for weight, entry in zip(card.weights, raw["weights"], strict=True):
        entry["url"] = f"{server.url}{path}/{weight.path.name}"
        weight.path.replace(server.folder / weight.path.name)
    (folder / "tiny.json").write_text(json.dumps(raw))
    return load_card(folder / "tiny.json")


def names(folder):
    return sorted(path.name for path in folder.rglob("*") if path.is_file())


def test_a_fetched_model_is_whole_and_found_by_its_name(tmp_path, server, card):
    seen = []
    found = fetch(card, tmp_path / "kept", progress=lambda *step: seen.append(step))
    verify_weights(found)
    assert names(tmp_path / "kept") == [
        "tiny.json", "tiny_fold-1.safetensors", "tiny_fold-2.safetensors",
    ]  # fmt: skip
    assert find_card("tiny", tmp_path / "kept").folder == found.folder
    file, done, total = seen[-1]
    assert (file, done) == ("tiny_fold-2.safetensors", total)
    asked = len(server.ranges)
    fetch(card, tmp_path / "kept")
    assert len(server.ranges) == asked  # nothing is downloaded twice


def test_an_interrupted_download_goes_on_where_it_stopped(tmp_path, server, card):
    server.cut_at = 1000
    with pytest.raises(ResourceError, match="broke off.*call fetch again"):
        fetch(card, tmp_path / "kept")
    assert names(tmp_path / "kept") == ["tiny_fold-1.safetensors.part"]
    server.cut_at = None
    verify_weights(fetch(card, tmp_path / "kept"))
    assert server.ranges == [None, "bytes=1000-", None]


def test_a_server_without_ranges_sends_all_again(tmp_path, server, card):
    server.honour_ranges, server.cut_at = False, 1000
    with pytest.raises(ResourceError, match="broke off"):
        fetch(card, tmp_path / "kept")
    server.cut_at = None
    verify_weights(fetch(card, tmp_path / "kept"))


def test_a_complete_part_only_needs_its_name(tmp_path, server, card):
    name = card.weights[0].path.name
    part = tmp_path / "kept" / "tiny" / f"{name}.part"
    part.parent.mkdir(parents=True)
    part.write_bytes((server.folder / name).read_bytes())
    verify_weights(fetch(card, tmp_path / "kept"))
    assert server.ranges == [None]  # only the second file


def test_without_a_size_the_server_says_that_nothing_is_left(tmp_path, server, card):
    raw = json.loads((card.folder / "tiny.json").read_text())
    for entry in raw["weights"]:
        del entry["size"]
    (card.folder / "tiny.json").write_text(json.dumps(raw))
    name = card.weights[0].path.name
    part = tmp_path / "kept" / "tiny" / f"{name}.part"
    part.parent.mkdir(parents=True)
    part.write_bytes((server.folder / name).read_bytes())
    verify_weights(fetch(load_card(card.folder / "tiny.json"), tmp_path / "kept"))
    assert server.ranges[0] is not None


@pytest.mark.parametrize("size", ["same", "other"])
def test_another_file_is_refused_and_removed(tmp_path, server, card, size):
    path = server.folder / card.weights[0].path.name
    content = path.read_bytes()
    path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]) if size == "same" else content + b"0")
    with pytest.raises(ResourceError, match="is not the file of model card tiny.*removed"):
        fetch(card, tmp_path / "kept")
    assert names(tmp_path / "kept") == []


def test_a_missing_file_and_a_dead_server(tmp_path, server, card):
    (server.folder / card.weights[0].path.name).unlink()
    with pytest.raises(ResourceError, match="cannot be fetched: HTTP Error 404"):
        fetch(card, tmp_path / "kept")
    raw = json.loads((card.folder / "tiny.json").read_text())
    raw["weights"][0]["url"] = "http://127.0.0.1:9/x"
    (card.folder / "tiny.json").write_text(json.dumps(raw))
    with pytest.raises(ResourceError, match="broke off.*https_proxy"):
        fetch(load_card(card.folder / "tiny.json"), tmp_path / "kept")
    assert names(tmp_path / "kept") == []


def test_what_lies_there_already_is_verified(tmp_path, card):
    final = tmp_path / "kept" / "tiny" / card.weights[0].path.name
    final.parent.mkdir(parents=True)
    final.write_bytes(b"something else")
    with pytest.raises(ResourceError, match="is there but is not the file.*Remove it"):
        fetch(card, tmp_path / "kept")
    assert final.read_bytes() == b"something else"


def test_no_address_no_fetch(tmp_path):
    with pytest.raises(ResourceError, match="no address for tiny_fold-1"):
        fetch(make_card(tmp_path / "card"), tmp_path / "kept")


def test_a_non_commercial_licence_must_be_accepted(tmp_path, server):
    card = published(tmp_path / "cards", server, non_commercial=True, licence="CC BY-NC 4.0")
    with pytest.raises(UsageError, match=r"CC BY-NC 4\.0.*`accept_licence`"):
        fetch(card, tmp_path / "kept")
    assert not (tmp_path / "kept").exists()
    verify_weights(fetch(card, tmp_path / "kept", accept_licence=True))


def test_github_is_asked_for_the_bytes(tmp_path, server):
    card = published(tmp_path / "cards", server, path="/repos/a/b/git/blobs")
    fetch(card, tmp_path / "kept")
    assert server.accepts == ["application/vnd.github.raw+json"] * 2


def test_an_unwritable_folder_is_named(tmp_path, card):
    (tmp_path / "file").write_text("")
    with pytest.raises(ResourceError, match="cannot be kept in .*file"):
        fetch(card, tmp_path / "file")


def test_the_command_fetches_and_verifies(tmp_path, card, capsys):
    folder = str(card.folder)
    assert main(["verify", "tiny", "--models-dir", folder]) == 72
    assert "FAILED" in capsys.readouterr().out
    assert main(["fetch", "tiny", "--models-dir", folder]) == 0
    assert "tiny: ready in" in capsys.readouterr().out
    assert main(["verify", "tiny", "--models-dir", folder]) == 0
    assert "tiny: ok (2 files)" in capsys.readouterr().out


def test_the_bar_is_for_terminals_only(tmp_path, card, capsys, monkeypatch):
    assert main(["fetch", "tiny", "--models-dir", str(card.folder)]) == 0
    assert "#" not in capsys.readouterr().err
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    for path in (card.folder / "tiny").glob("*.safetensors"):
        path.unlink()
    assert main(["fetch", "tiny", "--models-dir", str(card.folder)]) == 0
    assert "[############################]" in capsys.readouterr().err
