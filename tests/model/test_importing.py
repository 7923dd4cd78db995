"""``brainage-model import``: files are recognised by content, and nothing else gets in."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from bidsapp_brainage.cli.models import main
from bidsapp_brainage.errors import ResourceError, UsageError
from bidsapp_brainage.model.cards import ModelCard, find_card, load_card
from bidsapp_brainage.model.weights.files import verify_weights
from bidsapp_brainage.model.weights.importing import import_weights
from tests.model.tiny import make_card


@pytest.fixture
def card(tmp_path: Path) -> ModelCard:
    """A card of the user whose two weight files lie elsewhere, under other names."""
    card = make_card(tmp_path / "models")
    for place, weight in enumerate(card.weights):
        shutil.move(weight.path, tmp_path / f"download ({place}).bin")
    return card


def downloads(tmp_path: Path) -> list[Path]:
    return sorted(tmp_path.glob("download*.bin"))


def test_files_are_recognised_by_content_whatever_their_names_are(
    tmp_path: Path, card: ModelCard
) -> None:
    before = [path.read_bytes() for path in downloads(tmp_path)]
    done = import_weights(card, downloads(tmp_path)[::-1], tmp_path / "fetched")
    assert done.missing == ()
    assert [final.read_bytes() for _, final in done.placed] == before[::-1]
    verify_weights(done.card)
    assert done.card.folder == card.folder  # beside the user's own card
    assert [path.read_bytes() for path in downloads(tmp_path)] == before


def test_an_ensemble_may_come_file_by_file(
    tmp_path: Path, card: ModelCard, capsys: pytest.CaptureFixture[str]
) -> None:
    first, second = map(str, downloads(tmp_path))
    folder = ["--card", "tiny", "--models-dir", str(card.folder)]
    assert main(["import", first, *folder]) == 0
    assert f"still missing: {card.weights[1].path.name}" in capsys.readouterr().out
    assert main(["import", second, *folder]) == 0
    assert "complete" in capsys.readouterr().out


def test_a_shipped_card_gets_a_folder_of_its_own(
    tmp_path: Path, card: ModelCard, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "bidsapp_brainage.model.weights.importing.bundled_folder", lambda: card.folder
    )
    done = import_weights(card, downloads(tmp_path), tmp_path / "fetched")
    assert done.card.folder == tmp_path / "fetched" / "tiny"
    assert not any(weight.path.exists() for weight in card.weights)
    assert find_card("tiny", tmp_path / "fetched").folder == done.card.folder


def test_a_file_that_is_in_its_place_already_stays(tmp_path: Path) -> None:
    card = make_card(tmp_path)
    done = import_weights(card, [card.weights[0].path], tmp_path)
    assert done.missing == ()
    verify_weights(card)


def test_another_file_is_refused_with_its_checksum_and_nothing_is_copied(
    tmp_path: Path, card: ModelCard
) -> None:
    wrong = tmp_path / "wrong.bin"
    wrong.write_bytes(downloads(tmp_path)[0].read_bytes()[:-1] + b"x")
    with pytest.raises(ResourceError, match=r"sha256 is [0-9a-f]{64}, the card says") as caught:
        import_weights(card, [downloads(tmp_path)[0], wrong], tmp_path)
    assert "never converted" in str(caught.value)
    assert not any(weight.path.exists() for weight in card.weights)


def test_a_published_card_is_compared_by_its_git_blob_id(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "run_20190719_00_epoch_best_mae.p"
    file.write_bytes(b"not the published weights")
    assert main(["import", str(file), "--card", "sfcnukb", "--models-dir", str(tmp_path)]) == 72
    assert "git blob id is" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["nothing.p", "--card", "sfcnukb"], 2, "nothing.p does not exist"),
        (["nothing.p", "--card", "midi"], 2, "--accept-licence"),
        (["nothing.p", "--card", "nonsense"], 2, "Unknown model"),
    ],
)
def test_errors_are_one_line_with_the_documented_code(
    arguments: list[str], code: int, words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["import", *arguments]) == code
    assert words in capsys.readouterr().err


def test_a_place_that_cannot_be_written_to_is_named(tmp_path: Path, card: ModelCard) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("")
    folder = blocked / "models"
    raw = card.folder / "tiny.json"
    moved = tmp_path / "elsewhere"
    moved.mkdir()
    shutil.copy(raw, moved / "tiny.json")
    other = load_card(moved / "tiny.json")
    shutil.rmtree(moved)
    moved.write_text("")  # a file where the folder was
    with pytest.raises(ResourceError, match="cannot be kept in"):
        import_weights(other, downloads(tmp_path)[:1], folder)


def test_a_missing_file_is_a_usage_error(tmp_path: Path, card: ModelCard) -> None:
    with pytest.raises(UsageError, match="does not exist"):
        import_weights(card, [tmp_path / "no"], tmp_path)
