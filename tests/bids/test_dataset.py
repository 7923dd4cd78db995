from __future__ import annotations

import json
import multiprocessing
from pathlib import Path

import pytest

from bidsapp_brainage import io
from bidsapp_brainage.bids import dataset
from bidsapp_brainage.bids.ages import Age
from bidsapp_brainage.bids.citation import (
    bibliography,
    cited_keys,
    render_html,
    render_latex,
    render_markdown,
    write_citation,
)
from bidsapp_brainage.bids.collect import Scan


def scan(subject: str, session: str = "1", age: float | None = 30.0) -> Scan:
    return Scan(Path("x"), (("sub", subject), ("ses", session)), Age(age, "sessions.tsv"), "F")


def origin_in(tmp_path: Path, **description: object) -> dataset.Origin:
    raw = tmp_path / "raw"
    if description:
        io.write_json(raw / "dataset_description.json", description)
    return dataset.Origin(raw, tmp_path / "out", "0123abcd")


def test_description_carries_licence_and_source(tmp_path):
    origin = origin_in(tmp_path, Name="Study", License="CC0", DatasetDOI="doi:10.1/x")
    described = dataset.dataset_description(origin, {"URL": "https://atlas.org"})
    assert described["License"] == "CC0"
    assert described["SourceDatasets"] == [{"DOI": "doi:10.1/x"}]
    assert described["GeneratedBy"][0]["Name"] == "bidsapp_brainage"
    assert described["GeneratedBy"][0]["ConfigurationHash"] == "0123abcd"
    assert described["DatasetLinks"]["raw"] == "../raw"
    assert described["DatasetLinks"]["atlases"] == "https://atlas.org"


@pytest.mark.parametrize(
    ("keywords", "kept"),
    [(["synthetic", "T1w"], True), (["Synthetic"], True), (["T1w"], False), ("synthetic", False)],
)
def test_that_people_are_synthetic_is_handed_on_and_no_other_keyword(tmp_path, keywords, kept):
    origin = origin_in(tmp_path, Name="Study", Keywords=keywords)
    described = dataset.dataset_description(origin)
    assert described.get("Keywords") == (["synthetic"] if kept else None)
    assert dataset.shows_synthetic_people(origin.bids_dir) == kept


@pytest.mark.parametrize(
    ("raw", "out", "description", "link"),
    [
        ("/d/bids", "/d/bids/derivatives/x", {}, "../.."),
        ("/bids", "/out", {}, "../bids"),
        ("/home/jane/secret/bids", "/out", {"DatasetDOI": "doi:10.1/x"}, "https://doi.org/10.1/x"),
        ("/home/jane/secret/bids", "/out", {"Name": "My study!"}, "urn:bids-dataset:my-study"),
    ],
)
def test_link_to_the_raw_data_tells_no_names(raw, out, description, link):
    assert dataset._link(Path(raw), Path(out), description, fallback="raw") == link


def test_container_facts_are_those_of_the_image(tmp_path, monkeypatch):
    assert dataset.container_facts() == {} or Path("/opt/app/container.json").exists()
    baked = tmp_path / "container.json"
    baked.write_text(json.dumps({"Type": "docker", "Tag": "x:1", "URI": ""}))
    monkeypatch.setattr(dataset, "_CONTAINER_FACTS", baked)
    monkeypatch.delenv("APPTAINER_CONTAINER", raising=False)
    assert dataset.container_facts() == {"Type": "docker", "Tag": "x:1"}
    monkeypatch.setenv("APPTAINER_CONTAINER", "/x.sif")
    assert dataset.container_facts()["Type"] == "singularity"


def test_participants_of_later_runs_are_added_and_replaced(tmp_path):
    origin = origin_in(tmp_path, Name="x")
    dataset.write_dataset_files(origin, model="sfcn", scans=[scan("02"), scan("03", age=None)])
    dataset.write_dataset_files(origin, model="sfcn", scans=[scan("01"), scan("03", age=50.0)])
    table = io.read_tsv(origin.output_dir / "participants.tsv")
    assert table["participant_id"].tolist() == ["sub-01", "sub-02", "sub-03"]
    assert table["age"].tolist() == [30.0, 30.0, 50.0]


def test_age_that_differs_between_sessions_is_not_in_participants_table():
    table = dataset.participants([scan("01", "1", 30.0), scan("01", "2", 33.0)])
    assert table["age"].isna().all()


def test_second_run_changes_no_byte(tmp_path):
    origin = origin_in(tmp_path, Name="x")
    dataset.write_dataset_files(origin, model="sfcn", scans=[scan("01")])
    before = {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in files(origin)}
    dataset.write_dataset_files(origin, model="sfcn", scans=[scan("01")])
    assert {p: (p.read_bytes(), p.stat().st_mtime_ns) for p in files(origin)} == before


