"""``brainage-model {train,finetune,evaluate,calibrate}``: options, and what they start."""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bidsapp_brainage.cli.parser import add_option
from bidsapp_brainage.errors import UsageError
from bidsapp_brainage.settings import all_options
from bidsapp_brainage.training.recipe import recipe_options

if TYPE_CHECKING:
    import pandas as pd

    from bidsapp_brainage.model.cards import ModelCard
    from bidsapp_brainage.training.crossval import CrossValidation
    from bidsapp_brainage.training.data.cohort import Cohort, Source
    from bidsapp_brainage.training.recipe import Recipe

_HERE = "bidsapp_brainage.cli.model_training"


def add_commands(commands: Any) -> None:
    """Add the four commands to the parser of ``brainage-model``.

    Parameters
    ----------
    commands : argparse subparsers
        Each command sets ``handler`` to ``"module:function"``; the function takes the parsed
        options and returns an exit code.
    """
    _add_train(commands)
    _add_finetune(commands)
    _add_evaluate(commands)
    _add_calibrate(commands)


def train(options: argparse.Namespace) -> int:
    """Cross-validate, then write weights and card."""
    from bidsapp_brainage.training.data.targets import parse_targets
    from bidsapp_brainage.training.setup import read_recipe, training_recipe

    _check_counts(options)
    _log_progress()
    targets = parse_targets(options.target)
    own = bool(options.recipe and options.recipe.endswith(".json"))
    base = read_recipe(options.recipe)
    cohort = _cohort(options, base.label, [target.name for target in targets])
    recipe = training_recipe(
        base,
        cohort,
        targets,
        architecture=options.architecture,
        name=options.name,
        licence=options.licence,
        own=own,
        changes=_changes(options),
    )
    run = _run(options, cohort, recipe, "work")
    table = _finish(options, run, _source(options, base.label))
    _print_accuracy({"out-of-fold": table}, run)
    return 0


def finetune(options: argparse.Namespace) -> int:
    """Adapt a trained network, and compare with training from scratch on the same folds."""
    from bidsapp_brainage.io import write_tsv
    from bidsapp_brainage.training.data.targets import parse_targets
    from bidsapp_brainage.training.setup import keeps_target, tuning_recipe

    _check_counts(options)
    _log_progress()
    card = _card(options)
    targets = parse_targets(options.target)
    cohort = _cohort(options, card.name, [target.name for target in targets])
    recipe = tuning_recipe(card, cohort, targets, name=options.name, changes=_changes(options))
    _warn_of_other_folds(card, recipe)
    run = _run(options, cohort, recipe, "work", card, keep_head=keeps_target(card, recipe))
    tables = {"fine-tuned": _finish(options, run, _source(options, card.name))}
    if options.scratch:
        tables["from scratch"] = _from_scratch(options, run)
    write_tsv(options.out / "comparison.tsv", _print_accuracy(tables, run))
    return 0


def evaluate(options: argparse.Namespace) -> int:
    """Print and write accuracy by cohort, sex and decade, or the change between versions."""
    from bidsapp_brainage.io import write_tsv
    from bidsapp_brainage.model.outputs import heads
    from bidsapp_brainage.training.evaluation import change_table, report

    card = None if options.model == "-" else _card(options)
    tables = dict(_named_tables(options, card))
    if options.oof:
        from bidsapp_brainage.training.evaluation import read_predictions

        tables["out-of-fold"] = read_predictions(options.oof)
    if not tables:
        raise UsageError("Give folders or tables to evaluate on, or --oof TSV.")
    age = {"coding": "bins", "lower": 0.0, "width": 1.0, "n_bins": 2, "unit": "year"}
    found = report(tables, card.heads if card else heads(age), options.n_boot)
    print(found.text())
    written: dict[str, pd.DataFrame] = {"accuracy": found.table, **tables}
    if options.robustness:
        versions = {n: _predictions(options, card, Path(place)) for n, place in options.robustness}
        changes = change_table(next(iter(tables.values())), versions)
        print(changes.to_string(index=False, float_format="%.2f"))
        written["robustness"] = changes
    for name, table in written.items():
        if options.out:
            write_tsv(options.out / f"{name}.tsv", table)
    return 0


