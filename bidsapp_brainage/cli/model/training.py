"""What ``brainage-model {train,finetune,evaluate,calibrate}`` do."""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bidsapp_brainage.errors import UsageError
from bidsapp_brainage.training.recipe import recipe_options

if TYPE_CHECKING:
    import pandas as pd

    from bidsapp_brainage.model.cards import ModelCard
    from bidsapp_brainage.model.specs import InputSpec
    from bidsapp_brainage.training.crossval import CrossValidation
    from bidsapp_brainage.training.data.cohort import Cohort, Source
    from bidsapp_brainage.training.recipe import Recipe


def train(options: argparse.Namespace) -> int:
    """Cross-validate, then write weights and card."""
    from bidsapp_brainage.training.data.targets import parse_targets
    from bidsapp_brainage.training.setup import read_recipe, training_recipe

    _check_counts(options)
    log_progress()
    targets = parse_targets(options.target)
    own = bool(options.recipe and options.recipe.endswith(".json"))
    base = read_recipe(options.recipe)
    spec, names = base.card["input"], [target.name for target in targets]
    cohort = find_people(options, base.label, spec, names)
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
    run = _run(options, cohort, recipe)
    table = _finish(options, run, _source(options, base.label, spec))
    _print_accuracy({"out-of-fold": table}, run)
    return 0


def finetune(options: argparse.Namespace) -> int:
    """Adapt a trained network, and compare with training from scratch on the same folds."""
    from bidsapp_brainage.io import write_tsv
    from bidsapp_brainage.training.crossval import cross_validate, from_scratch
    from bidsapp_brainage.training.data.targets import parse_targets
    from bidsapp_brainage.training.setup import keeps_target, tuning_recipe, warn_of_other_folds

    _check_counts(options)
    log_progress()
    card = _card(options)
    targets = parse_targets(options.target)
    cohort = find_people(options, card.name, card.input, [target.name for target in targets])
    recipe = tuning_recipe(card, cohort, targets, name=options.name, changes=_changes(options))
    warn_of_other_folds(card, recipe)
    run = _run(options, cohort, recipe, card, keep_head=keeps_target(card, recipe))
    tables = {"fine-tuned": _finish(options, run, _source(options, card.name, card.input))}
    if options.scratch:
        tables["from scratch"] = cross_validate(from_scratch(run, options.out / "work-scratch"))
    write_tsv(options.out / "comparison.tsv", _print_accuracy(tables, run))
    return 0


def evaluate(options: argparse.Namespace) -> int:
    """Print and write accuracy by cohort, sex and decade, and changes between versions.

    Or that of all combinations of modalities.
    """
    from bidsapp_brainage.io import write_tsv
    from bidsapp_brainage.model.outputs import heads
    from bidsapp_brainage.training.evaluation import change_table, read_predictions, report

    card = None if options.model == "-" else _card(options)
    places = dict(_named_path(text) for text in options.inputs)
    tables = {name: _predictions(options, card, path) for name, path in places.items()}
    if options.oof:
        tables["out-of-fold"] = read_predictions(options.oof)
    if not tables:
        raise UsageError("Give folders or tables to evaluate on, or --oof TSV.")
    age = {"coding": "bins", "lower": 0.0, "width": 1.0, "n_bins": 2, "unit": "year"}
    if options.combinations:
        return _compare_combinations(options, tables)
    accuracy = report(tables, card.heads if card else heads(age), options.n_boot)
    print(accuracy.text())
    written: dict[str, pd.DataFrame] = {"accuracy": accuracy.table, **tables}
    if options.robustness:
        versions = {n: _predictions(options, card, Path(place)) for n, place in options.robustness}
        changes = change_table(next(iter(tables.values())), versions)
        print(changes.to_string(index=False, float_format="%.2f"))
        written["robustness"] = changes
    for name, table in written.items():
        if options.out:
            write_tsv(options.out / f"{name}.tsv", table)
    return 0


def _compare_combinations(options: argparse.Namespace, tables: Mapping[str, pd.DataFrame]) -> int:
    """Print and write the accuracy of every combination of modalities."""
    from bidsapp_brainage.io import write_tsv
    from bidsapp_brainage.training.combinations import compare, sources, text_of

    table = compare(sources(tables), n_boot=options.n_boot)
    print(text_of(table))
    if options.out:
        write_tsv(options.out / "combinations.tsv", table)
    return 0


def features(options: argparse.Namespace) -> int:
    """Write what the images of cohorts are compared by."""
    import pandas as pd

    from bidsapp_brainage.io import write_tsv
    from bidsapp_brainage.model.device import resolve_device
    from bidsapp_brainage.training.data.cohort import find_cohort
    from bidsapp_brainage.training.evaluation import source_for
    from bidsapp_brainage.training.reference import feature_table

    card = _card(options)
    device = resolve_device(options.device)[0]
    tables = []
    for name, folder in (_named_path(text) for text in options.inputs):
        source = source_for(card, folder, _source(options, card.name, card.input))
        cohort = find_cohort(folder, source, options.participants)
        tables.append(feature_table(card, cohort, name, device=device))
        print(f"{name}: {len(cohort)} scans")
    write_tsv(options.out, pd.concat(tables, ignore_index=True))
    print(options.out)
    return 0


