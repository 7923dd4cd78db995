"""What the page of all scans costs: sizes, seconds to write it, milliseconds in a browser.

    python -m benchmarks.cohort_page --scans 1000 2000
    python -m benchmarks.cohort_page OUTPUT_DIR --people 141

The first simulates scans (tables, logs, figures of the embedded template; nothing of it is data of
people), writes their small pictures and ``index.html``, and opens it in headless Chromium. The
second takes the finished people of a folder under labels of their own until there are enough, and
measures ``--reports-only``: all pages of people, small pictures and ``index.html``. Files are
linked, not copied, where the file system can; OUTPUT_DIR is left as it is.
"""

from __future__ import annotations

import argparse
import gzip
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from benchmarks.measure import Row, print_rows
from bidsapp_brainage.atlas.templates import embedded_images
from bidsapp_brainage.bids.names import output_path, sidecar_path
from bidsapp_brainage.catalogue.lookup import columns_of
from bidsapp_brainage.io import save_nifti, write_json, write_text, write_tsv
from bidsapp_brainage.reports.cohort.columns import quality_metrics
from bidsapp_brainage.reports.cohort.page import write_cohort_page
from bidsapp_brainage.reports.cohort.scans import read_cohort, write_subject_thumbnails
from bidsapp_brainage.reports.figures import overlays

MODEL, TEMPLATE = "sfcn2mm", "MNI152NLin2009aSym"
#: How often one of so many simulated scans fails, has two sessions.
FAILED, TWICE = 40, 10
#: Files that a real scan has and this page does not read: they are listed all the same.
UNREAD = 25
_STAGES = ("conform", "bias correction", "affine registration", "nonlinear registration",
    "brain mask", "segmentation", "model input", "quality metrics", "prediction", "occlusion",
    "agreement of explanations")  # fmt: skip
#: Milliseconds until a change is on the screen; `list` is the list of scans.
_TIMED = """change => new Promise((done) => {
  const list = document.querySelector("[data-part=list]");
  const begin = performance.now();
  new Function("list", change)(list);
  list.offsetHeight;
  requestAnimationFrame(() => setTimeout(() => done(performance.now() - begin)));
})"""
_SEARCH = """const box = document.querySelector("#cohort-search"); box.value = "{}";
box.dispatchEvent(new Event("input"));"""
_SCROLL = """() => new Promise((done) => {
  const list = document.querySelector("[data-part=list]");
  const times = [];
  let last = performance.now();
  const next = () => {
    const now = performance.now();
    times.push(now - last);
    last = now;
    if (times.length > 90) { done(times.slice(1).sort((a, b) => a - b)); return; }
    list.scrollTop += 331;
    requestAnimationFrame(next);
  };
  requestAnimationFrame(next);
})"""


class Clocks:
    """Seconds, and those of the processor, since it was made."""

    def __init__(self) -> None:
        self._wall, self._processor = time.perf_counter(), time.process_time()

    def seconds(self) -> tuple[float, float]:
        """Both, up to now."""
        return time.perf_counter() - self._wall, time.process_time() - self._processor


def simulate(root: Path, n_scans: int, *, seed: int = 0) -> None:
    """Write what the page reads of so many scans, and as many files as real scans have."""
    rng = np.random.default_rng(seed)
    names = _names(draw_figures(root / ".figures"))
    people = []
    numbers = count(1)
    written = 0
    while written < n_scans:
        number = next(numbers)
        subject = f"sub-{number:04d}"
        twice = number % TWICE == 0 and n_scans - written > 1
        scans = [f"{subject}_ses-{session}" for session in "12"] if twice else [subject]
        age = rng.uniform(18, 85)
        about = {"sex": rng.choice(["F", "M"]), "site": rng.choice(["A", "B", "C"])}
        people.append({"participant_id": subject, "age": age, **about})
        failed = number % FAILED == 0
        _write_log(root / subject, scans, failed=failed, rng=rng)
        for scan in scans if not failed else ():
            session = scan.removeprefix(subject).replace("_", "/")
            folders = {"figures": f"{subject}/figures", "anat": f"{subject}{session}/anat"}
            _write_tables(f"{root}/{folders['anat']}/{scan}", age, rng)
            for folder, name, source in names:
                _link(source, root / folders[folder] / f"{scan}{name}")
        write_text(root / f"{subject}.html", "<!DOCTYPE html><title>a person</title>")
        written += len(scans)
    write_tsv(root / "participants.tsv", pd.DataFrame(people))


def _names(figures: Mapping[str, Path]) -> list[tuple[str, str, Path]]:
    """Folder, end of the name and content of the files of a scan that are the same for all."""
    empty = next(iter(figures.values())).with_name("empty")
    empty.touch()
    names = []
    for key, path in figures.items():
        space = {"space": TEMPLATE} if key in ("before_figure", "after_figure") else {}
        name = output_path(Path(), key, (("sub", "x"),), model=MODEL, **space).name
        names.append(("figures", name.removeprefix("sub-x"), path))
    return names + [("anat", f"_desc-x{unread}_T1w.nii.gz", empty) for unread in range(UNREAD)]


