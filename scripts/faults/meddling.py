"""Others who do something at the same time, inputs that change, places that are not usual."""

from __future__ import annotations

import re
import resource
import shutil
from collections.abc import Callable
from pathlib import Path

from bidsapp_brainage.io import read_tsv
from scripts.faults.lab import Lab, Row, Run

_MEMORY_BYTES = 1_100_000_000
_ODD = "sp ace \"q'uote\n" + 170 * "x"


def memory(lab: Lab) -> Row:
    """Let no worker have more memory than a step needs."""
    out, work = lab.folders("memory")
    run = lab.start(lab.command(out, work))
    run.wait_for(lambda: len(run.family()) > 2)
    limits = (_MEMORY_BYTES, _MEMORY_BYTES)
    for process in run.family()[1:]:
        process.rlimit(resource.RLIMIT_AS, limits)
    return _row(
        lab,
        "Out of memory in a worker",
        f"RLIMIT_AS of {_MEMORY_BYTES / 1e9:g} GB for all workers, from their start; then without",
        [run, lab.start_after(run, lab.command(out, work))],
        [1, 0],
        "memory",
    )


def same_people(lab: Lab) -> Row:
    """Process the same people twice at once."""
    out, work = lab.folders("same")
    first = lab.start(lab.command(out, work))
    first.wait_for(lambda: "Processing 2 scans" in first.log)
    second = lab.start(lab.command(out, work))
    return _row(
        lab,
        "Two runs over the same people",
        "the same command once more, with the same output and work folder, while the first runs",
        [second, first],
        [2, 0],
        "Another run works on sub-01, sub-02",
    )


def other_people(lab: Lab) -> Row:
    """Process two people in two runs at once."""
    out, work = lab.folders("others")
    runs = [lab.start(lab.command(out, work, "--participant-label", who)) for who in ("01", "02")]
    return _row(
        lab,
        "Two runs over other people",
        "one participant each at once, with the same output and work folder",
        runs,
        [0, 0],
    )


def group_meanwhile(lab: Lab) -> Row:
    """Run the group level while participants are processed."""
    out, work = lab.folders("group")
    first = lab.start(lab.command(out, work))
    first.wait_for(lambda: "sub-01: prediction done" in first.log)
    first.wait_for(lambda: any(out.glob("sub-01/anat/*_brainage.tsv")))
    codes = [lab.start(lab.command(out, work, level="group")).end(), first.end()]
    again = lab.start(lab.command(out, work, level="group"))
    codes.append(again.end())
    people = len(read_tsv(out / "group_desc-tiny_brainage.tsv"))
    for name in [*out.glob("group*"), out / "phenotype", out / "figures"]:
        shutil.rmtree(name) if name.is_dir() else name.unlink(missing_ok=True)
    wrong = lab.differences(out, whole=False)
    shutil.rmtree(out.parent, ignore_errors=True)
    return Row(
        "Group level while participants run",
        "the group level as soon as the first of two people has a prediction, and once more after",
        f"{len(wrong)} files of people with other bytes; the second table has {people} of 2 scans",
        ", ".join(map(str, codes)),
        again.errors(),
        codes == [0, 0, 0] and not wrong and people == 2,
    )


def vanishing(lab: Lab) -> Row:
    """Remove the image of the second person while the first is processed."""
    return _input(lab, "vanishes", lambda image: image.unlink())


def changing(lab: Lab) -> Row:
    """Cut the image of the second person while the first is processed."""
    return _input(lab, "is cut", lambda image: image.write_bytes(image.read_bytes()[:20000]))


def _input(lab: Lab, what: str, change: Callable[[Path], object]) -> Row:
    out, work = lab.folders("input")
    image = lab.bids / "sub-02/anat/sub-02_T1w.nii.gz"
    kept = image.read_bytes()
    run = lab.start(lab.command(out, work, "--nprocs", "1"))
    run.wait_for(lambda: "Processing 2 scans" in run.log)
    change(image)
    try:
        run.end()
    finally:
        image.write_bytes(kept)
    return _row(
        lab,
        f"An input {what} in mid-run",
        "the second of two images, when the run has begun; put back, and the same command again",
        [run, lab.start(lab.command(out, work))],
        [1, 0],
        "sub-02",
    )


def strange_place(lab: Lab) -> Row:
    """Run without network, home, name and a place for temporary files."""
    out, work = lab.folders("strange")
    empty = lab.root / "empty"
    for folder in (out, work, empty):
        folder.mkdir(parents=True, exist_ok=True)
    binds = [word for folder in (out, work) for word in ("--bind", folder, folder)]
    hidden = [word for folder in ("/tmp", "/var/tmp") for word in ("--ro-bind", empty, folder)]
    box = [
        *("bwrap", "--ro-bind", "/", "/", "--dev-bind", "/dev", "/dev", "--proc", "/proc"),
        *(*hidden, *binds, "--unshare-user", "--uid", "12345", "--gid", "12345", "--unshare-net"),
        *("--unsetenv", "HOME", "--unsetenv", "TMPDIR", "--chdir", "/"),
    ]
    run = lab.start(lab.command(out, work), prefix=[str(word) for word in box])
    return _row(
        lab,
        "All read-only but output and work; a user without name and home; no /tmp; no network",
        "all of it together, with bubblewrap: user 12345, HOME unset, /tmp and /var/tmp read-only",
        [run],
        [0],
    )


def odd_path(lab: Lab) -> Row:
    """Run in a folder with a name that programs stumble over."""
    out, work = (folder / _ODD for folder in lab.folders("odd"))
    run = lab.start(lab.command(out, work), LANG="tr_TR.UTF-8", TZ="Asia/Kathmandu")
    code = run.end()
    texts = [path for path in out.rglob("*") if path.suffix in (".json", ".toml", ".tsv", ".html")]
    told = [path for path in texts if "sp ace" in path.read_text("utf-8")]
    wrong = [name for name in lab.differences(out) if name != "dataset_description.json"]
    shutil.rmtree(out.parent.parent, ignore_errors=True)
    return Row(
        "Paths with spaces, quotes, newlines and 200 characters; another time zone and locale",
        "output and work in a folder so called; TZ Asia/Kathmandu, LANG tr_TR.UTF-8",
        f"{len(wrong)} files with other bytes (but for links between the folders in "
        f"dataset_description.json); {len(told)} files tell the path",
        str(code),
        run.errors(),
        code == 0 and not wrong and not told,
    )


def _row(
    lab: Lab, fault: str, provoked: str, runs: list[Run], wanted: list[int], words: str = ""
) -> Row:
    """What came of runs on one output folder, of which the last must be whole."""
    codes = [run.end() for run in runs]
    out = Path(re.findall(r": .+ -> (.+)", runs[0].log)[0])
    wrong = lab.differences(out)
    complete = re.findall(r"\d+ of \d+ scans are complete", runs[0].log)
    shutil.rmtree(out.parent, ignore_errors=True)
    told = runs[0].errors()
    return Row(
        fault,
        provoked,
        f"{' '.join(complete)}; {len(wrong)} files with other bytes than those of an undisturbed "
        "run at the end",
        ", ".join(map(str, codes)),
        told,
        codes == wanted and not wrong and words in told,
    )