def calibrate(options: argparse.Namespace) -> int:
    """Fit intervals and bias line on people not trained on, and write them on the card."""
    from bidsapp_brainage.io import read_tsv
    from bidsapp_brainage.training.recalibrate import recalibrate

    card = _card(options)
    if not options.oof and not options.inputs:
        raise UsageError("Give --oof TSV, or a folder of people that the model did not learn from.")
    if options.oof:
        table, source = _left_out(options), "out-of-fold predictions"
    else:
        table = _predictions(options, card, options.inputs)
        source = "predictions of people not trained on"
    if "distribution_sd" in table:
        # as the network gave it, before the calibration that the card has now
        table["predicted_age_sd"] = table["distribution_sd"]
    cohort = options.cohort_name or str(card.training.get("cohort", "unnamed people"))
    path, text = recalibrate(
        card,
        table,
        f"{source} ({cohort})",
        method=options.method,
        out=options.out,
        features=read_tsv(options.features) if options.features else None,
    )
    print(text)
    print(path)
    return 0


def _left_out(options: argparse.Namespace) -> pd.DataFrame:
    """Predictions of all tables, each row with its scanner."""
    import pandas as pd

    from bidsapp_brainage.training.crossval import SCANNER
    from bidsapp_brainage.training.evaluation import read_predictions

    tables = []
    for name, path in (_named_path(text) for text in options.oof):
        table = read_predictions(path)
        if options.scanner_column in table:
            table[SCANNER] = table[options.scanner_column]
        elif len(options.oof) > 1:
            table[SCANNER] = name
        tables.append(table)
    return pd.concat(tables, ignore_index=True)


def _changes(options: argparse.Namespace) -> dict[str, Any]:
    """Fields of the recipe that the command line sets."""
    return {name: getattr(options, name, None) for name in recipe_options()}


def _check_counts(options: argparse.Namespace) -> None:
    if min(options.jobs, options.threads) < 1:
        raise UsageError("--jobs and --threads are 1 or more.")


def log_progress() -> None:
    """Tell what goes on, with the time, on the standard error."""
    form = "%(asctime)s %(message)s"
    logging.basicConfig(level=logging.INFO, format=form, datefmt="%H:%M:%S", stream=sys.stderr)


def _card(options: argparse.Namespace) -> ModelCard:
    from bidsapp_brainage.model.cards import find_card

    return find_card(options.model, options.models_dir)


def _source(options: argparse.Namespace, label: str, spec: InputSpec) -> Source:
    from bidsapp_brainage.model.inputs.channels import modalities
    from bidsapp_brainage.model.specs import OWN_SPACE
    from bidsapp_brainage.training.data.cohort import Source

    first, *_ = modalities(spec)
    suffix = options.input_suffix
    if spec["template"] == OWN_SPACE and suffix is None and options.input_desc is None:
        suffix = first  # the files of a raw dataset
    return Source(label, options.input_desc, suffix, first)


def find_people(
    options: argparse.Namespace,
    label: str,
    spec: InputSpec,
    targets: list[str],
    card: ModelCard | None = None,
) -> Cohort:
    """Scans below the inputs of a command that have one of the targets; says who was left out.

    With a `card`, those that its model learned from, where there are none named after it.
    """
    from bidsapp_brainage.bids.input.messages import shorten
    from bidsapp_brainage.training.data.cohort import find_cohort
    from bidsapp_brainage.training.evaluation import source_for

    source = _source(options, label, spec)
    if card is not None:
        source = source_for(card, options.inputs, source)
    cohort = find_cohort(options.inputs, source, options.participants, targets)
    logging.info("%d scans of %d people", len(cohort), len(set(cohort.people)))
    if cohort.left_out:
        logging.warning("left out (no image or no target): %s", shorten(cohort.left_out))
    return cohort


def _run(
    options: argparse.Namespace,
    cohort: Cohort,
    recipe: Recipe,
    card: ModelCard | None = None,
    *,
    keep_head: bool = False,
) -> CrossValidation:
    from bidsapp_brainage.model.device import resolve_device
    from bidsapp_brainage.training.crossval import CrossValidation
    from bidsapp_brainage.training.setup import with_views, write_start

    work = options.out / "work"
    return CrossValidation(
        cohort=cohort,
        recipe=with_views(recipe) if options.tta else recipe,
        folder=work,
        start=write_start(card, work / "start") if card else (),
        keep_head=keep_head,
        jobs=options.jobs,
        threads=options.threads,
        device=resolve_device(options.device)[0],
        pool_folder=work,
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


def _print_accuracy(tables: Mapping[str, pd.DataFrame], run: CrossValidation) -> pd.DataFrame:
    from bidsapp_brainage.model.outputs import heads
    from bidsapp_brainage.training.evaluation import report
    from bidsapp_brainage.training.setup import final_recipe

    accuracy = report(tables, heads(final_recipe(run.recipe).card["output"]), subsets=False)
    print(accuracy.text())
    return accuracy.table


def _named_path(text: str) -> tuple[str, Path]:
    """Name and path of ``[NAME=]INPUTS``."""
    name, sign, place = text.partition("=")
    return (name, Path(place)) if sign else (Path(text).resolve().stem, Path(text))


def _predictions(options: argparse.Namespace, card: ModelCard | None, path: Path) -> pd.DataFrame:
    """Read a table, or predict the people of a folder."""
    from bidsapp_brainage.model.device import resolve_device
    from bidsapp_brainage.training.data.cohort import find_cohort
    from bidsapp_brainage.training.evaluation import predict_cohort, read_predictions, source_for

    if path.suffix == ".tsv":
        return read_predictions(path)
    if card is None:
        raise UsageError(f"{path} is a folder: say which MODEL shall predict its people.")
    source = source_for(card, path, _source(options, card.name, card.input))
    names = [head.name for head in card.heads]
    cohort = find_cohort(path, source, options.participants, names)
    device = resolve_device(options.device)[0]
    return predict_cohort(card, cohort, device=device, threads=options.threads)