def draw_figures(folder: Path) -> dict[str, Path]:
    """Figures of the embedded template as those of a scan."""
    t1w, mask = embedded_images()
    paths = {name: folder / f"{name}.nii.gz" for name in ("t1w", "mask")}
    save_nifti(t1w, paths["t1w"])
    save_nifti(mask, paths["mask"])
    drawn = {key: folder / f"{key}.svg" for key in ("mask_figure", "before_figure", "after_figure",
        "segmentation_figure", "input_figure")}  # fmt: skip
    overlays.plot_mask(paths["t1w"], paths["mask"], drawn["mask_figure"])
    head = overlays.Head(paths["t1w"], paths["mask"])
    overlays.plot_registration(head, head, drawn["before_figure"], drawn["after_figure"])
    overlays.plot_model_input(paths["t1w"], drawn["input_figure"])
    shutil.copyfile(drawn["mask_figure"], drawn["segmentation_figure"])
    return drawn


def _write_tables(stem: str, age: float, rng: Any) -> None:
    predicted = 12 + 0.76 * age + rng.normal(0, 6)
    flag = rng.choice(["none", "unlike_training"], p=[0.97, 0.03])
    decision = rng.choice(["pass", "warn"], p=[0.93, 0.07])
    rows = {
        "brainage": {
            "model": MODEL, "chronological_age": age, "predicted_age": predicted,
            "ci95_lower": predicted - 13, "ci95_upper": predicted + 13, "gap": predicted - age,
            "gap_corrected": predicted - 12 - 0.76 * age, "gap_z": rng.normal(),
            "training_distance": rng.gamma(4, 0.1), "member_sd": rng.gamma(9, 0.5),
            "flags": flag, "ood_flag": flag, "qc_flag": decision,
        },
        "qc": {
            **{name: rng.normal(10, 1) for name in quality_metrics()},
            "decision": decision,
            "decision_reason": "coarse voxels" if decision == "warn" else None,
        },
    }  # fmt: skip
    for key, row in rows.items():
        path = Path(f"{stem}_desc-{MODEL}_{key}.tsv")
        write_tsv(path, pd.DataFrame([row]).reindex(columns=columns_of(key)))
        write_json(sidecar_path(path), {"Model": {"Name": MODEL}})


def _write_log(person: Path, names: Sequence[str], *, failed: bool, rng: Any) -> None:
    folder = person / "log" / "20260131-120000_simulated"
    reason = "The affine registration does not converge: look at the image."
    failures = [{"Scan": n, "Step": "affine", "Reason": reason} for n in names if failed]
    times = {"Started": "2026-01-31T12:00:00Z", "Ended": "2026-01-31T12:07:00Z"}
    write_json(folder / "participant.json", {**times, "Scans": names, "Failures": failures})
    write_text(folder / "app.toml", '[run]\nanalysis_level = ["participant"]\n')
    stages = [
        {"scan": name, "stage": stage, "node": stage, "ended": times["Ended"], "cached": False,
         "wall_s": rng.gamma(3, 10), "cpu_s": rng.gamma(3, 8), "peak_rss_mb": rng.gamma(9, 80)}
        for name in names for stage in _STAGES[: 3 if failed else None]
    ]  # fmt: skip
    write_tsv(folder / "timings.tsv", pd.DataFrame(stages))


def _link(source: Path, target: Path) -> None:
    """Link a file, or copy it where the file system has no such links."""
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)


def link_people(source: Path, target: Path, people: int) -> None:
    """Take finished people under labels of their own until there are enough of them."""
    found = sorted(path for path in source.glob("sub-*") if path.is_dir())
    if not found:
        raise SystemExit(f"{source} has no people.")
    for number in range(people):
        person = found[number % len(found)]
        label = f"{person.name}x{number}"
        for path in (path for path in person.rglob("*") if path.is_file()):
            relative = path.relative_to(person)
            new = target / label / relative.with_name(relative.name.replace(person.name, label, 1))
            if relative.parts[0] == "log":  # crash files are written anew in their place
                new.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(path, new)
            else:
                _link(path, new)
    for name in ("dataset_description.json", "participants.tsv", "logs/CITATION.md"):
        if (source / name).is_file():
            _link(source / name, target / name)


def measure_pictures(root: Path) -> list[Row]:
    """Seconds and bytes of the small pictures of all scans."""
    subjects = sorted(path.name.removeprefix("sub-") for path in root.glob("sub-*/"))
    clock = Clocks()
    for subject in subjects:
        write_subject_thumbnails(root, subject)
    wall, processor = clock.seconds()
    sizes = [path.stat().st_size for path in root.rglob("*_thumbnails.jpg")]
    return [
        Row("small pictures of a scan", 1000 * wall / len(sizes), "ms"),
        Row("of a processor", 1000 * processor / len(sizes), "ms"),
        Row("their file", sum(sizes) / len(sizes) / 1e3, "kB"),
        Row("all of them", sum(sizes) / 1e6, "MB"),
    ]