def calibrate(options: argparse.Namespace) -> int:
    """Fit intervals and bias line on people not trained on, and write them on the card."""
    from bidsapp_brainage.training.recalibrate import recalibrate

    card = _card(options)
    if not options.oof and not options.inputs:
        raise UsageError("Give --oof TSV, or a folder of people that the model did not learn from.")
    if options.oof:
        from bidsapp_brainage.training.evaluation import read_predictions

        table, source = read_predictions(options.oof), "out-of-fold predictions"
    else:
        table = _predictions(options, card, options.inputs)
        # as the network gave it, before the calibration that the card has now
        table["predicted_age_sd"] = table["distribution_sd"]
        source = "predictions of people not trained on"
    cohort = options.cohort_name or str(card.training.get("cohort", "unnamed people"))
    path, text = recalibrate(
        card, table, f"{source} ({cohort})", method=options.method, out=options.out
    )
    print(text)
    print(path)
    return 0


def _add_train(commands: Any) -> None:
    parser = commands.add_parser(
        "train",
        help="train networks on your own people",
        description="Cross-validate over people and write weights, card, out-of-fold predictions "
        "and learning curves. Give the same command again to go on after a kill.",
    )
    parser.add_argument("--architecture", metavar="ID", help="default: the recipe's")
    parser.add_argument("--recipe", help="bundled name, or a JSON file (docs: training)")
    parser.add_argument("--licence", help="of the new weights, for the card")
    _add_recipe(parser, "refine_years")
    _add_learning(parser, target="age")
    parser.set_defaults(handler=f"{_HERE}:train")


def _add_finetune(commands: Any) -> None:
    parser = commands.add_parser(
        "finetune",
        help="adapt a trained network to another target, modality or age span",
        description="Start from the weights of a card, and compare with training from scratch "
        "under the same folds.",
    )
    _add_model(parser)
    _add_recipe(parser, "freeze", "unfreeze_every")
    parser.add_argument(
        "--no-scratch",
        dest="scratch",
        action="store_false",
        help="do not train from scratch for comparison",
    )
    _add_learning(parser, target=None)
    parser.set_defaults(handler=f"{_HERE}:finetune")


def _add_evaluate(commands: Any) -> None:
    parser = commands.add_parser(
        "evaluate",
        help="accuracy on people by cohort, sex and decade",
        description="Accuracy of raw predictions with bootstrap intervals over participants, "
        "beside what answering everybody with the mean age would give.",
    )
    _add_model(parser, more="; - with tables of predictions")
    parser.add_argument(
        "inputs",
        nargs="*",
        metavar="[NAME=]INPUTS",
        help="derivatives, or a TSV with participant_id, age, predicted_age",
    )
    parser.add_argument("--oof", type=Path, metavar="TSV", help="out-of-fold predictions")
    parser.add_argument("--out", type=Path, help="folder for the tables")
    parser.add_argument(
        "--robustness",
        nargs=2,
        action="append",
        default=[],
        metavar=("NAME", "INPUTS"),
        help="other versions of the images of the "
        "first INPUTS (repeated, rotated, noisy ...): print how much predictions "
        "change; repeatable",
    )
    parser.add_argument("--n-boot", type=int, default=2000, help="bootstrap resamples")
    _add_images(parser)
    _add_machine(parser)
    parser.set_defaults(handler=f"{_HERE}:evaluate", target=None)


def _add_calibrate(commands: Any) -> None:
    parser = commands.add_parser(
        "calibrate",
        help="fit prediction intervals and the age-bias line",
        description="Conformal 95 % intervals and the bias line from predictions of people that "
        "the networks did not learn from.",
    )
    _add_model(parser)
    parser.add_argument(
        "inputs",
        type=Path,
        nargs="?",
        help="derivatives of people that the model did not learn from",
    )
    parser.add_argument("--oof", type=Path, metavar="TSV", help="out-of-fold predictions instead")
    parser.add_argument(
        "--method",
        choices=("auto", "normalised", "constant"),
        default="auto",
        help="interval as a multiple of the distribution's SD, or equally wide "
        "for all (default: which fits better in cross-validation)",
    )
    parser.add_argument(
        "--out", type=Path, help="folder for a copy of card and weights; default: change the card"
    )
    parser.add_argument("--cohort-name", help="of these people, for the card")
    _add_images(parser)
    _add_machine(parser)
    parser.set_defaults(handler=f"{_HERE}:calibrate", target=None)


