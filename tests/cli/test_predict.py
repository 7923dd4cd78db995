"""``bidsapp-brainage predict``, with a stand-in for what predicts."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from types import SimpleNamespace

import pandas as pd
import pytest

from bidsapp_brainage import errors
from bidsapp_brainage.api.levels import BrainAges
from bidsapp_brainage.cli import predict, run

RESULT = SimpleNamespace(
    file="t1.nii.gz", predicted_age=50.25, interval=(40.0, 60.0), gap=None,
    verdict=SimpleNamespace(level="usable"), report=lambda: Path("brainage/sub-t1.html"),
    predictions=pd.DataFrame([{"target": "age", "value": 50.25, "predicted": None}]),
)  # fmt: skip


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[dict]:
    """What was asked for; an image called ``bad*`` is an error."""
    calls: list[dict] = []

    def one(image: Path, **options: object) -> object:
        calls.append({"image": image, **options})
        if image.name.startswith("bad"):
            raise errors.DataError(f"{image}: empty.")
        return RESULT

    def several(images: list[Path], **options: object) -> BrainAges:
        calls.append({"images": images, **options})
        bad = [path for path in images if path.name.startswith("bad")]
        failed = {str(path): errors.DataError(f"{path}: empty.") for path in bad}
        return BrainAges((RESULT,), failed)  # type: ignore[arg-type]

    monkeypatch.setattr(predict, "predict", one)
    monkeypatch.setattr(predict, "predict_all", several)
    return calls


@pytest.mark.parametrize(
    ("line", "theirs"),
    [
        ("predict t1.nii.gz", True),
        ("predict t1.nii.gz --age 46 -o out", True),
        ("predict --help", True),
        ("predict out participant", False),
        ("predict out --nprocs 2 group", False),
        ("./predict out participant", False),
        ("data out participant", False),
        ("", False),
    ],
)
def test_a_dataset_may_be_called_like_the_command(line: str, theirs: bool) -> None:
    assert predict.is_asked(line.split()) is theirs


def test_one_image(asked: list[dict], capsys) -> None:
    line = "predict t1.nii.gz --age 46 --sex F -o out --explain none --nprocs 2"
    assert run.main(line.split()) == 0
    (call,) = asked
    assert call["image"] == Path("t1.nii.gz")
    assert (call["age"], call["sex"], call["output_dir"]) == (46.0, "F", Path("out"))
    assert (call["explain"], call["nprocs"]) == (("none",), 2)
    header, row = capsys.readouterr().out.splitlines()
    shown = dict(zip(header.split("\t"), row.split("\t"), strict=True))
    assert shown["predicted_age"] == "50.25"
    assert shown["gap"] == "n/a"
    assert shown["report"] == "brainage/sub-t1.html"


@pytest.mark.parametrize(
    ("line", "code", "words"),
    [
        ("predict bad.nii.gz", 65, "bad.nii.gz: empty."),
        ("predict a.nii.gz bad.nii.gz", 1, "bad.nii.gz: empty."),
        ("predict a.nii.gz b.nii.gz --age 46", 2, "give --people"),
        ("predict a.nii.gz --people t.tsv --sex F", 2, "give --people"),
    ],
)
def test_exit_codes(asked: list[dict], capsys, line: str, code: int, words: str) -> None:
    assert run.main(line.split()) == code
    assert words in capsys.readouterr().err


def test_options_of_datasets_are_none_of_images(asked: list[dict], capsys) -> None:
    with pytest.raises(SystemExit) as caught:
        run.main(["predict", "t1.nii.gz", "--participant-label", "01"])
    assert caught.value.code == 2
    assert "--participant-label" in capsys.readouterr().err


def test_a_full_disk_has_its_status(monkeypatch, capsys) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(predict, "predict", full)
    assert run.main(["predict", "t1.nii.gz"]) == 74
    assert "The disk is full" in capsys.readouterr().err


def test_a_place_for_temporary_files_is_found_first(asked, monkeypatch, tmp_path: Path) -> None:
    settled: list[Path] = []
    monkeypatch.setattr(predict, "settle", settled.append)
    monkeypatch.chdir(tmp_path)
    run.main(["predict", "t1.nii.gz"])
    run.main(["predict", "t1.nii.gz", "--work-dir", "work"])
    assert settled == [Path("brainage/.scratch"), Path("work")]


def test_an_interrupted_command_says_so(monkeypatch) -> None:
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(predict, "predict", interrupted)
    assert run.main(["predict", "t1.nii.gz"]) == 130


def test_other_targets_have_a_column_of_their_own(capsys: pytest.CaptureFixture[str]) -> None:
    rows = [
        {"target": "sex", "class": "F", "value": 0.2, "predicted": False},
        {"target": "sex", "class": "M", "value": 0.8, "predicted": True},
    ]
    of_classes = SimpleNamespace(
        **{**vars(RESULT), "predicted_age": None, "interval": None},
    )
    of_classes.predictions = pd.DataFrame(rows)
    predict._show(BrainAges((of_classes,), {}))
    head, row = (line.split("\t") for line in capsys.readouterr().out.splitlines())
    told = dict(zip(head, row, strict=True))
    assert (told["predicted_age"], told["predictions"]) == ("n/a", "sex M (0.80)")
