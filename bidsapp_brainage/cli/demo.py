"""``brainage-demo``: a synthetic sample dataset, the whole app on it, and a simulated study."""

from __future__ import annotations

import argparse
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

SAMPLE_FOLDER = "sample"
OUTPUT_FOLDER = "bidsapp_brainage"
WORK_FOLDER = "work"


def build_parser() -> argparse.ArgumentParser:
    """Parser of ``brainage-demo``."""
    parser = argparse.ArgumentParser(
        prog="brainage-demo",
        description="Try bidsapp-brainage without data and without network. The sample dataset is "
        "synthetic (deformed copies of the MNI152 template, made-up ages and anatomy to match): "
        "what comes out shows how the app works, and means nothing.",
    )
    commands = parser.add_subparsers(dest="command", required=True)
    sample = commands.add_parser("sample", help="write the sample dataset (BIDS) and stop")
    sample.add_argument("folder", type=Path, help="folder to write the dataset into")
    study = commands.add_parser(
        "study",
        help="write the results of a simulated study (derivatives), to learn the group level",
    )
    study.add_argument("folder", type=Path, help="new folder to write the study into")
    study.add_argument("--people", type=int, default=100, metavar="N", help="how many (100)")
    run = commands.add_parser(
        "run", help="test the model, write the sample, run participant and group level"
    )
    run.add_argument("folder", type=Path, help="folder for sample, results and scratch files")
    run.add_argument(
        "options",
        nargs=argparse.REMAINDER,
        help="further options for the participant level, for example --nprocs 4",
    )
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the demonstration; the exit code is that of the first level that failed."""
    parser = build_parser()
    arguments = parser.parse_args(argv)
    if arguments.command == "sample":
        from bidsapp_brainage.demo.sample import write_sample

        write_sample(arguments.folder)
        _say(f"The sample dataset is in {arguments.folder}")
        return 0
    if arguments.command == "study":
        if arguments.people < 1:
            parser.error(f"--people {arguments.people}: at least one person")
        if arguments.folder.exists():
            parser.error(f"{arguments.folder} exists: name a new folder")
        from bidsapp_brainage.demo.study import write_study

        raw, results = write_study(arguments.folder, arguments.people)
        _say(f"The results of {arguments.people} simulated people are in {results}. Now run")
        _say(
            f"  {_app()} {raw} {results} group --group-column diagnosis "
            "--reference-group control --site-column site"
        )
        return 0
    options = [option for option in arguments.options if option != "--"]
    return run_demo(arguments.folder, options)


def run_demo(folder: Path, options: Sequence[str] = ()) -> int:
    """Test the model, write the sample, run both levels on it and say where the reports are.

    The test is the quick one of ``brainage-model selftest``: a model that answers otherwise than
    its card says ends the demonstration.

    Parameters
    ----------
    folder : Path
        Gets ``sample`` (the dataset), ``bidsapp_brainage`` (the results) and ``work``.
    options : sequence of str
        Further options for the participant level.

    Returns
    -------
    int
        Exit code of the app.
    """
    from bidsapp_brainage.cli.models import main as test_model
    from bidsapp_brainage.cli.run import main as run_app
    from bidsapp_brainage.demo.sample import write_sample

    _say("Testing the model: brainage-model selftest --quick")
    if code := test_model(["selftest", "--quick"]):
        return code
    sample, output = folder / SAMPLE_FOLDER, folder / OUTPUT_FOLDER
    _say(f"Writing the sample dataset into {sample} (half a minute)")
    write_sample(sample)
    common = [str(sample), str(output)]
    work = ["--work-dir", str(folder / WORK_FOLDER)]
    for level in ([*common, "participant", *work, *options], [*common, "group", *work]):
        _say("Running: bidsapp-brainage " + " ".join(level))
        code = run_app(level)
        if code:
            return code
    _say("Done. The people are synthetic and their ages made up: the numbers mean nothing.")
    _say("Open the reports in a browser:")
    for report in sorted(output.glob("*.html")):
        _say(f"  {report.absolute()}")
    return 0


def _app() -> str:
    """How the app is called from here: by its path, where a shell would not find it."""
    beside = Path(sys.argv[0]).with_name("bidsapp-brainage")
    return str(beside) if shutil.which(beside.name) is None and beside.is_file() else beside.name


def _say(text: str) -> None:
    """Tell the user at once, also into a pipe."""
    print(text, flush=True)


if __name__ == "__main__":
    sys.exit(main())