def _add_model(parser: argparse.ArgumentParser, more: str = "") -> None:
    parser.add_argument("model", help=f"name of a model, or its card (.json){more}")
    add_option(parser, all_options()["models_dir"])


def _add_learning(parser: argparse.ArgumentParser, target: str | None) -> None:
    """Arguments that train and finetune share."""
    parser.add_argument("inputs", type=Path, help="derivatives of the participant level")
    parser.add_argument("out", type=Path, help="folder for the model and for resumable state")
    parser.add_argument(
        "--target",
        default=target,
        required=target is None,
        metavar="NAME[:KIND][,...]",
        help="columns of participants.tsv; KIND is "
        "bins, scalar, binary or classes (default: by what they hold)",
    )
    parser.add_argument("--name", help="of the new model: letters and digits")
    parser.add_argument("--cohort-name", help="as the card shall call the people")
    special = {"refine_years", "freeze", "unfreeze_every"}
    _add_recipe(parser, *(name for name in recipe_options() if name not in special))
    parser.add_argument(
        "--external",
        nargs=3,
        action="append",
        default=[],
        metavar=("NAME", "INPUTS", "PARTICIPANTS"),
        help="cohort for figures on the card only; repeatable",
    )
    parser.add_argument(
        "--tta",
        action="store_true",
        help="the model shall predict from the brain, its mirror image and shifts by a voxel",
    )
    parser.add_argument("--jobs", type=int, default=1, help="networks at a time")
    _add_images(parser)
    _add_machine(parser)


def _add_images(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--participants",
        type=Path,
        metavar="TSV",
        help="table of people (default: of the raw dataset or of INPUTS)",
    )
    parser.add_argument(
        "--input-desc",
        metavar="LABEL",
        help="desc- of the images, if they are others than the app's",
    )
    parser.add_argument(
        "--input-suffix", metavar="SUFFIX", help="suffix of the images (T2w, FLAIR, ...)"
    )


def _add_recipe(parser: argparse.ArgumentParser, *names: str) -> None:
    """Options that change the recipe; without them its own values hold."""
    known = recipe_options()
    for name in names:
        add_option(parser, known[name], help=known[name].help)