def files(origin: dataset.Origin) -> list[Path]:
    return [path for path in origin.output_dir.rglob("*") if path.is_file()]


def _add(origin: dataset.Origin, subject: str) -> None:
    dataset.write_dataset_files(origin, model="sfcn", scans=[scan(subject)])


def test_jobs_side_by_side_lose_no_participant(tmp_path):
    origin = origin_in(tmp_path, Name="x")
    context = multiprocessing.get_context("fork")
    labels = [f"{number:02d}" for number in range(8)]
    jobs = [context.Process(target=_add, args=(origin, label)) for label in labels]
    for job in jobs:
        job.start()
    for job in jobs:
        job.join()
    table = io.read_tsv(origin.output_dir / "participants.tsv")
    assert table["participant_id"].tolist() == [f"sub-{label}" for label in labels]
    assert not list(origin.output_dir.glob(".*tmp*"))


def test_bidsignore_has_no_trailing_slash(tmp_path):
    origin = origin_in(tmp_path, Name="x")
    dataset.write_dataset_files(origin, model="sfcn")
    lines = (origin.output_dir / ".bidsignore").read_text().splitlines()
    assert "figures" in lines
    assert not any(line.endswith("/") for line in lines)


TEXT = (
    "# Methods\n\nPeople were *old* & `x_y` [@sfcn; @n4].\n\n@nipype ran; 5 % < [a](https://b.c)."
)


def test_citation_as_markdown():
    text = render_markdown(TEXT)
    assert "(Peng et al., 2021; Tustison et al., 2010)" in text
    assert "Gorgolewski et al. (2011) ran" in text
    assert text.count("https://doi.org/") == 3


def test_citation_as_html_is_escaped():
    text = render_html(TEXT)
    assert "<h2>Methods</h2>" in text
    assert "<em>old</em> &amp; <code>x_y</code> (Peng et al., 2021" in text
    assert '5 % &lt; <a href="https://b.c">a</a>' in text


def test_free_text_of_the_methods_is_no_html_and_no_program():
    evil = "<img src=x onerror=alert(1)> [click](javascript:alert) *<b>* `<i>` [@<script>]"
    text = render_html(evil)
    assert not any(tag in text for tag in ("<img", "<b>", "<i>", "<script", "<a "))


def test_citation_as_latex():
    text = render_latex(TEXT)
    assert r"\emph{old} \& \texttt{x\_y} \citep{sfcn,n4}" in text
    assert r"5 \% \textless{} \href{https://b.c}{a}" in text


def test_every_reference_is_complete():
    for reference in bibliography().values():
        assert {"author", "title", "year"} <= set(reference.fields), reference.key
        assert {"journal", "publisher"} & set(reference.fields), reference.key
        assert "{" not in reference.long
        assert "\\" not in reference.long


def test_unknown_keys_and_addresses_are_no_citations():
    assert cited_keys("[@nobody] and me@sfcn.org and [@sfcn]") == ["sfcn"]


def test_citation_files(tmp_path):
    folder = tmp_path / "logs"
    write_citation(folder, [TEXT, ""])
    assert sorted(path.suffix for path in folder.iterdir()) == [".bib", ".html", ".md", ".tex"]
    assert "<body>" in (folder / "CITATION.html").read_text()
    assert (folder / "CITATION.bib").read_text().count("@article") == 3


def test_citation_as_markdown_only(tmp_path):
    write_citation(tmp_path / "logs", [TEXT], markdown_only=True)
    assert sorted(path.name for path in (tmp_path / "logs").iterdir()) == [
        "CITATION.bib",
        "CITATION.md",
    ]


def test_explanations_of_finished_predictions_are_a_further_entry(tmp_path):
    origin = origin_in(tmp_path, Name="Study", License="CC0")
    dataset.write_dataset_files(origin, model="tiny")
    path = origin.output_dir / "dataset_description.json"
    first = json.loads(path.read_text())
    again = dataset.Origin(tmp_path / "gone", origin.output_dir, "89abcdef")
    dataset.add_explanation(again, model="tiny", atlas_facts={"URL": "https://atlas.org"})
    described = json.loads(path.read_text())
    assert [each["ConfigurationHash"] for each in described["GeneratedBy"]] == [
        "0123abcd", "89abcdef",
    ]  # fmt: skip
    assert described["DatasetLinks"] == {**first["DatasetLinks"], "atlases": "https://atlas.org"}
    assert {key: described[key] for key in ("Name", "License")} == {
        key: first[key] for key in ("Name", "License")
    }
    dataset.add_explanation(again, model="tiny", atlas_facts={"URL": "https://atlas.org"})
    assert json.loads(path.read_text()) == described
    dataset.write_dataset_files(origin, model="tiny")  # further participants
    assert json.loads(path.read_text())["GeneratedBy"] == described["GeneratedBy"]
