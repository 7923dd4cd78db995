"""The command line: one small function per group of options.

An option that was not given leaves no trace in the namespace, so that a configuration file can
speak for it; the defaults stand in `bidsapp_brainage.settings` alone.
"""

from __future__ import annotations

import argparse
import dataclasses
import re
import sys
import typing
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NoReturn

from bidsapp_brainage import __version__
from bidsapp_brainage.cli.machine import parse_memory
from bidsapp_brainage.settings import (
    Baseline,
    Execution,
    ExplainMethod,
    Processing,
    Resources,
    Selection,
)

PROGRAM = "bidsapp-brainage"
LEVELS = ("participant", "group")

_EPILOG = """\
examples:
  bidsapp-brainage /data /out participant --participant-label 01 02 -w /scratch
  bidsapp-brainage /data /out group

Exit codes: 0 done; 1 some participants failed; 2 usage; 65 unusable data; 66 nothing matches the
selection; 70 internal error; 72 template, atlas or weights missing; 127 program missing;
130 interrupted; 143 terminated.
"""


class _Parser(argparse.ArgumentParser):
    """Says in one line what is wrong, without the whole usage before it."""

    def error(self, message: str) -> NoReturn:
        print(f"{self.prog}: error: {message} (see {self.prog} --help)", file=sys.stderr)
        raise SystemExit(2)


def build_parser() -> argparse.ArgumentParser:
    """The parser of ``bidsapp-brainage``."""
    parser = _Parser(
        prog=PROGRAM,
        description="Brain age from T1w MRI, with the contribution of each atlas region.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        argument_default=argparse.SUPPRESS,
        allow_abbrev=False,
    )
    _add_positionals(parser)
    _add_selection(parser.add_argument_group("which data"))
    _add_resources(parser.add_argument_group("how much of the machine"))
    _add_model(parser.add_argument_group("model and explanation"))
    _add_processing(parser.add_argument_group("preprocessing"))
    _add_group(parser.add_argument_group("the group level"))
    _add_modes(parser.add_argument_group("instead of a full run"))
    _add_execution(parser.add_argument_group("running and reporting"))
    return parser