def _add_machine(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--threads", type=int, default=1, help="CPU threads of each network")
    add_option(parser, all_options()["device"], default="auto")


def _changes(options: argparse.Namespace) -> dict[str, Any]:
    """Fields of the recipe that the command line sets."""
    return {name: getattr(options, name, None) for name in recipe_options()}


def _check_counts(options: argparse.Namespace) -> None:
    if min(options.jobs, options.threads) < 1:
        raise UsageError("--jobs and --threads are 1 or more.")


def _log_progress() -> None:
    import logging
    import sys

    logging.basicConfig(
        level=logging.INFO,
        format="%(asctime)s %(message)s",
        datefmt="%H:%M:%S",
        stream=sys.stderr,
    )


def _card(options: argparse.Namespace) -> ModelCard:
    from bidsapp_brainage.model.cards import find_card

    return find_card(options.model, options.models_dir)


def _source(options: argparse.Namespace, label: str) -> Source:
    from bidsapp_brainage.training.data.cohort import Source

    return Source(label, options.input_desc, options.input_suffix)


def _cohort(options: argparse.Namespace, label: str, targets: list[str]) -> Cohort:
    import logging

    from bidsapp_brainage.training.data.cohort import find_cohort

    cohort = find_cohort(options.inputs, _source(options, label), options.participants, targets)
    logging.info("%d scans of %d people", len(cohort), len(set(cohort.people)))
    if cohort.left_out:
        logging.warning("left out (no image or no target): %s", " ".join(cohort.left_out))
    return cohort


def _warn_of_other_folds(card: ModelCard, recipe: Recipe) -> None:
    import logging

    made = card.training.get("recipe", {})
    if (made.get("n_folds"), made.get("seed")) != (recipe.n_folds, recipe.seed):
        logging.warning(
            "%s was not made with these folds: if it was trained on people among yours, networks "
            "start from weights that have seen those they are tested on",
            card.name,
        )


def _run(
    options: argparse.Namespace,
    cohort: Cohort,
    recipe: Recipe,
    work: str,
    card: ModelCard | None = None,
    *,
    keep_head: bool = False,
) -> CrossValidation:
    from bidsapp_brainage.model.device import resolve_device
    from bidsapp_brainage.training.crossval import CrossValidation
    from bidsapp_brainage.training.setup import write_start

    if options.tta:
        tta = {"tta": {"flip": True, "shift_voxels": 1}}
        recipe = dataclasses.replace(recipe, card={**recipe.card, "prediction": tta})
    return CrossValidation(
        cohort=cohort,
        recipe=recipe,
        folder=options.out / work,
        start=write_start(card, options.out / work / "start") if card else (),
        keep_head=keep_head,
        jobs=options.jobs,
        threads=options.threads,
        device=resolve_device(options.device)[0],
        pool_folder=options.out / "work",
    )


def _finish(options: argparse.Namespace, run: CrossValidation, source: Source) -> pd.DataFrame:
    """Train, write the model and print where it is; returns the out-of-fold predictions."""
    from bidsapp_brainage.training.crossval import cross_validate
    from bidsapp_brainage.training.data.cohort import find_cohort
    from bidsapp_brainage.training.publish import publish

    names = [target.partition(":")[0].strip() for target in options.target.split(",")]
    external = {
        name: find_cohort(Path(folder), source, Path(table), names)
        for name, folder, table in options.external
    }
    table = cross_validate(run)
    card = publish(
        run,
        table,
        name=options.cohort_name or options.inputs.resolve().name,
        models_dir=options.out,
        external=external,
        inputs=source.described(),
    )
    print(card)
    return table


def _from_scratch(options: argparse.Namespace, run: CrossValidation) -> pd.DataFrame:
    """The same folds, recipe and people, but random weights and nothing frozen."""
    from bidsapp_brainage.training.crossval import cross_validate

    recipe = dataclasses.replace(run.recipe, freeze=0, unfreeze_every=0)
    return cross_validate(
        dataclasses.replace(run, recipe=recipe, start=(), folder=options.out / "work-scratch")
    )


def _print_accuracy(tables: Mapping[str, pd.DataFrame], run: CrossValidation) -> pd.DataFrame:
    from bidsapp_brainage.model.outputs import heads
    from bidsapp_brainage.training.evaluation import report
    from bidsapp_brainage.training.setup import final_recipe

    found = report(tables, heads(final_recipe(run.recipe).card["output"]), subsets=False)
    print(found.text())
    return found.table


def _named_tables(
    options: argparse.Namespace, card: ModelCard | None
) -> list[tuple[str, pd.DataFrame]]:
    """Predictions for every ``[NAME=]INPUTS``."""
    found = []
    for text in options.inputs:
        name, sign, place = text.partition("=")
        path = Path(place if sign else text)
        found.append((name if sign else path.resolve().stem, _predictions(options, card, path)))
    return found


def _predictions(options: argparse.Namespace, card: ModelCard | None, path: Path) -> pd.DataFrame:
    """Read a table, or predict the people of a folder."""
    from bidsapp_brainage.model.device import resolve_device
    from bidsapp_brainage.training.data.cohort import Source, find_cohort
    from bidsapp_brainage.training.evaluation import predict_cohort, read_predictions

    if path.suffix == ".tsv":
        return read_predictions(path)
    if card is None:
        raise UsageError(f"{path} is a folder: say which MODEL shall predict its people.")
    learned = card.training.get("inputs", {})
    source = _source(options, card.name)
    if source.prepared and not options.input_desc and not source.find(path):
        # a fine-tuned or retrained network sees what was made for another one of the same grid
        source = Source(card.name, learned.get("desc"), learned.get("suffix"))
    names = [head.name for head in card.heads]
    cohort = find_cohort(path, source, options.participants, names)
    device = resolve_device(options.device)[0]
    return predict_cohort(card, cohort, device=device, threads=options.threads)
