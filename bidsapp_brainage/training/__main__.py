"""Train or evaluate a model: ``python -m bidsapp_brainage.training {train,evaluate} --help``."""

from __future__ import annotations

import argparse
import logging
import sys
from pathlib import Path

from bidsapp_brainage.errors import BrainageError, UsageError


def build_parser() -> argparse.ArgumentParser:
    """Make the parser of the two commands."""
    parser = argparse.ArgumentParser(prog="python -m bidsapp_brainage.training")
    commands = parser.add_subparsers(dest="command", required=True)
    train = commands.add_parser("train", help="cross-validate, then write weights and card")
    train.add_argument("--recipe", default="sfcn2mm", help="bundled name, or a JSON file")
    train.add_argument("--inputs", type=Path, required=True, help="derivatives of the app")
    train.add_argument("--participants", type=Path, required=True, help="TSV with ages")
    train.add_argument("--cohort-name", required=True, help="as the card shall call it")
    train.add_argument("--work-dir", type=Path, required=True, help="resumable state; 1 GB")
    train.add_argument("--models-dir", type=Path, required=True, help="for card and weights")
    train.add_argument("--jobs", type=int, default=1, help="folds at a time")
    train.add_argument("--threads", type=int, default=1, help="CPU threads per fold")
    _add_external(train, required=False)
    evaluate = commands.add_parser("evaluate", help="accuracy of a card on other cohorts")
    evaluate.add_argument("--card", type=Path, required=True)
    evaluate.add_argument("--threads", type=int, default=1)
    evaluate.add_argument("--out", type=Path, help="folder for one table per cohort")
    _add_external(evaluate, required=True)
    return parser


def main(arguments: list[str] | None = None) -> int:
    """Run; 0 on success, the error's documented exit code otherwise."""
    options = build_parser().parse_args(arguments)
    logging.basicConfig(
        level=logging.INFO,
        format="%(asctime)s %(message)s",
        datefmt="%H:%M:%S",
        stream=sys.stderr,
    )
    try:
        return _train(options) if options.command == "train" else _evaluate(options)
    except BrainageError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code


def _add_external(parser: argparse.ArgumentParser, *, required: bool) -> None:
    parser.add_argument(
        "--external",
        nargs=3,
        action="append",
        default=[],
        required=required,
        metavar=("NAME", "INPUTS", "PARTICIPANTS"),
        help="a cohort to evaluate on: its name, derivatives folder and table of ages; repeatable",
    )


def _train(options: argparse.Namespace) -> int:
    from bidsapp_brainage.training.cohort import find_cohort
    from bidsapp_brainage.training.crossval import cross_validate
    from bidsapp_brainage.training.publish import publish
    from bidsapp_brainage.training.recipe import bundled_recipe, load_recipe
    from bidsapp_brainage.training.report import accuracy

    if min(options.jobs, options.threads) < 1:
        raise UsageError("--jobs and --threads are 1 or more.")
    custom = options.recipe.endswith(".json")
    recipe = load_recipe(Path(options.recipe) if custom else bundled_recipe(options.recipe))
    cohort = find_cohort(options.inputs, options.participants, recipe.label)
    external = {
        name: find_cohort(Path(folder), Path(table), recipe.label)
        for name, folder, table in options.external
    }
    logging.info("%d scans of %d people", len(cohort), len(set(cohort.people)))
    if cohort.left_out:
        logging.warning("left out (no input or no age): %s", " ".join(cohort.left_out))
    table = cross_validate(
        cohort, recipe, options.work_dir, jobs=options.jobs, threads=options.threads
    )
    age, predicted = table["age"].to_numpy(), table["predicted_age"].to_numpy()
    logging.info("cross-validation: %s", accuracy(age, predicted))
    card = publish(
        cohort,
        recipe,
        name=options.cohort_name,
        work_dir=options.work_dir,
        models_dir=options.models_dir,
        external=external,
    )
    print(card)
    return 0


def _evaluate(options: argparse.Namespace) -> int:
    from bidsapp_brainage.io import write_tsv
    from bidsapp_brainage.model.cards import load_card
    from bidsapp_brainage.training.cohort import find_cohort
    from bidsapp_brainage.training.report import evaluate_card, external_accuracy

    card = load_card(options.card)
    for name, folder, participants in options.external:
        cohort = find_cohort(Path(folder), Path(participants), card.name)
        table = evaluate_card(card, cohort, threads=options.threads)
        if options.out:
            write_tsv(options.out / f"{name}.tsv", table)
        figures = external_accuracy(table)
        print(name, " ".join(f"{key}={value}" for key, value in figures.items()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