def measure_page(root: Path) -> list[Row]:
    """Seconds and bytes of ``index.html``."""
    clock = Clocks()
    read_cohort(root)
    _, reading = clock.seconds()
    clock = Clocks()
    content = write_cohort_page(root).read_bytes()
    wall, processor = clock.seconds()
    return [
        Row("writing index.html", wall, "s"),
        Row("of a processor", processor, "s"),
        Row("to read what lies there", reading, "s"),
        Row("index.html", len(content) / 1e6, "MB"),
        Row("index.html, compressed", len(gzip.compress(content)) / 1e6, "MB"),
    ]


def measure_browser(page: Path) -> list[Row]:
    """Milliseconds in headless Chromium; none where it is not installed."""
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        return []
    found = shutil.which("chromium") or shutil.which("chromium-browser")
    if found is None:
        return []
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=found, args=["--no-sandbox"])
        window = browser.new_page(viewport={"width": 1280, "height": 900})
        told = window.context.new_cdp_session(window)
        told.send("Performance.enable", {"timeDomain": "threadTicks"})

        def busy() -> float:
            """Milliseconds of a processor that the page has taken for its own work."""
            metrics = told.send("Performance.getMetrics")["metrics"]
            return 1000 * next(m["value"] for m in metrics if m["name"] == "TaskDuration")

        window.goto(page.as_uri())
        window.locator("[data-row]").first.wait_for()
        timing = window.evaluate("performance.getEntriesByType('navigation')[0].loadEventEnd")

        def timed(change: str) -> float:
            return float(np.median([window.evaluate(_TIMED, change) for _ in range(3)]))

        rows = [Row("until the page is loaded", timing, "ms")]
        rows.append(Row("until the page is loaded, of a processor", busy(), "ms"))
        for what, words in (("search by words", "sub-00"), ("by comparison", "age>60 cnr<10")):
            rows.append(Row(what, timed(_SEARCH.format(words)), "ms"))
        window.evaluate(_TIMED, _SEARCH.format(""))
        sort = 'document.querySelector("[data-key=gap_corrected]").click();'
        rows.append(Row("sort", timed(sort), "ms"))
        rows.append(Row("choose another verdict", timed(
            'document.querySelector("[data-chip=usable]").click();'), "ms"))  # fmt: skip
        for view in ("table", "mosaic"):
            rows.append(Row(f"show the {view}", timed(
                f'document.querySelector("[data-view={view}]").click();'), "ms"))  # fmt: skip
            before = busy()
            frames = window.evaluate(_SCROLL)
            each = (busy() - before) / len(frames)
            rows.append(Row("a frame while scrolling, median", frames[len(frames) // 2], "ms"))
            rows.append(Row("a frame, of a processor", each, "ms"))
        plots = 'document.querySelector("#distributions").scrollIntoView();'
        rows.append(Row("distributions of quality", timed(plots), "ms"))
        heap = window.evaluate("performance.memory.usedJSHeapSize") / 1e6
        rows.append(Row("memory of the script", heap, "MB"))
        browser.close()
    return rows


def measure_reports_only(source: Path, people: int) -> list[Row]:
    """Seconds of ``--reports-only`` and bytes of its pages."""
    with tempfile.TemporaryDirectory(dir=source.absolute().parent) as folder:
        root = Path(folder) / "derivatives"
        link_people(source, root, people)
        command = [sys.executable, "-m", "bidsapp_brainage", str(root / "raw"), str(root)]
        command += ["participant", "--reports-only", "-w", str(Path(folder) / "work")]
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        begin = time.perf_counter()
        done = subprocess.run(command, check=False, capture_output=True, text=True)
        wall = time.perf_counter() - begin
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        processor = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        pages = [path.stat().st_size / 1e6 for path in root.glob("sub-*.html")]
        if not pages:
            raise SystemExit(done.stderr)
        return [
            Row("people", len(pages), ""),
            Row("--reports-only", wall, "s"),
            Row("of a processor", processor, "s"),
            Row("largest memory", after.ru_maxrss / 1024, "MiB"),
            Row("a page of a person, median", float(np.median(pages)), "MB"),
            Row("largest", max(pages), "MB"),
            *measure_page(root),
        ]


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("output_dir", nargs="?", type=Path, help="folder with finished people")
    parser.add_argument("--people", type=int, default=141)
    parser.add_argument("--scans", type=int, nargs="+", default=[1000, 2000])
    parser.add_argument("--keep", type=Path, help="simulate into this new folder and keep it")
    options = parser.parse_args(argv)
    if options.output_dir is not None:
        print_rows(measure_reports_only(options.output_dir, options.people))
        return
    for n_scans in options.scans:
        with tempfile.TemporaryDirectory() as folder:
            root = (options.keep or Path(folder)) / f"{n_scans}"
            simulate(root, n_scans)
            rows = [*measure_pictures(root), *measure_page(root)]
            rows += measure_browser(root / "index.html")
            print(f"\n{n_scans} scans")
            print_rows(rows)


if __name__ == "__main__":
    main()