def _add_positionals(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("bids_dir", type=Path, help="root of the BIDS dataset (raw data)")
    parser.add_argument("output_dir", type=Path, help="root of the derivatives; made if needed")
    parser.add_argument(
        "analysis_level",
        nargs="+",
        choices=LEVELS,
        help="'participant' processes images; 'group' summarises what is in OUTPUT_DIR; both run "
        "one after the other",
    )


def _add_selection(group: argparse._ArgumentGroup) -> None:
    defaults = _defaults(Selection)
    group.add_argument(
        *_spellings("participant-label"),
        nargs="+",
        type=_label("sub"),
        metavar="LABEL",
        help="participants to process, with or without 'sub-' (default: all)",
    )
    group.add_argument(
        *_spellings("session-label", "session-id"),
        nargs="+",
        type=_label("ses"),
        metavar="LABEL",
        help="sessions to process, with or without 'ses-' (default: all)",
    )
    group.add_argument(
        *_spellings("run-label", "run-id"),
        nargs="+",
        type=_label("run"),
        metavar="LABEL",
        help="runs to process (default: all)",
    )
    group.add_argument(
        *_spellings("bids-filter-file"),
        type=Path,
        metavar="FILE",
        help='JSON with pybids filters, for example {"t1w": {"acquisition": "mprage"}}; null: the '
        'entity must be absent, "*": it must be present',
    )
    group.add_argument(
        *_spellings("bids-database-dir"),
        type=Path,
        metavar="DIR",
        help="keep or reuse the pybids index of the whole dataset here",
    )
    group.add_argument(
        *_spellings("skip-bids-validation"),
        action="store_true",
        help="do not run bids-validator-deno on the input (it is run only if installed)",
    )
    group.add_argument(
        "-d",
        "--derivatives",
        nargs="+",
        type=_named_path,
        metavar="[NAME=]PATH",
        help="derivatives datasets whose T1w, masks and transforms are used instead of computed",
    )
    group.add_argument(
        *_spellings("age-column"),
        metavar="NAME",
        help=f"column with ages in all tables (default: {defaults['age_column']})",
    )
    group.add_argument(
        *_spellings("age-file"),
        type=Path,
        metavar="TSV",
        help="table with participant_id, optionally session_id, and ages; asked before the "
        "tables of the dataset",
    )


def _add_resources(group: argparse._ArgumentGroup) -> None:
    defaults = _defaults(Resources)
    group.add_argument(
        *_spellings("nprocs", "nthreads", "n-cpus"),
        dest="nprocs",
        type=_at_least(1),
        metavar="N",
        help="processors to use (default: those that this process may use)",
    )
    group.add_argument(
        *_spellings("omp-nthreads"),
        type=_at_least(1),
        metavar="N",
        help="processors for one process (default: one less than --nprocs, at most 8)",
    )
    group.add_argument(
        *_spellings("mem", "mem-mb"),
        dest="memory_gb",
        type=_memory,
        metavar="N[KMGT]",
        help="memory to plan with; without a suffix megabytes (default: 90%% of what this "
        "process may use)",
    )
    group.add_argument(
        *_spellings("low-mem"), action="store_true", help="less memory, more time and disk"
    )
    group.add_argument(
        *_spellings("use-plugin", "nipype-plugin-file"),
        dest="plugin_file",
        type=Path,
        metavar="FILE",
        help="YAML with 'plugin' and 'plugin_args' of nipype",
    )
    group.add_argument(
        "--device",
        type=_device,
        metavar="{auto,cpu,cuda[:N]}",
        help=f"where the network runs (default: {defaults['device']})",
    )
    group.add_argument(
        *_spellings("batch-size"),
        type=_batch_size,
        metavar="{auto,N}",
        help="regions that are occluded together (default: auto)",
    )
    group.add_argument(
        *_spellings("n-gpus"),
        type=_at_least(1),
        metavar="N",
        help=f"GPU slots (default: {defaults['n_gpus']})",
    )


def _add_model(group: argparse._ArgumentGroup) -> None:
    defaults = _defaults(Processing)
    group.add_argument("--model", metavar="NAME", help=f"model card (default: {defaults['model']})")
    group.add_argument(
        *_spellings("models-dir"), type=Path, metavar="DIR", help="folder with your own model cards"
    )
    group.add_argument(
        "--atlas",
        "--atlases",
        dest="atlas",
        metavar="NAME",
        help="atlas by name, or the path of a dseg.nii.gz with its .tsv (default: "
        f"{defaults['atlas']})",
    )
    group.add_argument(
        *_spellings("atlases-dir"), type=Path, metavar="DIR", help="folder with your own atlases"
    )
    group.add_argument(
        "--explain",
        type=_words(ExplainMethod),
        metavar="METHOD[,METHOD...]",
        help="none, or any of: occlusion (of regions, networks, lobes and hemispheres; always "
        "done), cubes (a map by sliding cubes), shapley (values of regions that add up), curves "
        "(deletion and insertion of ranked regions), pairs (interactions of the top regions), lrp "
        "(layer-wise relevance propagation), ig (integrated gradients), noise (learned-noise map), "
        "randomisation (explanations of a destroyed network) "
        f"(default: {','.join(defaults['explain'])})",
    )
    group.add_argument(
        "--level",
        choices=_choices("level"),
        help=f"minimal: prediction only (default: {defaults['level']})",
    )
    group.add_argument(
        *_spellings("occlusion-baseline"),
        type=_words(Baseline),
        metavar="BASELINE[,BASELINE...]",
        help="what an occluded region is filled with, any of: background, mean (of the "
        "surroundings), blur, template; the first is the one of the main table and of the map, the "
        f"agreement of all is reported (default: {','.join(defaults['occlusion_baseline'])})",
    )
    group.add_argument(
        *_spellings("null-parcels"),
        type=_at_least(0),
        metavar="N",
        help="random parcels of each size that regions are compared with; 0: no comparison "
        f"(default: {defaults['null_parcels']})",
    )
    group.add_argument(
        *_spellings("cube-size"),
        dest="cube_mm",
        type=_millimetres,
        metavar="MM",
        help=f"edge of the cubes of --explain cubes (default: {defaults['cube_mm']:g})",
    )
    group.add_argument(
        *_spellings("shapley-permutations"),
        type=_at_least(2),
        metavar="N",
        help="orders of regions for --explain shapley; more make smaller standard errors "
        f"(default: {defaults['shapley_permutations']})",
    )
    group.add_argument(
        *_spellings("bias-correction"),
        type=_bias_correction,
        metavar="{none,model,file:PATH}",
        help="correction of the regression to the mean age (default: "
        f"{defaults['bias_correction']}, the coefficients on the card)",
    )


def _add_processing(group: argparse._ArgumentGroup) -> None:
    defaults = _defaults(Processing)
    group.add_argument(
        *_spellings("skull-strip", "skull-strip-t1w"),
        dest="skull_strip",
        choices=_choices("skull_strip"),
        help="auto recognises images without skull; skip: they all are so; force: extract the "
        f"brain in any case (default: {defaults['skull_strip']})",
    )
    group.add_argument(
        *_spellings("output-spaces"),
        nargs="+",
        type=_output_space,
        metavar="SPACE[:res-N]",
        help="TemplateFlow spaces for extra copies of the T1w; the model's own is always written",
    )
    group.add_argument(
        *_spellings("random-seed"),
        type=_at_least(0),
        metavar="N",
        help=f"seed of everything random (default: {defaults['random_seed']})",
    )
    group.add_argument(
        "--sloppy", action="store_true", help="coarse registration, for testing only"
    )


def _add_group(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        *_spellings("group-column"),
        metavar="NAME",
        help="column of participants.tsv with the groups to compare, for example diagnosis",
    )
    group.add_argument(
        *_spellings("reference-group"),
        metavar="VALUE",
        help="group that the others are compared with, and that a correction of the regression "
        "to the mean is fitted on (default: the most frequent one)",
    )
    group.add_argument(
        *_spellings("site-column"),
        metavar="NAME",
        help="column of participants.tsv with sites or scanners (default: site)",
    )
    group.add_argument(
        "--covariates",
        nargs="+",
        metavar="NAME",
        help="further columns of participants.tsv, or of the quality table, for the linear models; "
        "age, age squared, sex, brain volume, image quality and site are there already",
    )


def _add_modes(group: argparse._ArgumentGroup) -> None:
    modes = group.add_mutually_exclusive_group()
    modes.add_argument(
        *_spellings("dry-run"), action="store_true", help="list what would be done, and stop"
    )
    modes.add_argument(
        *_spellings("boilerplate-only"),
        action="store_true",
        help="write the methods text, and stop",
    )
    modes.add_argument(
        *_spellings("reports-only"),
        action="store_true",
        help="write the reports again from existing derivatives, and stop",
    )
    modes.add_argument(
        "--version",
        action="version",
        version=f"{PROGRAM} v{__version__}",
        help="show the version and exit",
    )


def _add_execution(group: argparse._ArgumentGroup) -> None:
    defaults = _defaults(Execution)
    group.add_argument(
        "-w",
        *_spellings("work-dir"),
        type=Path,
        metavar="DIR",
        help=f"scratch folder, outside of BIDS_DIR (default: ./{defaults['work_dir']})",
    )
    group.add_argument(
        *_spellings("clean-workdir"),
        action="store_true",
        help="remove what earlier runs of this app left in the scratch folder, first",
    )
    group.add_argument(
        *_spellings("config-file"),
        type=Path,
        metavar="TOML",
        help="options from a file (one is written to OUTPUT_DIR/sub-*/log/); the command line wins",
    )
    group.add_argument(
        *_spellings("stop-on-first-crash"),
        action="store_true",
        help="do not go on with other participants after a failure",
    )
    group.add_argument(
        *_spellings("md-only-boilerplate"),
        action="store_true",
        help="write the methods text as Markdown only",
    )
    group.add_argument(
        *_spellings("write-graph"), action="store_true", help="draw the workflow's graph"
    )
    group.add_argument("--debug", action="store_true", help="keep everything for finding faults")
    group.add_argument(
        "--notrack",
        action="store_true",
        help="accepted so that scripts work; this app sends nothing anywhere",
    )
    group.add_argument(
        "-v",
        "--verbose",
        dest="verbose",
        action="count",
        help="more messages; repeat for still more",
    )


def _spellings(*names: str) -> list[str]:
    """``--a-b`` and ``--a_b`` for each name; the field is named after the first."""
    both = [f"--{spelling}" for name in names for spelling in (name, name.replace("-", "_"))]
    return list(dict.fromkeys(both))


def _defaults(kind: type) -> dict[str, Any]:
    """Defaults of a section of the settings, for the help."""
    return {item.name: item.default for item in dataclasses.fields(kind)}


def _choices(name: str) -> Sequence[str]:
    """Allowed words of a field of `Processing`."""
    return typing.get_args(typing.get_type_hints(Processing)[name])


def _label(entity: str) -> Callable[[str], str]:
    """A BIDS label without its prefix."""

    def convert(text: str) -> str:
        label = text.removeprefix(f"{entity}-")
        if not re.fullmatch(r"[a-zA-Z0-9+]+", label):
            raise argparse.ArgumentTypeError(
                f"{text!r} is not a BIDS label: letters and digits only, labels separated by spaces"
            )
        return label

    return convert


def _at_least(lowest: int) -> Callable[[str], int]:
    def convert(text: str) -> int:
        try:
            number = int(text)
        except ValueError:
            number = lowest - 1
        if number < lowest:
            raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of {lowest} or more")
        return number

    return convert


def _memory(text: str) -> float:
    try:
        return parse_memory(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def _batch_size(text: str) -> int | None:
    return None if text == "auto" else _at_least(1)(text)


def _words(kind: Any) -> Callable[[str], tuple[str, ...]]:
    """Words of a literal type, separated by commas; repeated ones count once."""
    known = typing.get_args(kind)

    def convert(text: str) -> tuple[str, ...]:
        chosen = tuple(dict.fromkeys(part.strip() for part in text.split(",")))
        for name in chosen:
            if name not in known:
                raise argparse.ArgumentTypeError(f"{name!r} is not one of {', '.join(known)}")
        return chosen

    return convert


def _millimetres(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value <= 100:
        raise argparse.ArgumentTypeError(f"{text!r} is not a size in mm between 0 and 100")
    return value


def _device(text: str) -> str:
    if not re.fullmatch(r"auto|cpu|cuda(:\d+)?", text):
        raise argparse.ArgumentTypeError(f"{text!r} is not auto, cpu, cuda or cuda:N")
    return text


def _bias_correction(text: str) -> str:
    if text in ("none", "model"):
        return text
    if not text.startswith("file:") or text == "file:":
        raise argparse.ArgumentTypeError(f"{text!r} is not none, model or file:PATH")
    return f"file:{Path(text.removeprefix('file:')).expanduser().absolute()}"


def _output_space(text: str) -> str:
    if not re.fullmatch(r"[a-zA-Z0-9]+(:(cohort|res)-[a-zA-Z0-9]+)*", text):
        raise argparse.ArgumentTypeError(f"{text!r} is not SPACE[:cohort-X][:res-N]")
    return text


def _named_path(text: str) -> tuple[str, Path]:
    name, equals, path = text.partition("=")
    return (name, Path(path)) if equals else (Path(text).name, Path(text))
