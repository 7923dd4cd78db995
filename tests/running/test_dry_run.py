"""What ``--dry-run`` lists, and that it refuses what the run would refuse."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from bidsapp_brainage.atlas import templates
from bidsapp_brainage.errors import BrainageError, ExitCode, NoInputError
from bidsapp_brainage.model import device
from bidsapp_brainage.model.cards import ModelCard
from bidsapp_brainage.running.dry_run import list_work
from bidsapp_brainage.settings import Settings, build_settings
from tests.finished import write_atlas
from tests.model.tiny import make_card

Make = Callable[..., Settings]


@pytest.fixture(scope="module")
def card(tmp_path_factory: pytest.TempPathFactory) -> ModelCard:
    return make_card(tmp_path_factory.mktemp("models"), members=1)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One home for all tests, because TemplateFlow takes long to look at its templates."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TEMPLATEFLOW_HOME", str(tmp_path_factory.mktemp("empty")))
        return templates.prepare_home(tmp_path_factory.mktemp("work"))


@pytest.fixture
def make(two_people: Path, card: ModelCard, home: Path, monkeypatch, no_network) -> Make:
    """Settings of a dry run; whatever it does, it must not go online."""
    monkeypatch.setattr(templates, "prepare_home", lambda _: home)
    root = two_people.parent
    atlas = str(write_atlas(root, card))

    def settings(*levels: str, **options: object) -> Settings:
        chosen = {"model": "tiny", "models_dir": card.folder, "atlas": atlas, "dry_run": True}
        folders = {"work_dir": root / "work"}
        return build_settings(two_people, root / "out", levels, chosen | folders | options)

    return settings


def test_images_are_listed_and_nothing_is_written(make: Make, two_people, capsys, no_network):
    before = sorted(two_people.parent.rglob("*"))
    assert list_work(make("participant"), "participant") == 0
    text = capsys.readouterr().out
    assert "2 T1w images would be processed with model tiny and explained with atlas" in text
    assert "sub-02\t40\tparticipants.tsv\tno\tsub-02/anat/sub-02_T1w.nii.gz" in text
    assert sorted(two_people.parent.rglob("*")) == before
    assert no_network == []


@pytest.mark.parametrize(
    ("options", "code", "words"),
    [
        ({"session_label": ("9",)}, ExitCode.NO_INPUT, "session=9"),
        ({"atlas": "Nope"}, ExitCode.USAGE, "There is no atlas 'Nope'"),
        ({"device": "cuda:3"}, ExitCode.USAGE, "`device` cuda:3: 0 CUDA devices"),
        ({"output_spaces": ("bogus",)}, ExitCode.USAGE, "TemplateFlow does not offer bogus"),
        (
            {"output_spaces": ("MNI152NLin6Asym",)},
            ExitCode.RESOURCE,
            "templateflow get MNI152NLin6Asym",
        ),
    ],
)
def test_what_the_run_would_refuse(
    make: Make, monkeypatch, capsys, no_network, options, code, words
):
    monkeypatch.setattr(device, "_cuda_count", lambda: 0)
    with pytest.raises(BrainageError) as caught:
        list_work(make("participant", **options), "participant")
    assert words in str(caught.value)
    assert caught.value.exit_code == code
    assert capsys.readouterr().out == ""
    assert no_network == []


def test_missing_weights(make: Make, tmp_path: Path):
    folder = tmp_path / "models"
    folder.mkdir()
    for weights in make_card(folder, members=1).weights:
        weights.path.unlink()
    with pytest.raises(BrainageError) as caught:
        list_work(make("participant", models_dir=folder), "participant")
    assert caught.value.exit_code == ExitCode.RESOURCE


def test_tables_of_the_group_level(make: Make, tmp_path: Path, capsys):
    alone, after = make("group"), make("participant", "group")
    with pytest.raises(NoInputError):
        list_work(alone, "group")
    assert list_work(after, "group") == 0  # the participant level makes them first
    assert "0 predictions that are there would be summarised, beside" in capsys.readouterr().out
    for label in ("01", "02"):
        folder = tmp_path / "out" / f"sub-{label}" / "anat"
        folder.mkdir(parents=True)
        (folder / f"sub-{label}_desc-tiny_brainage.tsv").touch()
    one = replace(alone, selection=replace(alone.selection, participant_label=("02",)))
    assert list_work(one, "group") == 0
    text = capsys.readouterr().out
    assert "1 predictions that are there would be summarised:" in text
    assert text.splitlines()[1:] == ["sub-02/anat/sub-02_desc-tiny_brainage.tsv"]
